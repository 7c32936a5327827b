"""How people spell the names of datasets, and the one spelling that config.json holds."""

import difflib
import re
from collections.abc import Iterable

# NAME, NAME/CONFIG, NAME:VERSION: what TFDS would take for a path, a module or a namespace to fetch is none.
DATASET_NAME = re.compile(r"[a-z0-9_]{1,100}(/[a-z0-9_][a-z0-9_.-]{0,100})?(:\d{1,4}\.\d{1,4}\.\d{1,4})?", re.I | re.A)
FORMATS = ("folder", "npz", "idx")  # the person's own data
COMMON_NAMES = (
    *("mnist", "fashion_mnist", "kmnist", "emnist", "binarized_mnist", "mnist_corrupted", "omniglot", "svhn_cropped"),
    *("cifar10", "cifar100", "cifar10_1", "celeb_a", "stl10", "eurosat", "cats_vs_dogs", "horses_or_humans", "lfw"),
    *(
        "oxford_flowers102",
        "oxford_iiit_pet",
        "stanford_dogs",
        "tf_flowers",
        "food101",
        "caltech101",
        "quickdraw_bitmap",
    ),
)
ALIASES = {"svhn": "svhn_cropped", "fashion": "fashion_mnist", "flowers102": "oxford_flowers102"}


def canonical_name(name: str) -> str:
    """The spelling TFDS uses, of a name as people write it: `FashionMNIST`, `fashion-mnist`, `CIFAR-10`."""
    head, rest = re.fullmatch(r"([^/:]*)(.*)", name, re.DOTALL).groups()  # pyright: ignore[reportOptionalMemberAccess]
    squashed = _squashed(head)
    known = {_squashed(one): one for one in (*COMMON_NAMES, *FORMATS)} | ALIASES
    return known.get(squashed, head) + rest


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean cifar10?` if one is near, else nothing."""
    by_squashed = {_squashed(one): one for one in (*known, *FORMATS, *COMMON_NAMES)}
    near = difflib.get_close_matches(_squashed(re.split("[/:]", name)[0]), by_squashed, n=3, cutoff=0.7)
    return f"; did you mean {' or '.join(by_squashed[one] for one in near)}?" if near else ""


def _squashed(name: str) -> str:
    return re.sub(r"[-_. ]", "", name.casefold())
