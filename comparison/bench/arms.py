"""What can be benchmarked: a framework, how its step is written, and its precision."""

from dataclasses import dataclass, replace

from common.config import TrainConfig
from common.errors import UserError

BFLOAT16 = "-bfloat16"
# Name -> framework, variant, whether torch.compile makes the networks.
FORMS = {
    "torch": ("torch", "tuned", False),
    "torch-idiomatic": ("torch", "idiomatic", False),
    "torch-compile": ("torch", "tuned", True),
    "jax": ("jax", "tuned", False),
    "jax-idiomatic": ("jax", "idiomatic", False),
}
TITLES = {
    "torch": "PyTorch, tuned",
    "torch-idiomatic": "PyTorch, idiomatic",
    "torch-compile": "PyTorch, tuned, networks by torch.compile",
    "jax": "JAX, tuned",
    "jax-idiomatic": "JAX, idiomatic",
}


@dataclass(frozen=True)
class Arm:
    """One side of a benchmark."""

    name: str
    framework: str
    variant: str
    compiled: bool
    precision: str

    @property
    def title(self) -> str:
        """Framework and form in words, and bfloat16 if this arm alone has it."""
        title = TITLES[self.name.removesuffix(BFLOAT16)]
        return f"{title}, bfloat16" if self.name.endswith(BFLOAT16) else title

    def config(self, config: TrainConfig) -> TrainConfig:
        """The benchmark's configuration, in this arm's form."""
        return replace(config, variant=self.variant, precision=self.precision)


def parse_arms(names: str, *, precision: str) -> list[Arm]:
    """`torch,jax-idiomatic,torch-bfloat16`: forms, each in the benchmark's precision unless it says bfloat16."""
    arms = []
    for name in filter(None, (part.strip() for part in names.split(","))):
        form = FORMS.get(name.removesuffix(BFLOAT16))
        if form is None:
            raise UserError(f"--arms: {name} is unknown: choose of {', '.join(FORMS)}, each also with {BFLOAT16}")
        arms.append(Arm(name, *form, precision="bfloat16" if name.endswith(BFLOAT16) else precision))
    if len({arm.name for arm in arms}) < len(arms):
        raise UserError(f"--arms: {names} names an arm twice; a control of the first is measured anyway")
    if not arms:
        raise UserError(f"--arms is empty: choose of {', '.join(FORMS)}")
    return arms
