"""The evaluator against the same network in either framework, and against libraries that need PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import pytest
import torch
from flax import linen
from jax import lax
from onnx import numpy_helper
from torch import nn
from torch.nn import functional
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.inception import InceptionScore
from torchmetrics.image.kid import KernelInceptionDistance

from common.data.datasets import Dataset, load_dataset
from common.evaluation import (
    FeatureNetwork,
    load_feature_network,
)
from common.evaluation.classes import mnist_score
from common.evaluation.feature_network import NETWORK_PATH
from common.evaluation.kernel_distance import SUBSET_SIZE, kernel_distance
from tests.common.test_evaluation_metrics import NUM, NUM_FEATURES, distance_of, neighbours_of, overlapping_features

CONVOLUTIONS = ((1, 2, 2), (2, 2, 1), (3, 1, 1))  # number, stride, padding


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def mnist() -> Dataset:
    return load_dataset()


@pytest.fixture(scope="module")
def network() -> FeatureNetwork:
    return load_feature_network()


@pytest.fixture(scope="module")
def feature_sets() -> tuple[np.ndarray, np.ndarray]:
    return overlapping_features()


def test_the_network_agrees_with_the_same_layers_in_torch(mnist: Dataset, network: FeatureNetwork):
    initializers = onnx.load(NETWORK_PATH).graph.initializer
    weights = {w.name: torch.tensor(numpy_helper.to_array(w)) for w in initializers}
    x = torch.tensor(mnist.test_images[:300]).float().div(255).unsqueeze(1)
    x = functional.conv2d(x, weights["low_pass"], padding=1)
    for layer, stride, padding in CONVOLUTIONS:
        x = functional.conv2d(x, weights[f"weight_{layer}"], weights[f"bias_{layer}"], stride, padding).relu()
    x = functional.max_pool2d(x, 3, 2, 1).flatten(1)
    x = functional.linear(x, weights["weight_4"], weights["bias_4"]).relu()
    features, logits = network.extract(mnist.test_images[:300])
    np.testing.assert_allclose(features, x, atol=1e-4)
    expected_logits = functional.linear(x, weights["class_weight"], weights["class_bias"])
    np.testing.assert_allclose(logits, expected_logits, atol=1e-4)


def test_the_network_agrees_with_the_same_layers_in_flax(mnist: Dataset, network: FeatureNetwork):
    weights = {w.name: jnp.array(numpy_helper.to_array(w)) for w in onnx.load(NETWORK_PATH).graph.initializer}
    x = jnp.array(mnist.test_images[:300, ..., None], jnp.float32) / 255

    def convolve(x: jax.Array, name: str, stride: int, padding: int) -> jax.Array:
        kernel, sides = weights[name].transpose(2, 3, 1, 0), [(padding, padding)] * 2
        return lax.conv_general_dilated(x, kernel, (stride, stride), sides, dimension_numbers=("NHWC", "HWIO", "NHWC"))

    x = convolve(x, "low_pass", 1, 1)
    for layer, stride, padding in CONVOLUTIONS:
        x = linen.relu(convolve(x, f"weight_{layer}", stride, padding) + weights[f"bias_{layer}"][None, None, None])
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))  # behind a ReLU no maximum is below 0
    x = linen.max_pool(x, (3, 3), (2, 2)).transpose(0, 3, 1, 2).reshape(len(x), -1)
    x = linen.relu(x @ weights["weight_4"].T + weights["bias_4"][None])
    features, logits = network.extract(mnist.test_images[:300])
    np.testing.assert_allclose(features, x, atol=1e-4)
    expected_logits = x @ weights["class_weight"].T + weights["class_bias"][None]
    np.testing.assert_allclose(logits, expected_logits, atol=1e-4)


def test_frechet_distance_agrees_with_torch_fidelity_and_torchmetrics(feature_sets):
    real, generated = feature_sets
    expected = distance_of(real, generated)
    statistics = [fid_features_to_statistics(torch.from_numpy(f).double()) for f in (generated, real)]
    assert next(iter(fid_statistics_to_metric(*statistics, verbose=False).values())) == pytest.approx(
        expected, rel=1e-6
    )
    metric = FrechetInceptionDistance(nn.Identity(), normalize=True, input_img_size=(NUM_FEATURES,))  # pyright: ignore[reportArgumentType]
    metric.set_dtype(torch.float64)
    metric.update(torch.from_numpy(real).double(), real=True)
    metric.update(torch.from_numpy(generated).double(), real=False)
    assert float(metric.compute()) == pytest.approx(expected, rel=1e-6)


@pytest.mark.filterwarnings("ignore:Metric `.*` will save all extracted features:UserWarning")
def test_kernel_distance_agrees_with_torch_fidelity_and_torchmetrics_to_its_subset_noise(feature_sets):
    real, generated = feature_sets
    mine = kernel_distance(real, generated, seed=0)
    settings = {"kid_subsets": 20, "kid_subset_size": SUBSET_SIZE, "rng_seed": 2020, "verbose": False}
    theirs = kid_features_to_metric(torch.from_numpy(generated).double(), torch.from_numpy(real).double(), **settings)
    mean, deviation = theirs.values()
    assert mine.value == pytest.approx(mean, abs=4 * deviation / np.sqrt(20))
    metric = KernelInceptionDistance(nn.Identity(), subsets=20, subset_size=SUBSET_SIZE)
    metric.update(torch.from_numpy(real), real=True)
    metric.update(torch.from_numpy(generated), real=False)
    torch.manual_seed(0)
    assert mine.value == pytest.approx(float(metric.compute()[0]), abs=4 * deviation / np.sqrt(20))


def test_one_subset_of_all_samples_is_torch_fidelitys_to_the_last_digits(feature_sets):
    real, generated = (features[:SUBSET_SIZE].astype(np.float64) for features in feature_sets)
    settings = {"kid_subsets": 1, "kid_subset_size": SUBSET_SIZE, "rng_seed": 0, "verbose": False}
    theirs = kid_features_to_metric(torch.from_numpy(generated), torch.from_numpy(real), **settings)
    assert kernel_distance(real, generated, seed=0).value == pytest.approx(next(iter(theirs.values())), rel=1e-6)


def test_precision_and_recall_agree_with_torch_fidelity(feature_sets):
    real, generated = (torch.from_numpy(features[:1000]) for features in feature_sets)
    settings = {"prc_neighborhood": 3, "prc_batch_size": 1000, "save_cpu_ram": False, "verbose": False}
    theirs = prc_features_to_metric(generated, real, **settings)
    mine = neighbours_of(real.numpy(), generated.numpy(), k=3)
    assert 0.1 < mine.precision < 0.9
    assert (mine.precision, mine.recall) == pytest.approx((theirs["precision"], theirs["recall"]), rel=1e-6)


@pytest.mark.filterwarnings("ignore:Metric `.*` will save all extracted features:UserWarning")
def test_mnist_score_agrees_with_torch_fidelity_and_torchmetrics(rng: np.random.Generator):
    logits = (3 * rng.standard_normal((NUM, 10))).astype(np.float32)
    theirs = isc_features_to_metric(torch.from_numpy(logits), splits=1)
    assert mnist_score(logits) == pytest.approx(next(iter(theirs.values())), rel=1e-6)
    metric = InceptionScore(nn.Identity(), splits=2)
    metric.update(torch.from_numpy(logits))
    torch.manual_seed(0)
    mean, deviation = (float(value) for value in metric.compute())
    assert mnist_score(logits) == pytest.approx(mean, abs=4 * deviation + 0.02)  # splits are biased upwards
