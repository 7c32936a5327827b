"""Alarms: bad sets of samples are told by name, number and floor; real digits and a GAN's set none off."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from common.data.datasets import Dataset, load_dataset, resize_images
from common.evaluation import digit_images, evaluate, evaluate_samples, kernel_distance, load_feature_network
from common.evaluation.alarms import NO_DIGIT_SET, alarms_about
from common.evaluation.classes import class_histogram, class_metrics
from common.evaluation.floors import Floor
from common.evaluation.memorisation import nearest_training
from common.evaluation.metrics import Scores, make_draw, quick_scores
from common.evaluation.plausibility import Alarm, percent
from common.evaluation.reference import Reference
from common.evaluation.table import table
from common.records.schema import Protocol

NUM = 300


@pytest.fixture(scope="module")
def mnist() -> Dataset:
    return load_dataset("mnist")


@pytest.fixture(scope="module")
def reference(mnist: Dataset) -> Reference:
    """300 of 3,000 test digits, beside 6,000 training digits."""
    fewer = replace(mnist, train_images=mnist.train_images[:6_000], test_images=mnist.test_images[:3_000])
    return Reference(load_feature_network(), fewer, split="test", num_images=NUM, image_size=28)


@pytest.fixture(autouse=True)
def _few_kernel_subsets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_distance, "NUM_SUBSETS", 2)


def garments() -> np.ndarray:
    """In place of Fashion-MNIST, which is not in the repository: a body and sleeves, textured."""
    random = np.random.default_rng(0)
    images = []
    for _ in range(NUM):
        image = Image.new("L", (28, 28))
        half, top, level = int(random.integers(4, 9)), int(random.integers(2, 6)), int(random.integers(150, 255))
        draw = ImageDraw.Draw(image)
        draw.polygon([(14 - half, top), (14 + half, top), (17 + half, 26), (11 - half, 26)], fill=level)
        draw.rectangle([9 - half, top, 19 + half, top + int(random.integers(4, 12))], fill=level)
        images.append(np.asarray(image) * (1 - 0.3 * random.random((28, 28))))
    return np.array(images).astype(np.uint8)


def noise(images: np.ndarray) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, images.shape, dtype=np.uint8)


def levels(images: np.ndarray) -> np.ndarray:
    return np.broadcast_to((np.arange(len(images)) % 256).astype(np.uint8)[:, None, None], images.shape).copy()


# Of training digits that the small reference does not hold, and whose memory it has not.
BAD_SETS: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    "one image": ("repeated", lambda real: real[np.zeros(NUM, int)]),
    "a handful of images": ("repeated", lambda real: real[np.arange(NUM) % 7]),
    "a tenth repeated": ("repeated", lambda real: np.concatenate([real[:270], real[:30]])),
    "transposed": ("turned", lambda real: real.transpose(0, 2, 1)),
    "mirrored": ("turned", lambda real: real[:, :, ::-1]),
    "upside down": ("turned", lambda real: real[:, ::-1]),
    "grey background": ("background", lambda real: np.maximum(real, 40)),
    "a faint background": ("background", lambda real: np.maximum(real, 16)),
    "inverted": ("background", lambda real: 255 - real),
    "garments": ("no_digits", lambda real: garments()),
    "half garments": ("no_digits", lambda real: np.concatenate([real[:150], garments()[:150]])),
    "shifted": ("position", lambda real: np.roll(real, 4, axis=2)),
    "noise": ("no_digits", noise),
    "constant images": ("no_contrast", levels),
    "a tenth blank": ("no_contrast", lambda real: np.concatenate([real[:270], 0 * real[:30]])),
    "[0, 1] cast": ("no_contrast", lambda real: (real > 127).astype(np.uint8)),
    "dim": ("no_contrast", lambda real: real // 3),
    "enlarged": ("size", lambda real: digit_images(resize_images(real, 32))),
}


def alarms(images: np.ndarray, reference: Reference, **values: float) -> dict[str, Alarm]:
    """With the search for copies; `values` are metrics."""
    draw = make_draw(np.ascontiguousarray(images), reference)
    scores = Scores(values, {}, nearest_training(draw.features, reference.training_digits.features))
    return {alarm.name: alarm for alarm in alarms_about(draw, scores, reference)}


@pytest.mark.parametrize("case", BAD_SETS)
def test_a_bad_set_is_told_with_its_number_and_that_of_real_digits(case: str, mnist: Dataset, reference: Reference):
    name, spoil = BAD_SETS[case]
    alarm = alarms(spoil(mnist.train_images[30_000 : 30_000 + NUM]), reference)[name]
    assert alarm.value > alarm.floor + 0.01
    assert "real digits" in alarm.sentence
    assert "\n" not in alarm.sentence


def test_memorised_digits_are_told_even_under_faint_noise(mnist: Dataset, reference: Reference):
    copies = mnist.train_images[:NUM]
    faint = np.random.default_rng(0).normal(0, 4, copies.shape)
    for images in (copies, np.clip(copies + faint, 0, 255).astype(np.uint8)):
        alarm = alarms(images, reference)["memorised"]
        assert alarm.value > 0.8
        assert alarm.floor < 0.01


@pytest.mark.parametrize("labels", [[0, 1, 2, 3, 4], [1]])
def test_every_missing_class_is_counted_though_the_classifier_errs(
    labels: list[int], mnist: Dataset, reference: Reference
):
    some = mnist.train_images[np.isin(mnist.train_labels, labels)][5_000 : 5_000 + NUM]
    assert alarms(some, reference)["missing_classes"].value == 10 - len(labels)
    counts, real = (class_histogram(reference.network.extract(of).logits) for of in (some, reference.images))
    assert class_metrics(counts, real)["num_missing_classes"] == 10 - len(labels)


def test_many_near_duplicates_are_told_and_few_are_not(mnist: Dataset, reference: Reference):
    images = mnist.train_images[30_000 : 30_000 + NUM]
    assert alarms(images, reference, duplicate_fraction=0.6)["duplicates"].value == 0.6
    assert alarms(images, reference, duplicate_fraction=0.02) == {}


@pytest.mark.parametrize("split", ["train", "test"])
def test_real_digits_of_either_split_set_nothing_off(split: str, mnist: Dataset, reference: Reference):
    images = mnist.train_images[30_000:] if split == "train" else mnist.test_images[3_000:]
    assert alarms(images[:NUM], reference) == {}


def test_digits_with_a_trained_models_faults_set_nothing_off(mnist: Dataset, reference: Reference):
    """Strokes a little soft and bent: what a healthy GAN draws."""
    real = mnist.train_images[40_000 : 40_000 + NUM].astype(float)
    soft = np.clip(gaussian_filter(real, (0, 0.4, 0.4)) * 1.15, 0, 255).astype(np.uint8)
    assert alarms(soft, reference) == {}


def test_no_digits_are_not_called_comparable_and_the_alarm_is_in_terminal_and_json(
    mnist: Dataset, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(evaluate, "NUM_STANDARD", 1_000)
    floor = dict.fromkeys(("frechet_distance", "kid", "mnist_score"), Floor(0.5, 0.25, 1.0))
    monkeypatch.setattr(evaluate, "load_floors", lambda *_, **__: floor)
    monkeypatch.setattr(evaluate, "all_scores", quick_scores)
    mirrored = np.ascontiguousarray(mnist.train_images[:1_000, :, ::-1])
    evaluation = evaluate_samples(mirrored)
    assert evaluate_samples(mnist.train_images[:1_000]).protocol["comparable"]
    assert not evaluation.protocol["comparable"]
    (turned,) = [alarm for alarm in evaluation.to_json()["protocol"]["warnings"] if alarm["name"] == "turned"]
    assert turned.keys() == {"name", "sentence", "value", "floor"}
    assert turned["name"] in NO_DIGIT_SET
    printed = table(evaluation)
    words = " ".join(printed.split())
    assert re.search(
        r"ALARM: 6\d % of the samples look like real digits only when mirrored left to right \(real", words
    )
    assert "not comparable: see the alarm" in words
    assert max(map(len, printed.splitlines())) <= 80


def test_a_record_with_sentences_alone_is_still_read():
    old: dict[str, Any] = {"num_generated": 1, "num_real": 1, "network_sha256": "0", "warnings": ["it is grey"]}
    assert Protocol.model_validate(old).warnings[0].sentence == "it is grey"


def test_a_share_is_never_rounded_to_all_or_nothing():
    assert [percent(share) for share in (0, 0.003, 0.78, 0.999, 1)] == ["0 %", "0.3 %", "78 %", "99.9 %", "100 %"]
