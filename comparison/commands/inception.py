"""`python compare.py inception SAMPLES.npz|RUN_FOLDER`: Inception FID and KID, for comparison with published values."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import tyro
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from common.data.datasets import load_dataset
from common.errors import UserError
from common.evaluation import digit_images, read_samples
from common.evaluation.samples import DIGIT_SIZE, NUM_STANDARD, round_trip, some_of
from common.options import check_result_file
from common.records.folder import write_atomically
from comparison.run_both import FRAMEWORKS

if TYPE_CHECKING:
    from comparison.inception_features import Distances, Extractor


EXTRA = "dcgan-twins[inception]"
MIN_NUM = 4  # two subsets of two for the kernel distance
PUBLISHED = "Lucic et al. 2018"
PUBLISHED_VALUES = "MNIST, the best of a wide search for each loss: NS-GAN 6.8 ± 0.5, WGAN 6.7 ± 0.4"
PROTOCOL = "10,000 samples against the 10,000 test digits, Inception features"


@dataclass(frozen=True, kw_only=True)
class InceptionOptions:
    """Inception FID and KID of generated digits against equally many MNIST test digits, by torch-fidelity 0.4 on the
    CPU: grey tiled to RGB, TensorFlow 1's bilinear resize. Only 10,000 samples and the real weights are comparable
    with published values. Expect a third of a second for each image on one core, and as many real images as samples.
    """

    path: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SAMPLES.npz|RUN_FOLDER")]
    """An .npz file with uint8 `images` (N, S, S), a run folder, or a comparison's folder, of which both are scored."""
    inception_weights: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """torch-fidelity's weights-inception-2015-12-05-6726825d.pth; if not given, torch-fidelity's own download."""
    num: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Score N of the samples only, against N test digits: a quick look that compares with nothing published."""
    resized: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Images of 29 to 35 px are of a model of enlarged digits: resize them to 28 px instead of cropping a border."""
    precision: Literal["float32", "float64"] = "float32"
    """float64 makes the features independent of the batch size, and takes two to three times as long."""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Where to write the result as JSON."""


@dataclass(frozen=True)
class Score:
    """One file of samples: how many, of which size, and how far from as many real digits."""

    path: Path
    num_images: int
    image_size: int
    is_standard: bool
    distances: "Distances"


def main(options: InceptionOptions) -> int:
    """0 once the numbers are printed, and written if asked for."""
    check_result_file(options.json)
    samples = {path: _first(read_samples(path), options.num) for path in find_samples(options.path)}
    try:
        from comparison.inception_features import load_extractor
    except ImportError as error:
        raise UserError(f"Inception features need what is not installed ({error}): pip install '{EXTRA}'") from None
    extractor = load_extractor(options.inception_weights, options.precision)
    console = Console()
    scores = score(samples, extractor, console, resized=options.resized)
    show(scores, extractor, console)
    if options.json is not None:
        content = json.dumps(as_json(scores, extractor, options.precision), indent=2, allow_nan=False) + "\n"
        try:
            write_atomically(options.json, content.encode())
        except OSError as error:
            raise UserError(f"--json: {options.json} cannot be written ({error.strerror})") from None
    return 0


def find_samples(path: Path) -> list[Path]:
    """The samples.npz of a run, or of both halves of a comparison; anything but a folder is taken for a file."""
    if not path.is_dir():
        return [path]
    found = [file for folder in ("", *FRAMEWORKS) if (file := path / folder / "samples.npz").exists()]
    if not found:
        raise UserError(f"{path} holds no samples.npz: name an .npz file, or the folder of a run that has ended")
    return found


def score(
    samples: dict[Path, np.ndarray], extractor: "Extractor", console: Console, *, resized: bool = False
) -> list[Score]:
    """Real digits take the way of the samples through their size, so that resizing alone costs nothing."""
    from comparison.inception_features import compute_distances

    test_digits = load_dataset("mnist").test_images
    shapes = {images.shape[:2] for images in samples.values()}
    real_digits = {(num, size): round_trip(some_of(test_digits, num), size, resized=resized) for num, size in shapes}
    total = sum(len(images) for images in (*samples.values(), *real_digits.values()))
    _say(console, f"Features of {total:,} images on the CPU ...")
    scores = []
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("images", total=total)

        def extract(images: np.ndarray) -> Any:
            return extractor.extract(images, lambda count: bar.advance(task, count))

        real = {key: extract(digits) for key, digits in real_digits.items()}
        for path, images in samples.items():
            key = num_images, image_size = len(images), images.shape[1]
            is_standard = num_images == NUM_STANDARD and np.array_equal(real_digits[key], test_digits)
            distances = compute_distances(extract(digit_images(images, resized=resized)), real[key])
            scores.append(Score(path, num_images, image_size, is_standard, distances))
    return scores


def show(scores: Sequence[Score], extractor: "Extractor", console: Console) -> None:
    """The numbers, under the name that the weights earn them, and what they may be compared with."""
    names = ("Inception FID", "KID") if extractor.is_inception else ("distance in unknown features", "squared MMD")
    if not extractor.is_inception:
        _say(console, f"{_warning(extractor)}.", style="bold red")
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("samples", overflow="fold")
    for name in ("number", *names, "± over subsets"):
        table.add_column(name, justify="right")
    for found in scores:
        frechet_distance, kernel_distance, spread, _ = found.distances
        cells = (f"{found.num_images:,}", f"{frechet_distance:.2f}", f"{kernel_distance:.5f}", f"{spread:.5f}")
        table.add_row(Text(str(found.path)), *cells)
    console.print(table)
    for size in sorted({found.image_size for found in scores} - {DIGIT_SIZE}):
        _say(console, f"Samples of {size} px were brought to {DIGIT_SIZE} px, real digits there and back.")
    if not extractor.is_inception:
        return
    if all(found.is_standard for found in scores):
        _say(console, f"Comparable to {PUBLISHED} ({PUBLISHED_VALUES}; {PROTOCOL}).")
    else:
        _say(console, f"Not comparable to published values, which are of {PROTOCOL}.", style="yellow")


def as_json(scores: Sequence[Score], extractor: "Extractor", precision: str) -> dict[str, Any]:
    """What is printed; the keys say Inception only if the weights are Inception's."""
    from torch_fidelity import __version__

    from comparison.inception_features import NUM_SUBSETS, SUBSET_SEED

    is_inception = extractor.is_inception
    names = ("inception_fid", "inception_kid") if is_inception else ("unknown_weights_fd", "unknown_weights_mmd2")
    distance_name, kernel_distance_name = names
    return {
        "features": "Inception" if is_inception else "unknown weights",
        "warning": None if is_inception else _warning(extractor),
        "weights_sha256": extractor.sha256,
        "library": f"torch-fidelity {__version__}",
        "precision": precision,
        "reference": "MNIST test digits",
        "num_subsets": NUM_SUBSETS,
        "subset_seed": SUBSET_SEED,
        "sets": [
            {
                "path": str(found.path),
                "num_generated": found.num_images,
                "num_real": found.num_images,
                "image_size": found.image_size,
                "comparable_to": PUBLISHED if is_inception and found.is_standard else None,
                distance_name: found.distances.frechet_distance,
                kernel_distance_name: found.distances.kernel_distance,
                f"{kernel_distance_name}_spread": found.distances.kernel_distance_spread,
                "subset_size": found.distances.subset_size,
            }
            for found in scores
        ],
    }


def _first(images: np.ndarray, num: int | None) -> np.ndarray:
    if num is not None and not MIN_NUM <= num <= len(images):
        raise UserError(f"--num is {num}: choose {MIN_NUM} to {len(images):,}, or leave it out for all samples")
    return images if num is None else some_of(images, num)


def _warning(extractor: "Extractor") -> str:
    return f"these are not the Inception weights (SHA-256 {extractor.sha256[:12]}...): the numbers mean nothing"


def _say(console: Console, text: str, *, style: str = "") -> None:
    console.print(Text(text, style=style), soft_wrap=True)
