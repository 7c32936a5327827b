"""`python compare.py inception SAMPLES.npz|RUN_FOLDER`: Inception FID and KID, for comparison with published values."""

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import tyro

from common.console import printable
from common.data.datasets import load_dataset
from common.errors import UserError
from common.evaluation import digit_images, read_samples
from common.evaluation.samples import NUM_STANDARD, round_trip, some_of
from common.options import check_result_file
from common.records.folder import SAMPLES_FILE, json_bytes, write_atomically
from comparison.run_both import FRAMEWORKS

EXTRA = "dcgan-twins[inception]"
# Of the file by which all published values were made; its first eight digits are in its name.
WEIGHTS_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
SUBSET_SIZE = 1_000  # torch-fidelity's own; smaller sets take smaller subsets
MIN_NUM = 4  # two subsets of two for the kernel distance
PUBLISHED = "Lucic et al. 2018"
PUBLISHED_VALUES = "MNIST, the best of a wide search for each loss: NS-GAN 6.8 ± 0.5, WGAN 6.7 ± 0.4"
PROTOCOL = "10,000 samples against the 10,000 test digits, Inception features"


@dataclass(frozen=True, kw_only=True)
class InceptionOptions:
    """Inception FID and KID of generated digits against as many MNIST test digits. torch-fidelity 0.4 computes them on
    the CPU, of grey tiled to RGB. Only 10,000 samples and the real weights compare with published values. Expect a
    third of a second for each image on one core, and as many real images as samples.
    """

    path: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SAMPLES.npz|RUN_FOLDER")]
    """An .npz file of samples, or a run's folder. The file holds uint8 `images` (N, S, S). Of a comparison, both runs
    are scored."""
    inception_weights: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Your copy of torch-fidelity's weights. It is weights-inception-2015-12-05-6726825d.pth; nothing is downloaded."""
    num: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Score N of the samples only, against N test digits. It is a quick look that compares with nothing published."""
    resized: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Resize samples of 29 to 35 px instead of cropping. It is for a model of enlarged digits."""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Where to write the result as JSON."""


def main(options: InceptionOptions) -> int:
    """0 once the numbers are printed, and written if asked for."""
    check_result_file(options.json)
    samples = {path: _first(read_samples(path), options.num) for path in find_samples(options.path)}
    try:
        from torch_fidelity import __version__
    except ImportError as error:
        raise UserError(f"Inception features need what is not installed ({error}): pip install '{EXTRA}'") from None
    weights = check_weights(options.inception_weights)
    print(f"Features of {2 * sum(map(len, samples.values())):,} images at most, on the CPU ...", flush=True)
    with TemporaryDirectory() as cache:
        sets = [
            {"path": str(path), **score(images, weights, Path(cache), resized=options.resized)}
            for path, images in samples.items()
        ]
    for found in sets:
        fid, kid, spread = (found[f"inception_{name}"] for name in ("fid", "kid", "kid_spread"))
        name = printable(found["path"])
        print(f"{name} ({found['num_generated']:,} samples): FID {fid:.2f}, KID {kid:.5f} ± {spread:.5f}")
    if all(found["comparable_to"] for found in sets):
        print(f"Comparable to {PUBLISHED} ({PUBLISHED_VALUES}; {PROTOCOL}).")
    else:
        print(f"Not comparable to published values, which are of {PROTOCOL}.")
    if options.json is not None:
        result = {"weights_sha256": WEIGHTS_SHA256, "library": f"torch-fidelity {__version__}", "sets": sets}
        write_atomically(options.json, json_bytes(result))
    return 0


def find_samples(path: Path) -> list[Path]:
    """The samples.npz of a run, or of both halves of a comparison; anything but a folder is taken for a file."""
    if not path.is_dir():
        return [path]
    found = [file for folder in ("", *FRAMEWORKS) if (file := path / folder / SAMPLES_FILE).exists()]
    if not found:
        raise UserError(f"{path} holds no samples.npz: name an .npz file, or the folder of a run that has ended")
    return found


def check_weights(path: Path | None) -> Path:
    """The file, if it is the published one: torch-fidelity unpickles it, which runs whatever code another one holds."""
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    if path is None:
        raise UserError(f"no weights: pass --inception-weights FILE, your copy of {URL_INCEPTION_V3}")
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(
            f"--inception-weights: {path} cannot be read ({error.strerror}): name a copy of {URL_INCEPTION_V3}"
        ) from None
    if sha256 != WEIGHTS_SHA256:
        raise UserError(f"--inception-weights: {path} is another file than {URL_INCEPTION_V3} (by its SHA-256)")
    return path


def score(images: np.ndarray, weights: Path, cache: Path, *, resized: bool) -> dict[str, Any]:
    """FID and KID of samples (N, S, S); real digits take the way through S, so that resizing alone costs nothing.

    `cache` is a folder in which the features of the real digits wait for the next samples of that number and size.
    """
    import torch
    from torch.utils.data import Subset
    from torch_fidelity import calculate_metrics

    def dataset(digits: np.ndarray) -> Any:
        pixels: Any = torch.from_numpy(digits.copy())[:, None].expand(-1, 3, -1, -1)
        return Subset(pixels, range(len(digits)))

    num_images, size = images.shape[:2]
    test_digits = load_dataset("mnist").test_images
    real_digits = round_trip(some_of(test_digits, num_images), size, resized=resized)
    is_standard = num_images == NUM_STANDARD and np.array_equal(real_digits, test_digits)
    found = calculate_metrics(
        input1=dataset(digit_images(images, resized=resized)),
        input2=dataset(real_digits),
        input2_cache_name=f"mnist-{num_images}-{size}",
        cache_root=str(cache),
        feature_extractor_weights_path=str(weights),
        fid=True,
        kid=True,
        kid_subset_size=min(SUBSET_SIZE, num_images // 2),
        cuda=False,
        save_cpu_ram=True,  # no worker processes
        verbose=sys.stderr.isatty(),
    )
    return {
        "num_generated": num_images,
        "num_real": num_images,
        "image_size": size,
        "comparable_to": PUBLISHED if is_standard else None,
        "inception_fid": found["frechet_inception_distance"],
        "inception_kid": found["kernel_inception_distance_mean"],
        "inception_kid_spread": found["kernel_inception_distance_std"],
    }


def _first(images: np.ndarray, num: int | None) -> np.ndarray:
    if num is not None and not MIN_NUM <= num <= len(images):
        raise UserError(f"--num is {num}: choose {MIN_NUM} to {len(images):,}, or leave it out for all samples")
    return images if num is None else some_of(images, num)
