"""Which PyTorch module is which Flax module, and what carries the weights of the one into the other."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import product
from typing import Any

import numpy as np
from flax import nnx
from torch import nn

from common.errors import UserError
from comparison.port.arrays import Call, Grid, channels_last, leaves
from comparison.port.flax_side import FlaxSide, Function, variables
from comparison.port.kinds import Kind, kind_of
from comparison.port.torch_side import TorchSide


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

    pairs: list[Pair]
    modules: dict[str, str] = field(default_factory=dict)  # every PyTorch path that has a Flax path
    unpaired_torch: list[str] = field(default_factory=list)
    unpaired_flax: list[str] = field(default_factory=list)

    def weights_of(
        self, pair: Pair, sides: tuple[TorchSide, FlaxSide], tensors: Mapping[str, np.ndarray], *, summed: bool = True
    ) -> dict[str, np.ndarray]:
        """Flax's variables of one pair, by path below its module, made of PyTorch's tensors below its own.

        Gradients are made the same way, but for those of a sum (`summed` False), of which each term has the whole.
        """
        torch_module, flax_module = sides[0].at(pair.torch), sides[1].at(pair.flax)
        made, kind = {}, kind_of(torch_module)
        assert kind is not None, f"{pair.torch} holds no weights"
        for slot in kind.slots(torch_module, flax_module):
            if not all(name in tensors for name in slot.torch):
                continue
            exact = [tensors[name].astype(np.float64) for name in slot.torch]  # a sum of two must not be rounded
            arrays = [array if i == 0 or summed else 0 * array for i, array in enumerate(exact)]
            if pair.columns:
                arrays = [channels_last(array, pair.columns, 0) for array in arrays]
            if pair.rows and arrays[0].ndim == 2:
                arrays = [channels_last(array, pair.rows) for array in arrays]
            made[slot.flax or f"no place for part of {slot.torch[0]}"] = slot.make(*arrays)
        return made


def pair_modules(
    sides: tuple[TorchSide, FlaxSide], calls: tuple[list[Call], list[Call]], by_hand: Mapping[str, str]
) -> Pairing:
    """By hand, then by equal names or in the order of execution; modules without weights by what they stand between."""
    names = [_in_order(side.paths(), of_side) for side, of_side in zip(sides, calls, strict=True)]
    for path, known, label in [(p, names[0], "PyTorch") for p in by_hand] + [
        (p, names[1], "Flax") for p in by_hand.values()
    ]:
        if path not in known:
            raise UserError(f"--map names `{path}`, which {label}'s module does not have: {_some(known)}")
    units = [_units(of_side) for of_side in names]
    paired = {torch: (flax, "by hand") for torch, flax in by_hand.items() if torch in units[0] and flax in units[1]}
    rest = [
        [path for path in of_side if path not in taken]
        for of_side, taken in zip(units, (set(paired), {flax for flax, _ in paired.values()}), strict=True)
    ]
    alike = {path: tidy(path) for path in [*rest[0], *rest[1]]}
    same_names = {alike[path] for path in rest[0]} == {alike[path] for path in rest[1]}
    if same_names:
        by_name = {alike[path]: path for path in rest[1]}
        paired |= {path: (by_name[alike[path]], "by name") for path in rest[0]}
    else:
        signs = [[_sign(names[side][path], units[side][path]) for path in rest[side]] for side in (0, 1)]
        for a, b, size in SequenceMatcher(None, *signs, autojunk=False).get_matching_blocks():
            found = zip(rest[0][a : a + size], rest[1][b : b + size], strict=True)
            paired |= {torch: (flax, "by order and shape") for torch, flax in found}
        _pair_leftovers(paired, rest, signs, alike)
    pairs = [
        Pair(torch, *paired[torch][:1], units[0][torch].name, paired[torch][1]) for torch in units[0] if torch in paired
    ]
    flax_paired = {pair.flax for pair in pairs}
    pairing = Pairing(pairs, {pair.torch: pair.flax for pair in pairs})
    pairing.unpaired_torch = [path for path in units[0] if path not in paired]
    pairing.unpaired_flax = [path for path in units[1] if path not in flax_paired]
    called = [list(dict.fromkeys(call.path for call in of_side)) for of_side in calls]
    pairing.modules |= {torch: flax for torch, flax in by_hand.items() if torch not in pairing.modules}
    _pair_containers(pairing, names, called)
    _pair_others(pairing, names, called, units)
    return pairing


def tidy(path: str) -> str:
    """A path without the `layers` that nnx.Sequential and lists of modules put between."""
    return re.sub(r"(^|\.)layers(?=\.\d)", "", path).strip(".")


def flattened_grids(calls: Iterable[Call], size: int) -> list[Grid]:
    """Channels, rows and columns of every image that has as many values as this axis."""
    shapes = [tuple(a.shape[1:]) for call in calls for a in leaves((call.args, call.outputs)) if len(a.shape) > 3]
    grids = dict.fromkeys(shape for shape in shapes if math.prod(shape) == size and math.prod(shape[1:]) > 1)
    return [grid for grid in grids if grid[0] > 1]


def choices(pair: Pair, side: TorchSide, calls: list[Call]) -> list[tuple[Grid, Grid]]:
    """The grids that a linear layer's rows and columns may stand for: what it flattens, or what becomes an image."""
    module = side.at(pair.torch)
    if not isinstance(module, nn.Linear):
        return [((), ())]
    rows = flattened_grids(calls, module.in_features)
    columns = flattened_grids(calls, module.out_features)
    return list(product([(), *rows], [(), *columns]))


