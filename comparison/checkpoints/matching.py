"""A foreign network's tensors matched with ours: by name, or by shape where the names differ."""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from common.contract import WeightsError
from common.safe_read import one_line

COUNTER = "num_batches_tracked"  # PyTorch before 0.4.1 has none, and nothing here depends on it
NORM = re.compile(r"weight_(orig|u|v|g)$|parametrizations")
FLOATS = {"float16", "bfloat16", "float32", "float64"}

Name = tuple[str, ...]
Group = dict[Name, "Leaf"]


class Leaf(NamedTuple):
    """What a file holds under a name, and the name as the file spells it."""

    value: Any
    spelt: str

    def __str__(self) -> str:
        return one_line(self.spelt)


def match_network(group: Group, ours: Group, part: str) -> tuple[dict[Name, Any], list[str]]:
    """The group's tensors under our names and of our types."""
    theirs, wanted = _without_prefix(group), _without_prefix(ours)
    notes = []
    if not (theirs.keys() ^ wanted.keys()) - _counters(wanted):
        pairs = {name: name for name in theirs}
        odd = next((n for n in wanted if n in theirs and theirs[n].spelt != f"{part}/{wanted[n].spelt}"), None)
        notes += [f"{part}: {theirs[odd]} was taken as {wanted[odd]}, and the others so."] if odd else []
    else:
        pairs = _by_shape(_without_counters(theirs), _without_counters(wanted), part)
        layers = dict.fromkeys((_layer(theirs[old]), _layer(wanted[new])) for old, new in pairs.items())
        notes += [
            f"{part}: its names are others, so layers were matched by their shapes: "
            f"{', '.join(f'{old} as {new}' for old, new in layers)}."
        ]
    tensors = {new: _cast(theirs[old], wanted[new]) for old, new in pairs.items()}
    if missing := [name for name in wanted if name not in tensors]:
        notes.append(f"{part}: {COUNTER} is missing {len(missing)} times, and taken from --like.")
    types = Counter((_dtype(theirs[old].value), _dtype(wanted[new].value)) for old, new in pairs.items())
    for (old, new), count in types.items():
        if old != new:
            how = "rounded" if old == "float64" else "widened" if new in FLOATS else "turned back"
            notes.append(f"{part}: {count} tensors were {how} from {old} to {new}.")
    found = {name: tensors.get(name, leaf.value) for name, leaf in wanted.items()}
    return dict(zip(ours, found.values(), strict=True)), notes


def _by_shape(theirs: Group, wanted: Group, part: str) -> dict[Name, Name]:
    """Our name for each of theirs, where every layer of either side has its like in just one layer of the other."""
    places = {frozenset(layer.items()): place for place, layer in _layers(wanted).items()}
    pairs: dict[Name, Name] = {}
    strange = ""
    for place, layer in _layers(theirs).items():
        new_place = places.pop(frozenset(layer.items()), None)
        pairs |= {(*place, name): (*new_place, name) for name in layer} if new_place is not None else {}
        if new_place is None and not strange:
            name, shape = next(iter(layer.items()))
            strange = (
                f"{theirs[*place, name]} {shape} has no like of its own in --like, which begins with {_first(wanted)}"
            )
    if not strange and len(pairs) == len(wanted):
        return pairs
    raise WeightsError(f"{part}: {_odd_name(theirs, wanted) or strange or _missing(wanted, pairs)}")


def _odd_name(theirs: Group, wanted: Group) -> str:
    """What is another in the shapes and names, if some names are ours; of a norm's own tensors, always."""
    unknown = [leaf for name, leaf in theirs.items() if name not in wanted]
    if norm := next((leaf for leaf in unknown if NORM.search(leaf.spelt)), None):
        return f"{norm} is of a spectral or weight norm: remove it from the network before you save its state dict"
    both = [(theirs[name], leaf) for name, leaf in wanted.items() if name in theirs]
    for leaf, ours in both:
        if shape_of(leaf.value) != shape_of(ours.value):
            return f"{leaf} is {shape_of(leaf.value)}, but {ours} of --like is {shape_of(ours.value)}"
    if not both:
        return ""
    if missing := next((leaf for name, leaf in wanted.items() if name not in theirs), None):
        return f"{missing} is missing, though {both[0][0]} is there"
    return f"{unknown[0]} {shape_of(unknown[0].value)} is unknown: the network of --like has no such tensor"


def _missing(wanted: Group, pairs: Mapping[Name, Name]) -> str:
    leaf = next(leaf for name, leaf in wanted.items() if name not in pairs.values())
    return f"{leaf} {shape_of(leaf.value)} is missing"


def _first(wanted: Group) -> str:
    leaf = next(iter(wanted.values()))
    return f"{leaf} {shape_of(leaf.value)}"


def _layers(group: Group) -> dict[Name, dict[str, tuple[int, ...]]]:
    layers: dict[Name, dict[str, tuple[int, ...]]] = {}
    for name, leaf in group.items():
        layers.setdefault(name[:-1], {})[name[-1]] = shape_of(leaf.value)
    return layers


def _layer(leaf: Leaf) -> str:
    return one_line(re.sub(r"[./][^./]*$", "", leaf.spelt))


def _without_prefix(group: Group) -> Group:
    """The names without the words that all of them begin with."""
    length = 0
    shortest = min(map(len, group), default=0)
    while length < shortest - 2 and len({name[length] for name in group}) == 1:
        length += 1
    return {name[length:]: leaf for name, leaf in group.items()}


def _counters(group: Group) -> set[Name]:
    return {name for name in group if name[-1] == COUNTER}


def _without_counters(group: Group) -> Group:
    return {name: leaf for name, leaf in group.items() if name[-1] != COUNTER}


def _cast(theirs: Leaf, ours: Leaf) -> Any:
    """Their tensor as one of our type: exact but from float64 to float32, and of a counter that was rounded before."""
    value, example = theirs.value, ours.value
    if not isinstance(value, type(example)):
        raise WeightsError(f"{theirs} is no tensor")
    kinds = [_dtype(tensor) for tensor in (value, example)]
    if shape_of(value) != shape_of(example) or not _is_castable(kinds, ours):
        raise WeightsError(
            f"{theirs} is {kinds[0]} {shape_of(value)}, but the networks of --like need {kinds[1]} {shape_of(example)}"
        )
    if kinds[0] == kinds[1]:
        return value
    with np.errstate(over="ignore"):  # an infinity is named afterwards
        return value.astype(example.dtype) if isinstance(value, np.ndarray) else value.to(example.dtype)


def _is_castable(kinds: list[str], ours: Leaf) -> bool:
    """Whoever calls `half()` on all tensors of a file casts its counters too."""
    return kinds[0] == kinds[1] or {*kinds} <= FLOATS or (ours.spelt.endswith(COUNTER) and kinds[0] in FLOATS)


def shape_of(value: Any) -> tuple[int, ...]:
    """Of what is no tensor, none."""
    return tuple(getattr(value, "shape", ()))


def _dtype(value: Any) -> str:
    return str(getattr(value, "dtype", type(value).__name__)).removeprefix("torch.")
