"""A model as plain PyTorch reads it, for those who leave: one file of state dicts. Mirrors jax_impl/export.py.

`torch.load(path, weights_only=True)` gives a dict of five, each for a `load_state_dict` of its own:

    generator, discriminator         for an `nn.Sequential` of the layers: "0.weight", "1.running_mean", ...
    generator_average                the same names as `generator`; the project draws its samples from this one
    generator_optimizer, discriminator_optimizer      for `torch.optim.Adam(network.parameters())`

Axes and names are PyTorch's, which are the canonical ones (common/contract.py); an `nn.Linear` takes an image and gives
one, both flattened with the channels first, as `Linear` in torch_impl/layers.py has it.
"""

import io
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load

from common.config import TrainConfig
from common.contract import Weights
from common.errors import UserError
from common.networks.layers import Architecture
from common.records.checkpoint import MAX_BYTES
from common.records.folder import write_atomically
from common.safe_read import one_line, read_bounded
from torch_impl.trainer import DCGANTrainer


def to_native(weights: Weights, average: Weights, architecture: Architecture, config: TrainConfig) -> dict[str, Any]:
    """What a file holds of checked weights and the generator's average."""
    trainer = _create_trainer(architecture, config)
    trainer.load_weights(weights, average)
    return {
        "generator": trainer.generator.state_dict(),
        "discriminator": trainer.discriminator.state_dict(),
        "generator_average": trainer.generator_average.state_dict(),
        "generator_optimizer": trainer.generator_optimizer.state_dict(),
        "discriminator_optimizer": trainer.discriminator_optimizer.state_dict(),
    }


def to_canonical(content: dict[str, Any], architecture: Architecture, config: TrainConfig) -> tuple[Weights, Weights]:
    """The inverse of `to_native`, of whose layout the content must be."""
    trainer = _create_trainer(architecture, config)
    trainer.generator.load_state_dict(content["generator"])
    trainer.discriminator.load_state_dict(content["discriminator"])
    trainer.generator_optimizer.load_state_dict(content["generator_optimizer"])
    trainer.discriminator_optimizer.load_state_dict(content["discriminator_optimizer"])
    trainer.generator_average.load_state_dict(content["generator_average"])
    return trainer.export_weights(), trainer.export_average()


def write_native(path: Path, content: dict[str, Any]) -> None:
    """Write a new file."""
    file = io.BytesIO()
    torch.save(content, file)
    write_atomically(path, file.getvalue())


def read_native(path: Path) -> Any:
    """Whatever tensors a file holds, also of safetensors; one that needs code to be run raises UserError."""
    try:
        with path.open("rb") as file:
            if file.read(9)[8:] == b"{":  # where the header of safetensors begins
                return load(read_bounded(path, limit=MAX_BYTES))
        return torch.load(path, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except pickle.UnpicklingError:
        # PyTorch's own words for it advise to load the file with weights_only=False, which runs what is in it.
        raise UserError(
            f"{one_line(path)} is refused: it is no file of torch.save, or it holds objects other than tensors, "
            "which could run code: save a state dict: torch.save(network.state_dict(), FILE)"
        ) from None
    except Exception as error:  # a foreign file can make the reader fail in any way
        raise UserError(f"{one_line(path)} cannot be read as a file of torch.save ({one_line(error)})") from None


def _create_trainer(architecture: Architecture, config: TrainConfig) -> DCGANTrainer:
    # Whoever loads the file decides whether the update is fused and how memory is laid out.
    return DCGANTrainer(replace(config, variant="idiomatic"), architecture, torch.device("cpu"))
