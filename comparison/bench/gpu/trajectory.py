"""python -m comparison.bench.gpu.trajectory FRAMEWORK DEVICE NUM_STEPS FILE.npz: the state after so many float64 steps.

A process of its own for each: JAX's devices belong to the process. From the same weights, batches and latents, four
such states (two frameworks, CPU and GPU) say whether a difference is of the port or of the device.
"""

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from common.contract import Weights
from common.data.datasets import load_dataset, prepare_dataset
from common.data.initial_weights import initial_weights
from common.data.randomness import epoch_permutation
from common.networks.build import build_architecture
from common.networks.presets import PRESETS
from common.records.environment import default_num_threads
from common.training.chunk_data import chunk_data

PRESET, WIDTH = "dcgan32", 16


def state_after(framework: str, device_name: str, num_steps: int) -> Weights:
    """Weights, average and losses of the default networks, narrow, in the form that this device is trained in."""
    device_module, trainer_module = (
        importlib.import_module(f"{framework}_impl.{module}") for module in ("device", "trainer")
    )
    device_module.configure(num_threads=default_num_threads())
    device = device_module.select_device(device_name)
    config = replace(PRESETS[PRESET].recipe, precision="float64")
    architecture = build_architecture(config, width=WIDTH)
    dataset = prepare_dataset(load_dataset(), image_size=config.image_size, train_size=0)
    execution = device_module.choose_execution("auto", device)
    trainer = trainer_module.create_trainer(config, architecture, device, dataset.train_images, execution)
    trainer.load_weights(initial_weights(config, architecture))
    order = epoch_permutation(config.seed, 0, len(dataset.train_images))
    metrics = trainer.train_chunk(*chunk_data(config, order, 0, num_steps, first_step=0))
    average = {f"average.{name}": array for name, array in trainer.export_average().items()}
    return trainer.export_weights() | average | {"losses": np.stack(metrics)}


def main() -> int:
    """Write the state; a process each, since JAX's devices are the process's."""
    framework, device_name, num_steps, path = sys.argv[1:]
    np.savez(Path(path), **state_after(framework, device_name, int(num_steps)))  # pyright: ignore[reportArgumentType]
    return 0


if __name__ == "__main__":
    sys.exit(main())
