"""`features CHECKPOINT`: what the discriminator's filters respond to (Radford et al. 2016, section 6.1, figure 5)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.commands.dispatch import Twin
from common.commands.picture_files import write_out
from common.commands.trained_model import Model, ModelOptions, open_model
from common.data.datasets import fit_images, load_dataset
from common.data.randomness import stream
from common.errors import UserError
from common.pictures.captions import text_size
from common.pictures.compose import MARGIN, captioned, enlarged, enlarged_each, image_grid, png, stacked, text
from common.records.origin import recorded_data_dir
from common.safe_read import one_line, unreadable_is_named
from common.stages import in_stage

NUM_SEARCHED = 1000  # real test images among which the most exciting ones are found
BATCH_SIZE = 100  # of them at once: the first maps of a wide network take a megabyte an image
MAX_FILTERS, MAX_IMAGES = 64, 32
ROW_WIDTH = 600  # pixels, if the images are small enough
NOTHING = 128  # the grey of a gradient of 0
STRONG = 0.99  # of a layer's gradients are weaker: one alone would leave all others grey
FRAME = 150  # its grey shows on black and on white


@dataclass(frozen=True, kw_only=True)
class FeaturesOptions(ModelOptions):
    """What excites the discriminator's filters: real test images, and below each the guided gradient (Springenberg et
    al. 2015) of the filter's strongest response to it. One picture a layer.
    """

    out: Path = Path("features")
    """Folder for the pictures, layer_1.png and so on. It is made if it is not there."""
    num_filters: int = 8
    """Filters of each layer, 1 to 64. Those are taken whose strongest responses vary most over the images."""
    num_images: int = 8
    """Images of each filter, 1 to 32. Those are taken that excite it most."""
    data_dir: Path | None = None
    """Where its training images are, if they were moved."""


class Filter(NamedTuple):
    """One channel of a layer, and the images that excite it, the most exciting first."""

    channel: int
    responses: np.ndarray  # (n,)
    images: np.ndarray  # uint8 (n, S, S[, 3])
    gradients: np.ndarray  # float32 (n, S, S[, 3])


def main(options: FeaturesOptions, twin: Twin) -> int:
    """Write one picture a LeakyReLU of D; returns the exit code."""
    _check(options)
    model = open_model(options, twin.load_framework)
    images = _real_images(model, options.data_dir or recorded_data_dir(options.checkpoint))
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"--out: {one_line(options.out)} cannot be made ({error.strerror}): choose another folder"
        ) from None
    responses = _strongest_responses(model, images)
    for layer, of_layer in in_stage(enumerate(responses), "drawing what excites the filters", len(responses)):
        filters = _find_filters(model, images, of_layer, layer, options)
        picture = _draw(filters, _title(model, of_layer, layer, len(responses), len(filters)))
        write_out(options.out / f"layer_{layer + 1}.png", png(picture))
    return 0


def _check(options: FeaturesOptions) -> None:
    """Raise UserError for flags that cannot be meant."""
    if options.out.suffix.lower() == ".png":
        raise UserError(f"--out: {one_line(options.out)} is a file's name: name a folder, for one picture a layer")
    with unreadable_is_named(options.out):
        exists = next(place for place in (options.out, *options.out.absolute().parents) if place.exists())
        if not exists.is_dir():
            raise UserError(f"--out: {one_line(exists)} is a file: name a folder")
    if not 1 <= options.num_filters <= MAX_FILTERS:
        raise UserError(f"--num-filters is {options.num_filters}: pass 1 to {MAX_FILTERS}")
    if not 1 <= options.num_images <= MAX_IMAGES:
        raise UserError(f"--num-images is {options.num_images}: pass 1 to {MAX_IMAGES}")


def _real_images(model: Model, data_dir: Path | None) -> np.ndarray:
    """Test images at the network's size, a choice that the model's seed decides."""
    config, architecture = model.config, model.architecture
    dataset = load_dataset(config.dataset, data_dir, train_size=config.train_size, image_size=config.image_size)
    if dataset.image_channels != architecture.image_channels:
        has, takes = ("grey" if num == 1 else "colour" for num in (dataset.image_channels, architecture.image_channels))
        raise UserError(f"{dataset.name} has {has} images, the model takes {takes} ones: it was trained on other data")
    order = stream(config.seed, "features").permutation(len(dataset.test_images))
    return fit_images(dataset.test_images[order[:NUM_SEARCHED]], config.image_size)


def _strongest_responses(model: Model, images: np.ndarray) -> list[np.ndarray]:
    """For each layer, each channel's strongest activation by each image: (N, C)."""
    batches = [images[start : start + BATCH_SIZE] for start in range(0, len(images), BATCH_SIZE)]
    strongest = [
        [maps.max(axis=(2, 3)) for maps in model.trainer.discriminator_activations(batch)]
        for batch in in_stage(batches, f"showing the filters {len(images):,} test images", len(batches))
    ]
    return [np.concatenate(of_layer) for of_layer in zip(*strongest, strict=True)]


