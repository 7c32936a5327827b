"""TrainConfig, the one flat description of a training run that both implementations read, and its presets."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from common.errors import UserError
from common.safe_read import MAX_JSON_BYTES, one_line, parse_json, read_bounded

MAX_IMAGE_SIZE = 256  # the report draws at this size whatever a config.json says


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything that decides the numbers of a run; what does not (device, output folder) is not in here."""

    preset: str = "dcgan32"
    """Which networks to train; the other flags start from this preset's values."""
    dataset: str = "mnist"
    """The bundled MNIST, or the name of a TFDS image dataset (see --data-dir)."""
    image_size: int = 32
    """Side of the square images in pixels; the preset's networks fix it."""
    latent_dim: int = 100
    """Length of a latent vector."""
    batch_size: int = 64
    """Real images, and generated images, in one step; the last partial batch of an epoch is dropped."""
    epochs: int = 10
    """Passes over the training images."""
    seed: int = 0
    """Decides weights, batches and latents, the same in both frameworks."""
    learning_rate_generator: float = 2e-4
    """Adam's step size for the generator (Radford et al. 2016, section 4)."""
    learning_rate_discriminator: float = 2e-4
    """Adam's step size for the discriminator."""
    beta1: float = 0.5
    """Adam's decay of the gradient average (Radford et al. 2016, section 4)."""
    beta2: float = 0.999
    """Adam's decay of the squared-gradient average."""
    real_target: float = 1.0
    """What the discriminator should say of real images; 0.9 is one-sided label smoothing."""
    fake_target: float = 0.0
    """What the discriminator should say of generated images."""
    generator_target: float = 1.0
    """What the generator wants the discriminator to say of generated images."""
    generator_updates: int = 1
    """Generator updates in one step; those after the first always draw fresh latents."""
    generator_latents: Literal["reuse", "fresh"] = "reuse"
    """Whether the first generator update reuses the images the discriminator just saw, or draws fresh latents."""
    generator_average: float = 0.998
    """Decay a step of the generator's weight average that samples are drawn from; 0 draws from the last weights."""
    initialization: Literal["normal", "uniform"] = "normal"
    """Initial weights: N(0, 0.02) (Radford et al. 2016, section 4), or PyTorch's own, uniform in +-1/sqrt(fan in)."""
    precision: Literal["float32", "bfloat16", "float64"] = "float32"
    """Arithmetic of both networks: IEEE float32, bfloat16 autocast over float32 weights, or float64."""
    variant: Literal["tuned", "idiomatic"] = "tuned"
    """The fastest form we know, or the form each framework's documentation teaches."""
    train_size: int = 0
    """Train on the first so many images only; 0 is all of them."""

    def __post_init__(self) -> None:
        _check_types(self)
        for name in ("image_size", "latent_dim", "batch_size", "epochs", "generator_updates"):
            _require(getattr(self, name) >= 1, f"{name} is {getattr(self, name)}: it must be at least 1")
        for name in ("latent_dim", "batch_size", "epochs", "generator_updates", "train_size"):
            _require(getattr(self, name) < 2**31, f"{name} is {getattr(self, name)}: it must be below 2**31")
        _require(self.image_size <= MAX_IMAGE_SIZE, f"image_size is {self.image_size}: choose at most {MAX_IMAGE_SIZE}")
        for name in ("learning_rate_generator", "learning_rate_discriminator"):
            _require(0 < getattr(self, name) < 1, f"{name} is {getattr(self, name)}: choose between 0 and 1")
        for name in ("beta1", "beta2", "generator_average"):
            _require(0 <= getattr(self, name) < 1, f"{name} is {getattr(self, name)}: choose from [0, 1)")
        for name in ("real_target", "fake_target", "generator_target"):
            _require(0 <= getattr(self, name) <= 1, f"{name} is {getattr(self, name)}: choose from [0, 1]")
        _require(0 <= self.seed < 2**63, f"seed is {self.seed}: choose from 0 to 2**63 - 1")
        _require(self.train_size >= 0, f"train_size is {self.train_size}: it must be 0 (all) or more")

    @property
    def latent_batches(self) -> int:
        """Batches of latents one step uses: the discriminator's, then those of updates with fresh latents."""
        reused = 1 if self.generator_latents == "reuse" else 0
        return 1 + self.generator_updates - reused

    @classmethod
    def from_json(cls, path: Path) -> "TrainConfig":
        """Read a run's config.json; a missing, unknown or mistyped field raises UserError."""
        try:
            return cls.from_fields(parse_json(read_bounded(path, limit=MAX_JSON_BYTES)))
        except ValueError as error:
            raise UserError(f"{one_line(path)} is not the config of a run ({one_line(error)})") from None

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> "TrainConfig":
        """The config of exactly these fields; a missing, unknown or mistyped one raises UserError."""
        names = [field.name for field in dataclasses.fields(cls)]
        missing = [name for name in names if name not in fields]
        _require(not missing, f"{', '.join(missing)} is missing")
        unknown = [name for name in fields if name not in names]
        _require(not unknown, f"{', '.join(map(ascii, unknown))} is unknown")
        return cls(**fields)


def differing_fields(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Names of the fields in which two configs, or other records, differ, or that only one of the two has."""
    names = [*first, *(name for name in second if name not in first)]
    return [name for name in names if name not in first or name not in second or first[name] != second[name]]


def to_dict(config: TrainConfig) -> dict[str, Any]:
    """The config as it stands in config.json."""
    return dataclasses.asdict(config)


def config_hash(config: TrainConfig) -> str:
    """SHA-256 of all fields."""
    return hashlib.sha256(json.dumps(to_dict(config), sort_keys=True).encode()).hexdigest()


def _check_types(config: TrainConfig) -> None:
    """A config.json written by hand can hold anything, and a frozen dataclass does not look."""
    for name, kind in get_type_hints(TrainConfig).items():
        value = getattr(config, name)
        choices = get_args(kind)
        if choices:
            _require(value in choices, f"{name} is {value!r}: choose one of {', '.join(choices)}")
        else:
            allowed = (int, float) if kind is float else kind
            valid = isinstance(value, allowed) and not isinstance(value, bool)
            _require(valid, f"{name} is {value!r}: it must be of type {kind.__name__}")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UserError(message)
