"""Rungs 0 to 2: the two programs hold the same tensors, are fed the same bytes, and start from the same weights."""

import hashlib
from collections.abc import Iterator

import numpy as np

from common.contract import Weights, expected_shapes
from comparison.parity.pair import Measurement, Pair

NUM_HASHED_STEPS = 20


def specification(pair: Pair, precision: str) -> Iterator[Measurement]:
    """Names, shapes and dtypes of every leaf, and torch -> JAX -> torch bit-exact after two steps."""
    config = pair.at(precision)
    expected = expected_shapes(pair.architecture)
    stored = "float64" if precision == "float64" else "float32"
    trainers = {}
    for probe in pair.probes:
        trainers[probe.name] = trainer = probe.create_trainer(config, pair.architecture)
        trainer.load_weights(pair.initial_weights(precision))
        weights = trainer.export_weights()
        wrong = [
            name for name in {*expected, *weights} if name not in weights or weights[name].shape != expected.get(name)
        ]
        wrong += [f"{name} is {kind}" for name, kind in probe.dtypes(trainer).items() if kind != stored]
        yield Measurement(0, f"{probe.name}: names, shapes, dtypes", precision, len(wrong), 0, ", ".join(wrong[:3]))
    trainers["torch"].train_chunk(*pair.data(0, 2))
    before = trainers["torch"].export_weights()
    trainers["jax"].load_weights(before)
    trainers["torch"].load_weights(trainers["jax"].export_weights())
    changed = differing_tensors(trainers["torch"].export_weights(), before)
    yield Measurement(0, "torch -> JAX -> torch", precision, len(changed), 0, ", ".join(changed[:3]))


def data_and_noise(pair: Pair, precision: str) -> Iterator[Measurement]:
    """SHA-256 of every batch and every latent, read back from each framework's device."""
    if precision != "float32":
        return  # what is fed does not depend on the arithmetic
    hashes: dict[str, list[str]] = {}
    for probe in pair.probes:
        hashes[probe.name] = [
            hashlib.sha256(np.ascontiguousarray(probe.on_device(array[0])).tobytes()).hexdigest()
            for step in range(NUM_HASHED_STEPS)
            for array in pair.data_for(probe, step)
        ]
    different = [index for index, pairs in enumerate(zip(*hashes.values(), strict=True)) if len(set(pairs)) > 1]
    where = f"step {different[0] // 2 + 1}, {('images', 'latents')[different[0] % 2]}" if different else ""
    yield Measurement(
        1, f"SHA-256 of {NUM_HASHED_STEPS} steps' images and latents", precision, len(different), 0, where
    )


def loaded_weights(pair: Pair, precision: str) -> Iterator[Measurement]:
    """Each framework hands back exactly the initial weights it was given."""
    given = pair.initial_weights(precision)
    for probe in pair.probes:
        trainer = probe.create_trainer(pair.at(precision), pair.architecture)
        trainer.load_weights(given)
        changed = differing_tensors(trainer.export_weights(), given)
        yield Measurement(2, f"{probe.name}: initial weights", precision, len(changed), 0, ", ".join(changed[:3]))


def differing_tensors(measured: Weights, reference: Weights) -> list[str]:
    """Names of tensors that are not bit-identical."""
    return [
        name
        for name in {**reference, **measured}
        if name not in measured
        or name not in reference
        or measured[name].dtype != reference[name].dtype
        or measured[name].tobytes() != reference[name].tobytes()
    ]