def _in_order(modules: dict[str, Any], calls: list[Call]) -> dict[str, Any]:
    """Modules by when they are first called; those that never are, as within a scan, right after those before them."""
    first: dict[str, float] = {}
    for place, call in enumerate(calls):
        first.setdefault(call.path, place)
    place, places = -1.0, {}
    for path in modules:
        place = places[path] = first.get(path, place)
    return {path: modules[path] for path in sorted(modules, key=lambda path: places[path])}


def _units(modules: dict[str, Any]) -> dict[str, Kind]:
    """The modules that hold weights; what is below one that is known as a whole is part of it."""
    found: dict[str, Kind] = {}
    whole: list[str] = []
    for path in sorted(modules, key=len):
        kind = kind_of(modules[path])
        if kind and not any(path.startswith(f"{each}.") or each == "" for each in whole):
            found[path] = kind
            if kind.torch:
                whole.append(path)
    return {path: found[path] for path in modules if path in found}


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


def _pair_leftovers(
    paired: dict[str, tuple[str, str]], rest: list[list[str]], signs: list[list[tuple[str, int]]], alike: dict[str, str]
) -> None:
    """What the order left over: equal names, then what is the only one of its kind and size, or of its kind."""
    taken = {flax for flax, _ in paired.values()}
    left = [
        [(path, sign) for path, sign in zip(rest[0], signs[0], strict=True) if path not in paired],
        [(path, sign) for path, sign in zip(rest[1], signs[1], strict=True) if path not in taken],
    ]
    for key, how in (
        (lambda path, sign: (alike[path], sign[0]), "by name"),
        (lambda path, sign: sign, "by order and shape"),
        (lambda path, sign: sign[0], "by kind"),
    ):
        for path, sign in list(left[0]):
            fits = [entry for entry in left[1] if key(*entry) == key(path, sign)]
            rivals = [entry for entry in left[0] if key(*entry) == key(path, sign)]
            if len(fits) == len(rivals) == 1:
                paired[path] = (fits[0][0], how)
                left[0].remove((path, sign))
                left[1].remove(fits[0])


def _pair_containers(pairing: Pairing, names: list[dict[str, Any]], called: list[list[str]]) -> None:
    """Modules that hold the same pairs, the outermost with the outermost."""
    numbers = [
        {pair.torch: i for i, pair in enumerate(pairing.pairs)},
        {pair.flax: i for i, pair in enumerate(pairing.pairs)},
    ]
    holding: list[dict[frozenset[int], list[str]]] = [{}, {}]
    for side in (0, 1):
        taken = set(pairing.modules) if side == 0 else set(pairing.modules.values())
        for path in sorted(called[side], key=lambda path: path.count(".") + bool(path)):
            below = frozenset(i for unit, i in numbers[side].items() if path == "" or unit.startswith(f"{path}."))
            if path and below and path not in taken:
                holding[side].setdefault(below, []).append(path)
    pairing.modules[""] = ""
    for below, paths in holding[0].items():
        pairing.modules |= dict(zip(paths, holding[1].get(below, []), strict=False))


def _pair_others(
    pairing: Pairing, names: list[dict[str, Any]], called: list[list[str]], units: list[dict[str, Kind]]
) -> None:
    """Called modules without weights: of equal names, or of the same kind in the same place below a paired module."""
    taken = set(pairing.modules.values())
    free = [
        [path for path in called[0] if path not in pairing.modules and path not in units[0]],
        [path for path in called[1] if path not in taken and path not in units[1]],
    ]
    by_name = {tidy(path): path for path in free[1]}
    for path in free[0]:
        if flax := by_name.pop(tidy(path), None):
            pairing.modules[path] = flax
    taken = set(pairing.modules.values())
    for path in free[0]:
        if path in pairing.modules:
            continue
        parent = pairing.modules.get(path.rpartition(".")[0])
        fits = [
            other
            for other in free[1]
            if other not in taken
            and tidy(other.rpartition(".")[0]) == tidy(parent or "")
            and _word(names[0][path]) == _word(names[1][other])
        ]
        if parent is not None and fits:
            pairing.modules[path] = fits[0]
            taken.add(fits[0])


def _word(module: Any) -> str:
    """A module's kind in letters alone: ReLU and nnx.relu, MaxPool2d and MaxPool."""
    name = getattr(module.function, "__name__", "") if isinstance(module, Function) else type(module).__name__
    return re.sub(r"\dd$|[^a-z]", "", name.lower())


def _some(paths: Iterable[str]) -> str:
    listed = [path for path in paths if path]
    return ", ".join(listed[:8]) + (", ..." if len(listed) > 8 else "")
