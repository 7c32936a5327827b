"""A model as plain Flax NNX reads it, for those who leave: one Orbax checkpoint. Mirrors torch_impl/export.py.

`orbax.checkpoint.StandardCheckpointer().restore(path)`, of an absolute path, gives a dict of five, each for an
`nnx.update(node, nnx.restore_int_paths(part))` of its own:

    generator, discriminator         for an `nnx.Sequential` of the layers: layers/0/kernel, layers/1/mean, ...
    generator_average                the same names as `generator`; the project draws its samples from this one
    generator_optimizer, discriminator_optimizer      for `nnx.Optimizer(network, optax.adam(...), wrt=nnx.Param)`

Axes and names are those of `jax_impl/layers.py`: kernels are (K, K, in, out) of `nnx.Conv`, (K, K, out, in) of
`nnx.ConvTranspose(transpose_kernel=True)`, (in, out) of `nnx.Linear`, which takes an image and gives one, both
flattened with the channels last, as `Linear` there has it. Arrays are NumPy's, so that no device is asked for.
"""

import contextlib
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import nnx

from common.config import TrainConfig
from common.contract import Weights
from common.errors import UserError
from common.networks.layers import Architecture
from common.safe_read import one_line
from jax_impl.trainer import DCGANTrainer


def to_native(weights: Weights, average: Weights, architecture: Architecture, config: TrainConfig) -> dict[str, Any]:
    """What a checkpoint holds of checked weights and the generator's average."""
    trainer = _create_trainer(architecture, config)
    trainer.load_weights(weights, average)
    return {
        "generator": _state_of(trainer.generator),
        "discriminator": _state_of(trainer.discriminator),
        "generator_average": _state_of(trainer.generator_average),
        "generator_optimizer": _state_of(trainer.generator_optimizer),
        "discriminator_optimizer": _state_of(trainer.discriminator_optimizer),
    }


def to_canonical(content: dict[str, Any], architecture: Architecture, config: TrainConfig) -> tuple[Weights, Weights]:
    """The inverse of `to_native`, of whose layout the content must be."""
    content = nnx.restore_int_paths(content)
    trainer = _create_trainer(architecture, config)
    nnx.update(trainer.generator, content["generator"])
    nnx.update(trainer.discriminator, content["discriminator"])
    nnx.update(trainer.generator_optimizer, content["generator_optimizer"])
    nnx.update(trainer.discriminator_optimizer, content["discriminator_optimizer"])
    nnx.update(trainer.generator_average, content["generator_average"])
    return trainer.export_weights(), trainer.export_average()


def write_native(path: Path, content: dict[str, Any]) -> None:
    """Write a new checkpoint."""
    with _under_plain_name(path.parent) as folder, ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder / path.name, content)


def read_native(path: Path) -> Any:
    """Whatever arrays a checkpoint holds; one that cannot be read raises UserError."""
    logging.disable()  # what Orbax has to say of a foreign folder comes as an exception as well
    try:
        with _under_plain_name(path) as plain, ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
            tree = checkpointer.metadata(plain).item_metadata.tree  # pyright: ignore[reportOptionalMemberAccess]
            # As NumPy arrays, whatever devices they were saved from.
            arguments = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
            return checkpointer.restore(plain, ocp.args.PyTreeRestore(restore_args=arguments))
    except Exception as error:  # a foreign folder can make the reader fail in any way
        raise UserError(f"{one_line(path)} cannot be read as an Orbax checkpoint ({one_line(error)})") from None
    finally:
        logging.disable(logging.NOTSET)


@contextlib.contextmanager
def _under_plain_name(path: Path) -> Iterator[Path]:
    """Orbax takes brackets in a path for a pattern, and knows no bytes but UTF-8."""
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "model"
        plain.symlink_to(path.absolute())
        yield plain


def _create_trainer(architecture: Architecture, config: TrainConfig) -> DCGANTrainer:
    return DCGANTrainer(config, architecture, jax.devices("cpu")[0])


def _state_of(module: nnx.Module | nnx.Optimizer) -> dict[str, Any]:
    return jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(module)))
