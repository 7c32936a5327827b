"""Which PyTorch module is which Flax module, and what carries the weights of the one into the other."""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Any

import numpy as np
from flax import nnx
from torch import nn

from common.errors import UserError
from comparison.port.arrays import Grid, channels_last
from comparison.port.flax_side import FlaxSide, Function, variables
from comparison.port.kinds import Kind, kind_of
from comparison.port.side import Call
from comparison.port.torch_side import TorchSide

Sides = tuple[TorchSide, FlaxSide]


@dataclass
class Pair:
    """Two modules that hold the same weights; `rows` and `columns` are grids that Flax flattens channels last."""

    torch: str
    flax: str
    kind: str
    how: str  # "by name", "by order and shape" or "by hand"
    rows: Grid = ()
    columns: Grid = ()


@dataclass
class Pairing:
    """What belongs together, and what was found on one side only: never left out silently."""

    sides: Sides
    pairs: dict[str, Pair] = field(default_factory=dict)  # by PyTorch's path
    modules: dict[str, str] = field(default_factory=dict)  # every PyTorch path that has a Flax path
    unpaired_torch: list[str] = field(default_factory=list)
    unpaired_flax: list[str] = field(default_factory=list)

    def in_flax(self, path: str, tensors: Mapping[str, np.ndarray], *, summed: bool = True) -> dict[str, np.ndarray]:
        """Flax's variables of one pair, by path below its module, made of PyTorch's tensors below its own.

        Gradients are made the same way, but for those of a sum (`summed` False), of which each term has the whole.
        """
        made: dict[str, np.ndarray] = {}
        if not (pair := self.pairs.get(path)) or not tensors:
            return made
        torch_module = self.sides[0].at(pair.torch)
        kind = kind_of(torch_module)
        for slot in kind.slots(torch_module, self.sides[1].at(pair.flax)) if kind else ():
            if all(name in tensors for name in slot.torch):
                exact = [tensors[name].astype(np.float64) for name in slot.torch]  # a sum of two must not be rounded
                arrays = [array if i == 0 or summed else 0 * array for i, array in enumerate(exact)]
                if pair.columns:
                    arrays = [channels_last(array, pair.columns, 0) for array in arrays]
                if pair.rows and arrays[0].ndim == 2:
                    arrays = [channels_last(array, pair.rows) for array in arrays]
                made[slot.flax or f"no place for part of {slot.torch[0]}"] = slot.make(*arrays)
        return made

    def everything_in_flax(self, tensors: Mapping[str, np.ndarray], *, summed: bool = True) -> dict[str, np.ndarray]:
        """The same for all pairs, the last first, by path from the whole module."""
        made = {}
        for pair in reversed(self.pairs.values()):
            start = f"{pair.torch}." if pair.torch else ""
            own = {name.removeprefix(start): each for name, each in tensors.items() if name.startswith(start)}
            of_pair = self.in_flax(pair.torch, own, summed=summed)
            made |= {f"{pair.flax}.{name}".strip("."): each for name, each in of_pair.items()}
        return made


def is_below(path: str, outer: str) -> bool:
    """Whether a module is within another one."""
    return path != outer and (outer == "" or path.startswith(f"{outer}."))


def tidy(path: str) -> str:
    """A path without the `layers` that nnx.Sequential and lists of modules put between."""
    return re.sub(r"(^|\.)layers(?=\.\d)", "", path).strip(".")


