"""`python compare.py diff A B`: read two checkpoints, print where they part, write it as JSON.

Two functions in place of checkpoints go to diff_modules.py.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from common.config import TrainConfig
from common.console import make_console, printable, say
from common.data.latent_paths import read_latents
from common.data.randomness import fixed_latents
from common.errors import UserError
from common.options import check_result_file
from common.records.folder import json_bytes, write_atomically
from comparison.checkpoints.diff import Difference, compare_activations, compare_sides, load_side, runnable_config
from comparison.parity.divergence import AMPLIFICATION, Link

MAX_LATENTS = 256  # more would say no more, and every layer's output for all of them is held in memory
FEW_STEPS = 10
FUNCTION = re.compile(r".+:[A-Za-z_]\w*")


@dataclass(frozen=True, kw_only=True)
class DiffOptions:
    """Say where two checkpoints part, of either framework. Exit code 0 if every tensor is identical, 1 if one is not.
    Errors are relative, |B - A| / |A|. Or say why any two modules differ, given as two functions that build them,
    my_torch.py:build my_flax.py:build; 0 if they agree, 1 if they do not.
    """

    first: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="A")]
    """A checkpoint, a run folder, or `pretrained`. Of a run like runs/NAME/torch, the newest checkpoint is taken;
    `pretrained` is the model that comes with the project. Or FILE.py:FUNCTION that returns a torch.nn.Module."""
    second: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="B")]
    """What to compare it with; or FILE.py:FUNCTION that returns a flax.nnx.Module."""
    latents: Annotated[str | None, tyro.conf.arg(metavar="N|FILE")] = None
    """Run both on N latents, and compare layer by layer. N is 1 to 256, of A's seed; of a .npy or .npz file, the
    first 256 are taken."""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Where to write the result as JSON."""
    inputs: Annotated[Path | None, tyro.conf.arg(metavar="FILE.npz")] = None
    """Of two modules: their inputs, in PyTorch's layout. arr_0, arr_1, ... are positional, other names keywords."""
    map: Annotated[Path | None, tyro.conf.arg(metavar="FILE.toml")] = None
    """Of two modules: pairs named by hand, in a file as --write-map writes it."""
    loss: Annotated[str | None, tyro.conf.arg(metavar="FILE.py:FUNCTION")] = None
    """Of two modules: a loss of their outputs, one function for both or two, as losses.py:torch_loss,flax_loss; the sum
    of squares if not given."""
    precision: Literal["float64", "float32"] | None = None
    """Of two modules: compute in this one alone."""
    html: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Of two modules: where to write a page with every module's errors as a heat map."""
    write_map: Annotated[Path | None, tyro.conf.arg(metavar="FILE.toml")] = None
    """Of two modules: where to write which was paired with which."""


def main(options: DiffOptions) -> int:
    """0 if the two are identical in every tensor, 1 if they differ."""
    named = [
        FUNCTION.fullmatch(str(side)) is not None and not side.exists() for side in (options.first, options.second)
    ]
    of_modules = {name: getattr(options, name) for name in ("inputs", "map", "loss", "precision", "html", "write_map")}
    if all(named):
        if options.latents is not None:
            raise UserError("--latents is of two checkpoints: pass --inputs for two modules")
        from comparison.commands.diff_modules import diff_modules

        return diff_modules(
            (str(options.first), str(options.second)),
            inputs=options.inputs,
            map_file=options.map,
            loss=options.loss,
            precision=options.precision,
            files={"--json": options.json, "--html": options.html, "--write-map": options.write_map},
        )
    if any(named) or any(value is not None for value in of_modules.values()):
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in of_modules)
        raise UserError(f"two functions or two checkpoints: my_torch.py:build my_flax.py:build takes {flags}")
    check_result_file(options.json)
    first, second = load_side(options.first), load_side(options.second)
    tensors = compare_sides(first, second)
    latents = None if options.latents is None else choose_latents(options.latents, runnable_config(first))
    layers = [] if latents is None else compare_activations(first, second, latents)
    found = Difference(first, second, tensors, layers)
    console = make_console()
    print_tensors(found, console)
    if latents is not None:
        print_layers(found, len(latents), console)
    if options.json is not None:
        try:
            write_atomically(options.json, json_bytes(as_json(found, latents)))
        except OSError as error:
            raise UserError(f"--json: {options.json} cannot be written ({error.strerror})") from None
    return 1 if found.differing else 0


def choose_latents(text: str, config: TrainConfig) -> np.ndarray:
    """N latents of the seed's stream, or the first 256 of a file: float32 (N, latent_dim)."""
    if re.fullmatch(r"[+-]?\d{1,9}", text):
        if not 1 <= int(text) <= MAX_LATENTS:
            raise UserError(f"--latents is {text}: choose 1 to {MAX_LATENTS}, or name a .npy or .npz file")
        return fixed_latents(config.seed, num=int(text), latent_dim=config.latent_dim)
    return read_latents(Path(text), latent_dim=config.latent_dim)[:MAX_LATENTS]


