"""What only a GPU can show: that a captured graph is the step it was captured from, and that bits come back.

None of it has run yet: no GPU could be had.
"""

import importlib

import numpy as np
import pytest

import jax_impl.device
import torch_impl.device
from common.data.initial_weights import initial_weights
from tests.trainers import chunk_of, real_digits, small_architecture, small_config, steps_of

pytestmark = pytest.mark.gpu
DEVICES = {"torch": torch_impl.device, "jax": jax_impl.device}
CUTS = ((0, 3), (3, 4), (4, 8))


def trained(framework: str, execution: str, *, precision: str = "float32") -> dict[str, np.ndarray]:
    """State and metrics after eight steps in three chunks, with `--deterministic`."""
    DEVICES[framework].configure(num_threads=1, deterministic=True)
    config = small_config("dcgan28", precision=precision)
    trainer = importlib.import_module(f"{framework}_impl.trainer").create_trainer(
        config,
        small_architecture(config),
        DEVICES[framework].select_device("gpu"),
        real_digits(config.image_size),
        execution,
    )
    trainer.load_weights(initial_weights(config, small_architecture(config)))
    chunk = chunk_of(config, num_steps=8)
    metrics = []
    for index, cut in enumerate(CUTS):
        metrics.append(np.stack(trainer.train_chunk(*steps_of(chunk, *cut))))
        if index == 1:  # a graph must go on with what is loaded
            trainer.load_weights(trainer.export_weights(), trainer.export_average())
    average = {f"average.{name}": array for name, array in trainer.export_average().items()}
    return trainer.export_weights() | average | {"metrics": np.concatenate(metrics, axis=1)}


def test_a_replayed_graph_leaves_the_bits_of_eager_steps():
    eager, replayed = (trained("torch", execution) for execution in ("step", "chunk"))
    for name, array in eager.items():
        np.testing.assert_array_equal(replayed[name], array, err_msg=name)


@pytest.mark.parametrize("framework", DEVICES)
@pytest.mark.parametrize("execution", ["step", "chunk"])
def test_the_same_bits_come_twice(framework, execution):
    first, second = (trained(framework, execution) for _ in range(2))
    for name, array in first.items():
        np.testing.assert_array_equal(second[name], array, err_msg=name)


def test_a_scan_is_single_steps_and_jax_is_pytorch_in_float64():
    reference = trained("torch", "chunk", precision="float64")
    for execution in ("step", "chunk"):
        found = trained("jax", execution, precision="float64")
        for name, array in reference.items():
            np.testing.assert_allclose(found[name], array, rtol=1e-8, atol=1e-11, err_msg=name)
