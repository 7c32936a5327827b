"""The networks in a file that another program laid out, found by name, or by shape where names differ.

The same for PyTorch and Flax: a tree of dictionaries, whose names may be joined by dots, with tensors for leaves.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from common.contract import NETWORKS, WeightsError
from common.safe_read import one_line
from comparison.checkpoints.linen import refuse_linen
from comparison.checkpoints.matching import Group, Leaf, Name, match_network, shape_of

GENERATOR, DISCRIMINATOR = NETWORKS
AVERAGE = "generator_average"
MAX_NAMES = 10_000  # a dictionary may hold itself, or another many times
MAX_LISTED = 5
WRAPPERS = ("module", "_orig_mod", "value")  # DataParallel's, torch.compile's, and an older Flax NNX's
ROLES = {
    GENERATOR: re.compile("g|gen|generator"),
    DISCRIMINATOR: re.compile("d|dis|disc|discriminator|critic"),
    AVERAGE: re.compile("(g|gen|generator)?(ema|average|avg)(g|gen|generator)?"),
}
DECORATION = re.compile("net|model|state_?dict|[_-]")
OPTIMIZER = re.compile("optim|^opt|_opt|sched|solver", re.IGNORECASE)


class Found(NamedTuple):
    """The networks of a file as `convert` lays them out, and a sentence on each thing that was otherwise."""

    parts: dict[str, Any]
    notes: list[str]


def find_networks(content: Any, example: Mapping[str, Any]) -> Found:
    """Those of the three networks in `example` that the content holds; WeightsError if none, or one does not fit."""
    if not isinstance(content, Mapping):
        raise WeightsError("the model is no dictionary")
    refuse_linen(name for name, _ in flatten(content))
    ours = {part: dict(flatten(example[part])) for part in ROLES}
    groups, aside = _group(content, {name[-1] for names in ours.values() for name in names})
    notes: list[str] = []
    matched: dict[str, dict[Name, Any]] = {}
    if bare := groups.pop("", None):
        if groups:
            aside.update(name.split(".")[0].split("/")[0] for name in map(str, bare.values()))
        else:
            part = _fitting(bare, ours)
            groups[part] = bare
            notes.append(f"By its shapes, it is the {part}.")
    for part, group in groups.items():
        matched[part], said = match_network(group, ours[part], part)
        notes += said
    if not matched:
        raise WeightsError(f"it holds no network: its names are {_listed(map(str, content))}")
    optimizers = {name for name in aside if OPTIMIZER.search(name)}
    if aside - optimizers:
        notes.append(f"Not taken: {_listed(sorted(aside - optimizers))}.")
    if optimizers:
        notes.append(f"Not taken: {_listed(sorted(optimizers))}, an optimizer's state of another program.")
    return Found({part: _rebuild(example[part], tensors) for part, tensors in matched.items()}, notes)


def flatten(tree: Mapping[Any, Any]) -> Iterator[tuple[Name, Leaf]]:
    """Every leaf, with its names split at dots."""
    num_names = 0

    def leaves(tree: Mapping[Any, Any], name: Name, spelt: str) -> Iterator[tuple[Name, Leaf]]:
        nonlocal num_names
        for key, value in tree.items():
            num_names += 1
            if num_names > MAX_NAMES:
                raise WeightsError(f"it holds more than {MAX_NAMES:,} names")
            below, spelling = (*name, *str(key).split(".")), f"{spelt}/{key}" if spelt else str(key)
            if isinstance(value, Mapping):
                yield from leaves(value, below, spelling)
            else:
                yield below, Leaf(value, spelling)

    return leaves(tree, (), "")


def _group(content: Mapping[Any, Any], layer_names: set[str]) -> tuple[dict[str, Group], set[str]]:
    """The tensors by whose they are, "" for nobody's, and the first names of what belongs to no network."""
    groups: dict[str, Group] = {}
    owners: dict[str, Name] = {}
    aside: set[str] = set()
    for whole, leaf in flatten(content):
        name = tuple(word for word in whole if word not in WRAPPERS)
        in_network = bool(getattr(leaf.value, "shape", ())) or whole[-1] in layer_names
        if not name or not in_network or any(OPTIMIZER.search(word) for word in name):
            aside.add(one_line(next(str(key) for key in content if whole[0] == str(key).split(".")[0])))
            continue
        part, place = next(((role, place) for place, word in enumerate(name) if (role := _role(word))), ("", -1))
        owner = name[: place + 1]
        if owners.setdefault(part, owner) != owner:
            both = " and ".join(one_line(".".join(words)) for words in (owners[part], owner))
            raise WeightsError(f"{both} could each be the {part}: save one of them alone")
        if groups.setdefault(part, {}).setdefault(name[place + 1 :], leaf) is not leaf:
            raise WeightsError(f"{leaf} is there twice, with and without a prefix")
    return groups, aside


def _role(word: str) -> str:
    plain = DECORATION.sub("", word.lower())
    return next((part for part, names in ROLES.items() if names.fullmatch(plain)), "")


def _fitting(group: Group, ours: Mapping[str, Group]) -> str:
    """Which network a state dict without a name for the whole is."""
    errors: dict[str, WeightsError] = {}
    for part in NETWORKS:
        try:
            match_network(group, ours[part], part)
        except WeightsError as error:
            errors[part] = error
    fitting = [part for part in NETWORKS if part not in errors]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise WeightsError('it fits both networks: save it as {"generator": ...} or {"discriminator": ...}')
    shapes = Counter(shape_of(leaf.value) for leaf in group.values())
    likest = max(
        NETWORKS, key=lambda part: (shapes & Counter(shape_of(leaf.value) for leaf in ours[part].values())).total()
    )
    raise WeightsError(f"it fits neither network of --like. {errors[likest]}")


def _rebuild(example: Mapping[Any, Any], tensors: Mapping[Name, Any], place: Name = ()) -> dict[Any, Any]:
    """The tensors in the example's tree."""
    tree = {}
    for key, value in example.items():
        name = (*place, *str(key).split("."))
        tree[key] = _rebuild(value, tensors, name) if isinstance(value, Mapping) else tensors[name]
    return tree


def _listed(names: Iterable[str]) -> str:
    names = [one_line(name) for name in names]
    more = [f"and {len(names) - MAX_LISTED} more"] if len(names) > MAX_LISTED else []
    return ", ".join(names[:MAX_LISTED] + more) or "none"
