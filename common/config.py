"""TrainConfig, the one flat description of a training run that both implementations read."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from common.errors import UserError
from common.safe_read import MAX_JSON_BYTES, explain, one_line, parse_json, read_bounded

MAX_IMAGE_SIZE = 256  # the report draws at this size whatever a config.json says
Count = Annotated[int, Field(ge=1, lt=2**31)]
LearningRate = Annotated[float, Field(gt=0, lt=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Probability = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything that decides the numbers of a run; what does not (device, output folder) is not in here."""

    preset: str = "dcgan32"
    """Networks and their recipe. Every other flag starts from this preset's value."""
    dataset: str = "mnist"
    """mnist, folder, npz, idx, or a TFDS name. mnist is bundled; folder, npz and idx are your own images."""
    image_size: Annotated[int, Field(ge=1, le=MAX_IMAGE_SIZE)] = 32
    """Side of the square images in pixels. The preset's networks fix it."""
    latent_dim: Count = 100
    """Length of a latent vector."""
    batch_size: Count = 64
    """Real images in one step. As many are generated. The last partial batch of an epoch is dropped."""
    epochs: Count = 10
    """Passes over the training images."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Random seed of weights, batches and latents. Both frameworks get the same ones."""
    learning_rate_generator: LearningRate = 2e-4
    """Adam's step size for the generator (Radford et al. 2016, section 4)."""
    learning_rate_discriminator: LearningRate = 2e-4
    """Adam's step size for the discriminator."""
    beta1: Decay = 0.5
    """Adam's decay of the gradient average (Radford et al. 2016, section 4)."""
    beta2: Decay = 0.999
    """Adam's decay of the squared-gradient average."""
    real_target: Probability = 1.0
    """What the discriminator should say of real images. 0.9 is one-sided label smoothing."""
    fake_target: Probability = 0.0
    """What the discriminator should say of generated images."""
    generator_target: Probability = 1.0
    """What the generator wants the discriminator to say of generated images."""
    generator_updates: Count = 1
    """Generator updates in one step. Those after the first always draw fresh latents."""
    generator_latents: Literal["reuse", "fresh"] = "reuse"
    """Whether the first generator update reuses the images the discriminator just saw, or draws fresh latents."""
    generator_average: Decay = 0.998
    """Decay a step of the generator's weight average, which makes the samples. 0 samples from the last weights."""
    initialization: Literal["normal", "uniform"] = "normal"
    """Initial weights: N(0, 0.02) (Radford et al. 2016, section 4), or PyTorch's own, uniform in +-1/sqrt(fan in)."""
    precision: Literal["float32", "bfloat16", "float64"] = "float32"
    """Arithmetic: float32, bfloat16 or float64. bfloat16 is autocast over float32 weights."""
    variant: Literal["tuned", "idiomatic"] = "tuned"
    """Fastest known form, or as documented. docs/decisions/0015 defines both."""
    train_size: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Train on the first N images only. 0 is all of them."""

    def __post_init__(self) -> None:
        _check(vars(self))

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
        _check(fields)
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


@functools.cache
def _model() -> type[BaseModel]:
    """Only what is checked, not what is kept: tyro, `replace` and `asdict` want a plain dataclass."""
    fields: dict[str, Any] = {
        name: (kind, ...) for name, kind in get_type_hints(TrainConfig, include_extras=True).items()
    }
    return create_model(
        "TrainConfig", __config__=ConfigDict(strict=True, extra="forbid", allow_inf_nan=False), **fields
    )


def _check(fields: Mapping[str, Any]) -> None:
    try:
        _model().model_validate(dict(fields))
    except ValidationError as error:
        raise UserError(explain(error)) from None
