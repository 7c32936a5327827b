"""Quality without a digit network: good sets score near the floor, bad ones far from it, whatever the images are."""

import numpy as np
import pytest
from PIL import Image

from common.data.datasets import Dataset
from common.errors import UserError
from common.evaluation.evaluate_own import evaluate_own
from common.evaluation.kernel_distance import squared_mmds, sums_between, sums_within
from common.records.schema import check

NUM_TRAINING = 120


def pictures(num: int, *, seed: int, channels: int = 3, size: int = 24) -> np.ndarray:
    """Smooth random colours, uint8 (num, size, size, 3), or grey (num, size, size)."""
    small = np.random.default_rng(seed).integers(0, 256, (num, 3, 3, 3), dtype=np.uint8)
    large = [np.asarray(Image.fromarray(each).resize((size, size), Image.Resampling.BILINEAR)) for each in small]
    return np.stack(large) if channels == 3 else np.stack(large)[..., 0]


def data(*, channels: int = 3, num_training: int = NUM_TRAINING) -> Dataset:
    images = [pictures(num, seed=seed, channels=channels) for seed, num in enumerate((num_training, 48))]
    labels = [np.zeros(len(each), np.int64) for each in images]
    return Dataset("pictures", images[0], labels[0], images[1], labels[1])


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_the_same_kind_score_about_their_floor(channels):
    evaluation = evaluate_own([pictures(80, seed=5, channels=channels)], data(channels=channels))
    for name in ("frechet_distance", "precision", "recall", "coverage"):
        metric = evaluation.metrics[name]
        assert metric["value"] == pytest.approx(metric["floor"], rel=0.3), name
    for name in ("kid", "duplicate_fraction", "memorised_fraction"):
        metric = evaluation.metrics[name]
        assert metric["value"] == pytest.approx(metric["floor"], abs=0.2), name
    assert evaluation.protocol["num_generated"] == NUM_TRAINING // 2


def test_noise_is_far_from_the_floor():
    noise = np.random.default_rng(0).integers(0, 256, (80, 24, 24, 3), dtype=np.uint8)
    metrics = evaluate_own([noise], data()).metrics
    floor = metrics["frechet_distance"]["floor"]
    assert floor is not None
    assert metrics["frechet_distance"]["value"] > 3 * floor
    assert metrics["recall"]["value"] == 0


def alarms(images: np.ndarray) -> dict[str, tuple[float, float]]:
    return {
        alarm["name"]: (alarm["value"], alarm["floor"]) for alarm in evaluate_own([images], data()).protocol["warnings"]
    }


def test_an_alarm_tells_of_copies_and_of_repeats_with_their_share_and_none_of_other_images_of_the_kind():
    other = pictures(80, seed=5)
    assert alarms(other) == {}
    assert alarms(np.repeat(other[:8], 10, axis=0))["repeated"] == (1, pytest.approx(0, abs=0.05))
    copied = np.concatenate([data().train_images[:20], other[:60]])
    assert alarms(copied) == {"copies": (0.25, 0)}


def test_copies_and_repeats_are_seen_and_the_pairs_named():
    training = data().train_images
    evaluation = evaluate_own([np.concatenate([training[:40]] * 2)], data())
    metrics = evaluation.metrics
    assert metrics["memorised_fraction"]["value"] == 1
    assert metrics["duplicate_fraction"]["value"] > 0.3
    assert metrics["copying_statistic"]["value"] < -3
    for pair in evaluation.nearest_neighbours:
        assert pair["training_image"] == pair["sample"] % 40


def test_the_record_has_no_classes_and_is_complete():
    content = evaluate_own([pictures(80, seed=seed) for seed in (5, 6)], data()).to_json()
    assert check("metrics.json", content, complete=True)
    assert "class_histogram" not in content
    assert "pixels" in content["protocol"]["features"]


@pytest.mark.parametrize(
    ("images", "num_training", "reason"),
    [
        (pictures(59, seed=5), NUM_TRAINING, "got 59 samples: 60 are needed"),
        (pictures(80, seed=5, channels=1), NUM_TRAINING, r"the samples are uint8 \(24, 24\)"),
        (np.zeros((80, 24, 24, 3), np.uint8), NUM_TRAINING, "nothing to score"),
        (pictures(80, seed=5), 39, "39 training images are too few"),
    ],
)
def test_what_cannot_be_scored_is_refused(images, num_training, reason):
    with pytest.raises(UserError, match=reason):
        evaluate_own([images], data(num_training=num_training))


def test_subsets_that_share_the_kernel_have_the_values_that_each_has_alone():
    draw = np.random.default_rng(0)
    real, generated = draw.standard_normal((2, 60, 8))
    of_real, of_generated = (np.stack([draw.permutation(60)[:20] for _ in range(5)]) for _ in range(2))
    alone = []
    for first, second in zip(of_real, of_generated, strict=True):
        kernels = [(a @ b.T / 8 + 1) ** 3 for a, b in ((real[first],) * 2, (generated[second],) * 2)]
        within = [(kernel.sum() - np.trace(kernel)) / (20 * 19) for kernel in kernels]
        alone.append(sum(within) - 2 * ((real[first] @ generated[second].T / 8 + 1) ** 3).mean())
    for some in (slice(0, 5), slice(0, 1)):  # one subset shares nothing
        chosen, of_others = of_real[some], of_generated[some]
        within = sums_within(real, chosen), sums_within(generated, of_others)
        shared = squared_mmds(*within, sums_between(real, generated, chosen, of_others), 20)
        assert shared == pytest.approx(alone[some], rel=1e-9)