def print_tensors(found: Difference, console: Console) -> None:
    """What was compared, where it first parts, then every tensor that is not identical, the furthest first."""
    for letter, side in (("A", found.first), ("B", found.second)):
        say(console, f"{letter}  {printable(str(side.path))}  ({side.framework}, step {side.step})")
    for letter, side in (("A", found.first), ("B", found.second)):
        if side.packed:
            say(console, f"{letter} is in half precision, its generator is the average, and Adam's state is left out.")
    configs = (found.first.config, found.second.config)
    if fields := found.config_fields:
        pairs = (f"{name} ({' / '.join(repr(config.get(name)) for config in configs)})" for name in fields)
        say(console, f"Their configs differ in {', '.join(pairs)}.", style="yellow")
    if found.first.step != found.second.step:
        say(console, f"Their steps differ: {found.first.step} / {found.second.step}.", style="yellow")
    for line in _parting_lines(found):
        say(console, line)
    differing = found.differing
    if differing:
        table = _table("tensor", "error", "")
        for tensor in differing:
            table.add_row(Text(tensor.name), _number(tensor.error), tensor.note)
        console.print(table)
    num_identical = len(found.tensors) - len(differing)
    say(console, f"{num_identical} of {len(found.tensors)} tensors are identical.")


def print_layers(found: Difference, num_latents: int, console: Console) -> None:
    """Every layer's error beside that of its input, in the order of execution."""
    say(console, f"\nActivations of {num_latents} latents, in eval mode; A's images go to both discriminators:")
    table = _table("layer", "", "error", "its input", "")
    for link, kind, parts in found.layers:
        cells = (link.name, kind, _number(link.error), _number(link.input_error), "<- parts" if parts else "")
        table.add_row(*cells, style="bold red" if parts else None)
    console.print(table)
    parting = [str(layer.link) for layer in found.layers if layer.parts]
    if parting:
        say(console, f"First of its network beyond {AMPLIFICATION:g} times its input: {'; '.join(parting)}.")
    else:
        say(console, f"No layer is beyond rounding and {AMPLIFICATION:g} times its input.")


def as_json(found: Difference, latents: np.ndarray | None) -> dict[str, Any]:
    """The content of the JSON file: all that the terminal shows; an infinite error is null."""
    content: dict[str, Any] = {
        letter: {"path": str(side.path), "framework": side.framework, "step": side.step, "config": side.config}
        for letter, side in (("a", found.first), ("b", found.second))
    }
    content |= {
        "identical": not found.differing,
        "differing_config_fields": found.config_fields,
        "rounding": found.rounding,
        "first_difference": _link_json(found.first_divergence(tolerance=0)),
        "first_divergence": _link_json(found.first_divergence(tolerance=found.rounding)),
        "tensors": [{"name": t.name, "error": _finite(t.error), "note": t.note} for t in found.differing],
        "identical_tensors": [tensor.name for tensor in found.tensors if tensor.identical],
        "activations": None,
    }
    if latents is not None:
        content["activations"] = {
            "num_latents": len(latents),
            "first_divergence": _link_json(next((layer.link for layer in found.layers if layer.parts), None)),
            "layers": [
                {**(_link_json(layer.link) or {}), "kind": layer.kind, "parts": layer.parts} for layer in found.layers
            ],
        }
    return content


def _parting_lines(found: Difference) -> list[str]:
    first, parting = (found.first_divergence(tolerance=tolerance) for tolerance in (0, found.rounding))
    if not found.differing:
        return []
    if first is None:
        return ["Their values are equal."]
    lines = [f"In the order in which a step computes them, they first differ at {first}."]
    if parting is None:
        lines += [f"No tensor is beyond rounding ({found.rounding:.0e}) and ten times further off than all before it."]
    elif parting != first:
        lines += [f"The first beyond rounding ({found.rounding:.0e}) is {parting}."]
    step = found.first.step
    if isinstance(step, int) and step > FEW_STEPS:
        lines += [
            f"After {step:,} steps every tensor depends on all others: to find a cause, compare runs of one step "
            "(--epochs 1, and --train-size as --batch-size), or pass --latents."
        ]
    return lines


def _link_json(link: Link | None) -> dict[str, Any] | None:
    if link is None:
        return None
    return {"name": link.name, "error": _finite(link.error), "input_error": _finite(link.input_error)}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _number(error: float) -> str:
    return "0" if error == 0 else f"{error:.1e}"


def _table(name: str, *others: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column(name, overflow="fold", no_wrap=True)  # a name cut short names nothing
    for other in others:
        table.add_column(other)
    return table
