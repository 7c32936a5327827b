"""Floors: what the metrics say of real digits that take the place of generated ones."""

import json
import math
from typing import NamedTuple

import numpy as np

from common.evaluation.catalogue import METRICS, metrics_with_floor
from common.evaluation.metrics import full_scores, make_draw, memorisation_scores, quick_scores
from common.evaluation.reference import Reference, shuffled_indices
from common.evaluation.stored import load_or_compute
from common.records.folder import json_bytes
from common.stages import in_stage

MAX_BLOCKS = 6


class Floor(NamedTuple):
    """The mean over blocks of real digits, and their range; None where the floor is a single number."""

    mean: float
    low: float | None = None
    high: float | None = None


def load_floors(reference: Reference, *, quick: bool) -> dict[str, Floor]:
    """Shipped for the standard protocol and for `--quick`; else computed once, which can take two minutes."""
    return load_or_compute(
        floors_name(reference, quick=quick),
        reference.network,
        compute=lambda: encode(compute_floors(reference, quick=quick)),
        decode=lambda content: _complete(decode(content), quick=quick),
    )


def floor_in_words(split: str, *, quick: bool) -> str:
    """What stands in the floors' place, for those who read the numbers."""
    blocks = "training digits" if split == "test" else "real digits, five other training ones and one of test digits,"
    words = f"six disjoint blocks of {blocks} in place of generated ones"
    for floor, source in (("itself", "the real digits themselves"), ("test digits", "the test digits")):
        titles = [METRICS[name].title for name in metrics_with_floor(quick=quick) if METRICS[name].floor == floor]
        words += f"; {source} for {', '.join(titles)}" if titles else ""
    return words


def floors_name(reference: Reference, *, quick: bool) -> str:
    """The file that holds the floors."""
    kind = "quick_" if quick else ""
    return f"{kind}floors_{reference.split}_{reference.num_images}_{reference.image_size}.json"


def compute_floors(reference: Reference, *, quick: bool) -> dict[str, Floor]:
    """Disjoint blocks of training digits in place of generated ones; test digits for the memorisation screens.

    Against the training digits themselves, the blocks are the others of them and the first test digits.
    """
    scores = quick_scores if quick else full_scores
    blocks = _blocks(reference)
    in_turn = in_stage(blocks, "scoring real digits", len(blocks))
    values = [scores(make_draw(digits, reference), reference).values for digits in in_turn]
    floors = {}
    for name in values[0]:
        measured = [block[name] for block in values]
        floors[name] = Floor(float(np.mean(measured)), min(measured), max(measured))
    itself = scores(make_draw(reference.images, reference), reference).values
    floors |= {name: Floor(value) for name, value in itself.items() if METRICS[name].floor == "itself"}
    if not quick:
        test = make_draw(reference.round_trip(reference.mnist.test_images), reference)
        memorised = memorisation_scores(test, reference.test_nearest, reference)
        floors |= {name: Floor(value) for name, value in memorised.items()}
    return floors


def encode(floors: dict[str, Floor]) -> bytes:
    """As JSON."""
    return json_bytes({name: floor._asdict() for name, floor in floors.items()})


def decode(content: bytes) -> dict[str, Floor]:
    """Floors from what `encode` made of them; ValueError for other bytes."""
    try:
        return {name: Floor(**floor) for name, floor in json.loads(content).items()}
    except (TypeError, AttributeError) as error:
        raise ValueError(str(error)) from None


def _complete(floors: dict[str, Floor], *, quick: bool) -> dict[str, Floor]:
    """ValueError if one is missing or no number: a damaged cache is computed again."""
    if floors.keys() != set(metrics_with_floor(quick=quick)):
        raise ValueError(f"the floors are of {', '.join(floors)}")
    for name, floor in floors.items():
        if not all(isinstance(value, int | float) and math.isfinite(value) for value in floor if value is not None):
            raise ValueError(f"the floor of {name} is {floor}")
    return floors


def _blocks(reference: Reference) -> list[np.ndarray]:
    num, mnist = reference.num_images, reference.mnist
    train, test = (shuffled_indices(mnist, split) for split in ("train", "test"))
    starts = range(0, len(train) - num + 1, num)
    blocks = [mnist.train_images[train[start : start + num]] for start in starts][:MAX_BLOCKS]
    if reference.split == "train":  # whose reference is the first block
        blocks = [*blocks[1:], mnist.test_images[test[:num]]]
    return [reference.round_trip(block) for block in blocks]