def _find_filters(
    model: Model, images: np.ndarray, responses: np.ndarray, layer: int, options: FeaturesOptions
) -> list[Filter]:
    """A filter that an even background excites most responds to every image alike, and tells nothing: not shown."""
    channels = np.argsort(-responses.std(axis=0), kind="stable")[: options.num_filters]
    chosen = np.argsort(-responses[:, channels], axis=0, kind="stable")[: options.num_images].T  # (filters, n)
    gradients = model.trainer.discriminator_gradients(
        images[chosen.ravel()], layer=layer, channels=channels.repeat(chosen.shape[1])
    )
    gradients = gradients.reshape(*chosen.shape, *images.shape[1:])
    return [
        Filter(int(channel), responses[best, channel], images[best], own)
        for channel, best, own in zip(channels, chosen, gradients, strict=True)
    ]


def _title(model: Model, responses: np.ndarray, layer: int, num_layers: int, num_filters: int) -> str:
    num_images, num_channels = responses.shape
    return (
        f"What excites the discriminator: layer {layer + 1} of {num_layers}, the {num_filters} of {num_channels} "
        f"filters whose responses vary most over {num_images:,} test images. Model: {model.name}."
    )


def _draw(filters: Sequence[Filter], title: str) -> np.ndarray:
    """Every gradient to one scale, and as much around each as the widest of the layer needs."""
    gradients = np.concatenate([shown.gradients for shown in filters])
    strong = float(np.quantile(abs(gradients[gradients != 0]), STRONG)) if gradients.any() else 0.0
    boxes = [box for gradient in gradients if (box := _box(gradient)) is not None]
    side = max((max(bottom - top, right - left) for top, bottom, left, right in boxes), default=gradients.shape[1])
    blocks = [_draw_filter(shown, strong, side) for shown in filters]
    below = (
        f"Below each image: the guided gradient of its framed part, enlarged. White: light there excites the filter "
        f"(+{strong:.2g} or more); black: it inhibits (-{strong:.2g} or less); grey: neither."
    )
    return captioned(stacked(*blocks, gap=MARGIN), title, below)


def _draw_filter(shown: Filter, strong: float, side: int) -> np.ndarray:
    num_images, size = shown.images.shape[:2]
    images = enlarged_each(shown.images, up_to=ROW_WIDTH // num_images)
    scale = images.shape[1] // size
    parts = np.full_like(images, NOTHING)
    for image, part, gradient in zip(images, parts, shown.gradients, strict=True):
        if (box := _box(gradient)) is None:
            continue
        top, left = (_start(*ends, side=side, size=size) for ends in (box[:2], box[2:]))
        _frame(image, *(scale * place for place in (top, left, side)))
        crop = enlarged(_as_image(gradient[top : top + side, left : left + side], strong), up_to=len(image))
        margin = (len(image) - len(crop)) // 2
        part[margin : margin + len(crop), margin : margin + len(crop)] = crop
    grid = image_grid(np.concatenate([images, parts]), num_columns=num_images)
    label = f"filter {shown.channel + 1}: {_range(shown.responses[0], shown.responses[-1])}"
    return stacked(text(label, size=text_size(grid.shape[1])), grid, gap=2)


def _range(first: float, last: float) -> str:
    """Both ends to as many digits as tell them apart, or one number if no four do."""
    for digits in (2, 3, 4):
        ends = [f"{value:.{digits}f}" for value in (first, last)]
        if ends[0] != ends[1]:
            return f"responses {ends[0]} to {ends[1]}"
    return f"response {first:.2f}"


def _as_image(gradient: np.ndarray, strong: float) -> np.ndarray:
    """So that `strong` is white and its negative black; an absent one is grey."""
    return np.rint(NOTHING + 127 * np.clip(gradient / (strong or 1), -1, 1)).astype(np.uint8)


def _box(gradient: np.ndarray) -> tuple[int, int, int, int] | None:
    """Top, bottom, left and right of all that is not 0 in (S, S[, 3]); None if nothing is."""
    has_one = (gradient != 0).reshape(*gradient.shape[:2], -1).any(axis=2)
    if not has_one.any():
        return None
    rows, columns = (np.flatnonzero(has_one.any(axis=axis)) for axis in (1, 0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _start(first: int, end: int, *, side: int, size: int) -> int:
    """Where a span of `side` pixels begins that holds first..end, in the middle if the image goes so far."""
    return min(max(0, (first + end - side) // 2), size - side)


def _frame(image: np.ndarray, top: int, left: int, side: int) -> None:
    """Draw a frame into the image, around a square and so within the image if it can be."""
    end = len(image) - 1
    bottom, right = min(top + side, end), min(left + side, end)
    top, left = max(top - 1, 0), max(left - 1, 0)
    image[[top, bottom], left : right + 1] = FRAME
    image[top : bottom + 1, [left, right]] = FRAME