def pair_modules(sides: Sides, calls: tuple[list[Call], list[Call]], by_hand: Mapping[str, str]) -> Pairing:
    """By hand, then by equal names or in the order of execution; modules without weights by what they stand between."""
    names = [_in_order(side.paths(), of_side) for side, of_side in zip(sides, calls, strict=True)]
    for named, known, label in zip((by_hand, by_hand.values()), names, ("PyTorch", "Flax"), strict=True):
        for path in named:
            if path not in known:
                listed = ", ".join([path for path in known if path][:8])
                raise UserError(f"--map names `{path}`, which {label}'s module does not have: {listed}, ...")
    units = [_units(of_side) for of_side in names]
    how = {torch: "by hand" for torch, flax in by_hand.items() if torch in units[0] and flax in units[1]}
    pairing = Pairing(sides, modules=dict(by_hand))

    def free(side: int, paths: Iterable[str]) -> list[str]:
        taken = set(pairing.modules if side == 0 else pairing.modules.values())
        return [path for path in paths if path not in taken]

    def pair(keys: Callable[[int, str], Any], paths: list[Iterable[str]], said: str, *, only: bool = False) -> None:
        """What has equal keys: the first with the first, and so on, or `only` what is alone on both sides."""
        left = [[(keys(side, path), path) for path in free(side, paths[side])] for side in (0, 1)]
        counts = [Counter(key for key, _ in of_side) for of_side in left]
        for key, path in left[0]:
            if key is None or (only and not counts[0][key] == counts[1][key] == 1):
                continue
            if (place := next((i for i, each in enumerate(left[1]) if each[0] == key), None)) is not None:
                pairing.modules[path] = left[1].pop(place)[1]
                how[path] = said

    def sign(side: int, path: str) -> tuple[str, int]:
        return _sign(names[side][path], units[side][path])

    holders: list[Iterable[str]] = list(units)
    rest = [free(side, units[side]) for side in (0, 1)]
    if {tidy(path) for path in rest[0]} == {tidy(path) for path in rest[1]}:
        pair(lambda side, path: tidy(path), holders, "by name")
    signs = [[sign(side, path) for path in free(side, units[side])] for side in (0, 1)]
    rest = [free(side, units[side]) for side in (0, 1)]
    for a, b, size in SequenceMatcher(None, *signs, autojunk=False).get_matching_blocks():
        for torch, flax in zip(rest[0][a : a + size], rest[1][b : b + size], strict=True):
            pairing.modules[torch], how[torch] = flax, "by order and shape"
    pair(lambda side, path: (tidy(path), units[side][path].name), holders, "by name", only=True)
    pair(sign, holders, "by order and shape", only=True)
    pair(lambda side, path: units[side][path].name, holders, "by kind", only=True)
    chosen = [(path, pairing.modules[path]) for path in units[0] if path in how]
    pairing.pairs = {torch: Pair(torch, flax, units[0][torch].name, how[torch]) for torch, flax in chosen}
    pairing.unpaired_torch, pairing.unpaired_flax = (free(side, units[side]) for side in (0, 1))

    def held(side: int, path: str) -> frozenset[str] | None:
        """The pairs that a module holds."""
        ends = [(each.torch, each.flax)[side] for each in pairing.pairs.values()]
        return frozenset(t for t, end in zip(pairing.pairs, ends, strict=True) if is_below(end, path)) or None

    def place(side: int, path: str) -> tuple[str, str] | None:
        """Below which pair, and what it does."""
        parent = path.rpartition(".")[0]
        of_flax = pairing.modules.get(parent) if side == 0 else parent
        return None if of_flax is None else (tidy(of_flax), _word(names[side][path]))

    pairing.modules[""] = ""
    called = [list(dict.fromkeys(call.path for call in of_side)) for of_side in calls]
    pair(held, [sorted(of_side, key=lambda path: path.count(".")) for of_side in called], "")
    others: list[Iterable[str]] = [[p for p in called[side] if p not in units[side]] for side in (0, 1)]
    pair(lambda side, path: tidy(path), others, "")
    pair(place, others, "")
    return pairing


def _in_order(modules: dict[str, Any], calls: list[Call]) -> dict[str, Any]:
    """Modules by when they are first called; those that never are, as within a scan, right after those before them."""
    first = {call.path: place for place, call in reversed(list(enumerate(calls)))}
    place, places = -1, {}
    for path in modules:
        place = places[path] = first.get(path, place)
    return {path: modules[path] for path in sorted(modules, key=lambda path: places[path])}


def _units(modules: dict[str, Any]) -> dict[str, Kind]:
    """The modules that hold weights; what is below one that is known as a whole is part of it."""
    kinds = {path: kind for path, module in modules.items() if (kind := kind_of(module))}
    whole = [path for path, kind in kinds.items() if kind.torch]
    return {path: kind for path, kind in kinds.items() if not any(is_below(path, each) for each in whole)}


def _sign(module: Any, kind: Kind) -> tuple[str, int]:
    """What two modules have in common that hold the same weights: their kind, and how many values."""
    if isinstance(module, nn.Module):
        held = dict(module.named_parameters(recurse=bool(kind.torch)))
    else:
        known = variables(module).items()
        held = {name: v for name, v in known if isinstance(v, nnx.Param) and (kind.torch or "." not in name)}
    sizes = {name: math.prod(each.shape) for name, each in held.items()}
    kernels = [sizes[name] for name, each in held.items() if len(each.shape) > 1 and "bias" not in name]
    return kind.name, sum(kernels) if kernels and kind.torch else max(sizes.values(), default=0)


def _word(module: Any) -> str:
    """A module's kind in letters alone: ReLU and nnx.relu, MaxPool2d and MaxPool."""
    name = getattr(module.function, "__name__", "") if isinstance(module, Function) else type(module).__name__
    return re.sub(r"\dd$|[^a-z]", "", name.lower())
