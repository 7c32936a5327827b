"""The forms of a framework that `bench` times, its arms, and what kind of certificate each needs."""

from dataclasses import dataclass, replace

from common.config import TrainConfig
from common.errors import UserError

BFLOAT16 = "-bfloat16"
# Name -> title, framework, variant, whether torch.compile makes the networks.
FORMS = {
    "torch": ("PyTorch, tuned", "torch", "tuned", False),
    "torch-idiomatic": ("PyTorch, idiomatic", "torch", "idiomatic", False),
    "torch-compile": ("PyTorch, tuned, networks by torch.compile", "torch", "tuned", True),
    "jax": ("JAX, tuned", "jax", "tuned", False),
    "jax-idiomatic": ("JAX, idiomatic", "jax", "idiomatic", False),
}
LADDER, FLOAT64_LADDER, ENVELOPE = "ladder", "float64 ladder", "envelope"


@dataclass(frozen=True)
class Arm:
    """One side of a benchmark."""

    name: str
    form_title: str
    framework: str
    variant: str
    compiled: bool
    precision: str

    @property
    def title(self) -> str:
        """Framework and form in words, and bfloat16 if this arm alone has it."""
        return f"{self.form_title}, bfloat16" if self.name.endswith(BFLOAT16) else self.form_title

    @property
    def has_twin(self) -> bool:
        """Whether it rounds otherwise than the program of its framework that a ladder proves."""
        return self.compiled or self.precision == "bfloat16"

    @property
    def kind(self) -> str:
        """The kind of its own certificate; one in an envelope is held against a program that has another."""
        if self.has_twin:
            return ENVELOPE
        return FLOAT64_LADDER if self.variant == "idiomatic" else LADDER

    @property
    def proved(self) -> "Arm":
        """The arm of the same framework and variant that a ladder proves: itself, or the twin it is held against."""
        if not self.has_twin:
            return self
        name = self.framework if self.variant == "tuned" else f"{self.framework}-{self.variant}"
        return parse_arm(name, precision="float32" if self.precision == "bfloat16" else self.precision)

    @property
    def certified_as(self) -> str:
        """What a certificate is kept under beside its identity: one ladder is of both frameworks' arms."""
        return {LADDER: "", FLOAT64_LADDER: self.variant, ENVELOPE: self.name}[self.kind]

    def config(self, config: TrainConfig) -> TrainConfig:
        """The benchmark's configuration, in this arm's form."""
        return replace(config, variant=self.variant, precision=self.precision)


def parse_arm(name: str, *, precision: str) -> Arm:
    """`jax-idiomatic` or `torch-bfloat16`: a form, in the given precision unless it says bfloat16."""
    form = FORMS.get(name.removesuffix(BFLOAT16))
    if form is None:
        raise UserError(f"the arm {name} is unknown: choose of {', '.join(FORMS)}, each also with {BFLOAT16}")
    return Arm(name, *form, precision="bfloat16" if name.endswith(BFLOAT16) else precision)
