"""Rung 8's part on the generator's average: against the same in NumPy, and however the steps are cut into chunks."""

from collections.abc import Iterator

import numpy as np

from common.contract import Weights
from common.data.randomness import stream
from common.training.averaging import GeneratorAverage
from common.training.chunk_data import ChunkData
from comparison.parity.divergence import errors
from comparison.parity.pair import Measurement, Pair
from comparison.parity.probes.probe import Probe

AVERAGE_TOLERANCES = {"float64": 1e-12, "float32": 1e-5}
CHUNKS_TOLERANCE = 1e-11  # as of ten steps of training
# The second has fewer steps than the first, as the last of an epoch.
CHUNKS = (7, 3)


def averages(pair: Pair, precision: str) -> Iterator[Measurement]:
    """What is kept beside a training in single steps, and in float64 what two chunks of the same steps leave."""
    num_steps = min(sum(CHUNKS), len(pair.train_images) // pair.config.batch_size)
    # Drawn, so that no trainer can know them: it must take those that it is given.
    decays = stream(pair.config.seed, "parity/decays").uniform(0.3, 1, num_steps)
    data = pair.chunk(0, num_steps)._replace(decays=decays)
    for probe in pair.probes:
        trainer = pair.trainer(probe, precision)
        witness = GeneratorAverage(trainer.export_weights())
        for step in range(num_steps):
            trainer.train_chunk(*_part(data, step, step + 1))
            witness.update(trainer.export_weights(), decays[step])
        average, weights = trainer.export_average(), trainer.export_weights()
        name, tolerance = (
            f"{probe.name}: average after {num_steps} steps against NumPy's",
            AVERAGE_TOLERANCES[precision],
        )
        yield Measurement.of_worst(8, name, precision, errors(average, witness.weights), tolerance)
        if precision == "float64":
            found = _trained_in_chunks(pair, probe, data)
            name = f"{probe.name}: {num_steps} steps in chunks of {CHUNKS[0]} against one at a time"
            expected = weights | {f"average.{name}": array for name, array in average.items()}
            yield Measurement.of_worst(8, name, precision, errors(found, expected), CHUNKS_TOLERANCE)


def _trained_in_chunks(pair: Pair, probe: Probe, data: ChunkData) -> Weights:
    trainer = pair.trainer(probe, "float64")
    for start in range(0, len(data.decays), CHUNKS[0]):
        trainer.train_chunk(*_part(data, start, start + CHUNKS[0]))
    average = {f"average.{name}": array for name, array in trainer.export_average().items()}
    return trainer.export_weights() | average


def _part(data: ChunkData, start: int, end: int) -> ChunkData:
    return ChunkData(*(np.ascontiguousarray(array[start:end]) for array in data))
