"""`compare.py inception`: which weights it takes, what they see, and that only Inception's numbers are called so."""

import hashlib
import io
import json
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from common.data.datasets import fit_images
from common.errors import UserError, report_errors
from common.evaluation.frechet import Gaussian, frechet_distance
from comparison import inception_features
from comparison.commands.dispatch import PROGRAM, run_command
from comparison.inception_features import Extractor, compute_distances, load_extractor
from tests.test_boundaries import BLOCK, run_python

Command = Callable[..., tuple[int, str]]


class RandomInception(FeatureExtractorInceptionV3):
    """The network with weights of its own, which no file has to hold."""

    def load_state_dict(self, *_: Any, **__: Any) -> Any:
        for parameter in self.parameters():
            if parameter.ndim == 4:
                torch.nn.init.kaiming_normal_(parameter)  # so that digits still differ after 20 layers


# Each test builds a network of 24 million parameters; the whole file takes most of a minute.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    empty = io.BytesIO()
    torch.save({}, empty)
    empty.seek(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return RandomInception("random", ["2048"], feature_extractor_weights_path=empty).state_dict()


@pytest.fixture(scope="module")
def weights(state, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("inception") / "random.pth"
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def extractor(weights) -> Extractor:
    return load_extractor(weights, "float32")


@pytest.fixture
def samples(digits, tmp_path) -> Path:
    return write_samples(tmp_path / "samples.npz", digits, num=1_000)


@pytest.fixture
def command(capsys) -> Command:
    """Runs the command; returns its exit code and all that it printed, with single spaces."""

    def run(*arguments: object) -> tuple[int, str]:
        code = report_errors(PROGRAM, lambda: run_command(["inception", *map(str, arguments)]))
        return code, " ".join("".join(capsys.readouterr()).split())

    return run


@pytest.fixture
def pooled_pixels(monkeypatch) -> None:
    """49 features that take no time, in place of the network's 2,048."""

    def extract(_: Extractor, images: np.ndarray, advance: Callable[[int], None]) -> torch.Tensor:
        advance(len(images))
        return torch.from_numpy(images.reshape(len(images), 7, 4, 7, 4).mean(axis=(2, 4)).reshape(-1, 49) / 255)

    monkeypatch.setattr(Extractor, "extract", extract)
    monkeypatch.setattr(inception_features, "NUM_SUBSETS", 3)


def write_samples(path: Path, digits: np.ndarray, *, num: int, size: int = 28) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, images=fit_images(np.resize(digits, (num, 28, 28)), size))
    return path


def trust(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the random weights pass for Inception's."""
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    monkeypatch.setattr(inception_features, "WEIGHTS_SHA256", sha256)


def extract(extractor: Extractor, images: np.ndarray) -> torch.Tensor:
    return extractor.extract(images, lambda _: None)


def tensorflow_resize(image: np.ndarray, size: int) -> np.ndarray:
    """tf.image.resize_bilinear of TensorFlow 1, align_corners=False: pixel i lies at i * scale, without half pixels."""
    resized = np.zeros((size, size), np.float32)
    for row in range(size):
        for column in range(size):
            y, x = (np.float32(index) * np.float32(len(image) / size) for index in (row, column))
            top, left = int(y), int(x)
            bottom, right = min(top + 1, len(image) - 1), min(left + 1, len(image) - 1)
            above = image[top, left] * (1 - (x - left)) + image[top, right] * (x - left)
            below = image[bottom, left] * (1 - (x - left)) + image[bottom, right] * (x - left)
            resized[row, column] = above * (1 - (y - top)) + below * (y - top)
    return resized


# What the network sees and says


def test_the_network_sees_the_grey_three_times_resized_as_tensorflow_1_does(extractor, digits):
    seen = []
    with extractor.network.Conv2d_1a_3x3.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])):
        extract(extractor, digits[:1])
    greys = seen[0][0] * 128 + 128
    assert greys.shape == (3, 299, 299)
    np.testing.assert_array_equal(greys, greys[:1].expand(3, -1, -1))
    expected = tensorflow_resize(digits[0].astype(np.float32), 299)
    np.testing.assert_allclose(greys[0], expected, atol=1e-3)
    half_pixels = functional.interpolate(torch.tensor(digits[:1, None]).float(), (299, 299), mode="bilinear")
    assert np.abs(half_pixels[0, 0].numpy() - expected).max() > 10  # the resize of PyTorch is another


def test_features_are_those_of_the_network_whatever_comes_along(extractor, digits, monkeypatch):
    monkeypatch.setattr(inception_features, "BATCH_SIZE", 2)
    features = extract(extractor, digits[:3])
    assert features.shape == (3, 2048)
    with torch.no_grad():
        (alone,) = extractor.network(torch.from_numpy(np.stack([digits[2]] * 3)[None]))
    np.testing.assert_allclose(features[2:], alone, rtol=1e-4, atol=1e-5)
    assert (features[0] - features[2]).abs().max() > 0.1


def test_float64_is_float64_and_does_not_depend_on_the_batch_size(weights, extractor, digits, monkeypatch):
    double = load_extractor(weights, "float64")
    together = extract(double, digits[:2])
    monkeypatch.setattr(inception_features, "BATCH_SIZE", 1)
    assert torch.equal(extract(double, digits[:2]), together)
    single = extract(extractor, digits[:2])
    assert not torch.equal(single, together)
    np.testing.assert_allclose(single, together, rtol=1e-3, atol=1e-4)


def test_distances_agree_with_our_own_formulas():
    draw = np.random.default_rng(0)
    real, generated = draw.standard_normal((200, 8)), draw.standard_normal((200, 8)) * 0.8 + 0.5
    found = compute_distances(torch.from_numpy(generated), torch.from_numpy(real))
    expected = frechet_distance(Gaussian.of(real), Gaussian.of(generated))
    assert found.frechet_distance == pytest.approx(expected, rel=1e-9)
    kernels = [(a @ b.T / 8 + 1) ** 3 for a, b in ((real, real), (generated, generated), (real, generated))]
    within = sum((kernel.sum() - np.trace(kernel)) / (200 * 199) for kernel in kernels[:2])
    expected = within - 2 * kernels[2].mean()
    assert found.kernel_distance == pytest.approx(expected, abs=4 * found.kernel_distance_spread / 100**0.5)
    assert found.subset_size == 100


# Which weights it takes


class RunsCode:
    """Unpickled, it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_file_with_code_in_it_is_refused_and_not_run(tmp_path, is_zip):
    torch.save({"fc.bias": RunsCode(tmp_path / "ran")}, tmp_path / "code.pth", _use_new_zipfile_serialization=is_zip)
    with pytest.raises(UserError, match=r"code\.pth is refused: .* objects other than tensors"):
        load_extractor(tmp_path / "code.pth", "float32")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: {}, r"does not hold the weights .*Missing key.*Conv2d_1a_3x3"),
        (lambda state: state | {"extra": torch.zeros(1)}, r"does not hold the weights .*Unexpected key.*extra"),
        (
            lambda state: state | {"fc.bias": torch.zeros(1000)},
            r"does not hold the weights .*size mismatch for fc\.bias",
        ),
        (lambda state: state | {"fc.bias": torch.full((1008,), torch.nan)}, "holds NaN or infinity"),
        (lambda state: state | {"fc.bias": torch.zeros(1008).half()}, "is no state dict"),
        (lambda state: state | {"fc.bias": 1.0}, "is no state dict"),
        (lambda state: list(state.values())[:3], "is no state dict"),
    ],
    ids=["none", "one more", "another shape", "NaN", "another type", "a number", "a list"],
)
def test_other_tensors_are_refused(state, tmp_path, change, message):
    torch.save(change(state), tmp_path / "other.pth")
    with pytest.raises(UserError, match=rf"other\.pth {message}") as caught:
        load_extractor(tmp_path / "other.pth", "float32")
    assert len(str(caught.value).splitlines()) == 1


def test_what_is_no_file_of_tensors_is_one_line_and_exit_code_2(command, samples, weights, tmp_path):
    (tmp_path / "empty.pth").touch()
    (tmp_path / "text.pth").write_text("no weights")
    (tmp_path / "cut.pth").write_bytes(weights.read_bytes()[:100_000])
    for name in ("empty.pth", "text.pth", "cut.pth", "missing.pth", "."):
        code, printed = command(samples, "--inception-weights", tmp_path / name)
        assert code == 2, name
        assert str(tmp_path / name) in printed
        assert "defect" not in printed
        assert "weights_only" not in printed


def test_weights_that_overflow_are_refused(state, tmp_path, digits):
    torch.save(state | {"Mixed_7c.branch1x1.bn.weight": torch.full((320,), 3e38)}, tmp_path / "large.pth")
    with pytest.raises(UserError, match="NaN or infinity"):
        extract(load_extractor(tmp_path / "large.pth", "float32"), digits[:1])


# Its own download


@pytest.fixture
def torch_home(monkeypatch, tmp_path) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch"


def serve(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the download come from a file."""
    monkeypatch.setattr(inception_features, "URL_INCEPTION_V3", path.as_uri())


@pytest.mark.usefixtures("torch_home")
def test_without_a_network_it_asks_for_a_file(command, samples, monkeypatch):
    def fail(*_: Any, **__: Any) -> NoReturn:
        raise socket.gaierror("no network")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    code, printed = command(samples)
    assert code == 2
    assert re.search(r"cannot be downloaded .*: pass --inception-weights FILE, a copy of https://\S+\.pth$", printed)


@pytest.mark.usefixtures("pooled_pixels")
def test_a_download_is_kept_where_torch_hub_keeps_its_files(command, samples, weights, torch_home, monkeypatch):
    trust(weights, monkeypatch)
    serve(weights, monkeypatch)
    assert command(samples, "--num", 8)[0] == 0
    kept = torch_home / "hub" / "checkpoints" / weights.name
    assert kept.read_bytes() == weights.read_bytes()
    kept.write_bytes(b"damaged")
    code, printed = command(samples, "--num", 8)
    assert code == 2
    assert f"{kept} is damaged" in printed


def test_a_download_of_something_else_is_refused(command, samples, tmp_path, torch_home, monkeypatch):
    (tmp_path / "page.html").write_text("Sign in to this network")
    serve(tmp_path / "page.html", monkeypatch)
    code, printed = command(samples)
    assert code == 2
    assert "invalid hash value" in printed
    assert not list((torch_home / "hub" / "checkpoints").iterdir())


def test_the_sha256_is_that_of_the_file_torch_fidelity_names():
    assert f"-{inception_features.WEIGHTS_SHA256[:8]}.pth" in inception_features.URL_INCEPTION_V3
    assert len(inception_features.WEIGHTS_SHA256) == 64


def test_a_missing_package_is_one_line_and_exit_code_2(samples):
    code = BLOCK.format(blocked=("torch_fidelity",)) + (
        "from common.commands.dispatch import report_errors\n"
        "from comparison.commands.dispatch import run_command\n"
        "sys.exit(report_errors('compare', lambda: run_command(['inception', *sys.argv[1:]])))"
    )
    result = run_python(code, str(samples))
    assert result.returncode == 2
    assert result.stderr.strip().endswith("pip install 'dcgan-twins[inception]'")
    assert len(result.stderr.strip().splitlines()) == 1


# What it calls its numbers


@pytest.mark.usefixtures("pooled_pixels")
def test_numbers_of_unknown_weights_are_not_called_inceptions(command, digits, weights, tmp_path):
    samples = write_samples(tmp_path / "samples.npz", digits, num=10_000)
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    code, printed = command(samples, "--inception-weights", weights, "--json", tmp_path / "result.json")
    assert code == 0
    warning = f"these are not the Inception weights (SHA-256 {sha256[:12]}...): the numbers mean nothing"
    assert warning in printed
    for word in ("Inception", "FID", "KID", "Lucic", "omparable"):
        assert word not in printed.replace(warning, "")
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["features"], result["warning"]) == ("unknown weights", warning)
    assert result["weights_sha256"] == sha256
    assert result["sets"][0]["comparable_to"] is None
    assert not [key for key in (*result, *result["sets"][0]) if re.search("inception|fid|kid", key)]


@pytest.mark.usefixtures("pooled_pixels")
@pytest.mark.parametrize(
    ("num", "size", "comparable"), [(10_000, 28, True), (10_000, 32, True), (9_999, 28, False), (10_000, 20, False)]
)
def test_only_the_standard_protocol_is_comparable_to_published_values(
    command, digits, weights, tmp_path, monkeypatch, num, size, comparable
):
    trust(weights, monkeypatch)
    samples = write_samples(tmp_path / "samples.npz", digits, num=num, size=size)
    code, printed = command(samples, "--inception-weights", weights, "--json", tmp_path / "result.json")
    assert code == 0
    assert ("Comparable to Lucic et al. 2018" in printed) == comparable
    assert ("NS-GAN 6.8 ± 0.5, WGAN 6.7 ± 0.4" in printed) == comparable
    assert ("Not comparable" in printed) != comparable
    assert (f"Samples of {size} px were brought to 28 px" in printed) == (size != 28)
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["features"], result["warning"]) == ("Inception", None)
    (found,) = result["sets"]
    assert found["comparable_to"] == ("Lucic et al. 2018" if comparable else None)
    assert f"{found['inception_fid']:.2f}" in printed
    assert f"{found['inception_kid']:.5f}" in printed


# Which samples it takes


@pytest.mark.usefixtures("pooled_pixels")
def test_a_folder_stands_for_its_samples_and_a_comparison_for_both(command, digits, weights, tmp_path):
    for framework, shift in (("torch", 0), ("jax", 100)):
        write_samples(tmp_path / "run" / framework / "samples.npz", digits[shift:], num=1_000)
    values = {}
    for name in ("run", "run/torch", "run/jax"):
        path = tmp_path / "result.json"
        assert command(tmp_path / name, "--inception-weights", weights, "--num", 64, "--json", path)[0] == 0
        sets = json.loads(path.read_text())["sets"]
        values[name] = {found["path"]: found["unknown_weights_fd"] for found in sets}
        assert {(found["num_generated"], found["num_real"]) for found in sets} == {(64, 64)}
    assert values["run"] == values["run/torch"] | values["run/jax"]
    assert len(set(values["run"].values())) == 2


def test_a_wrong_path_or_number_is_one_line_and_exit_code_2(command, samples, tmp_path):
    (tmp_path / "run").mkdir()
    for arguments, message in [
        ((tmp_path / "run",), "holds no samples.npz"),
        ((tmp_path / "none.npz",), "there is no file"),
        ((samples, "--num", 3), "--num is 3: choose 4 to 1,000"),
        ((samples, "--num", 1_001), "--num is 1001: choose 4 to 1,000"),
        ((samples, "--precision", "float16"), "float16"),
        ((samples, "--json", tmp_path / "no folder" / "result.json"), "--json"),
    ]:
        code, printed = command(*arguments)
        assert (code, message in printed) == (2, True), printed


def test_nothing_stubbed_real_digits_are_nearer_than_noise(command, digits, weights, tmp_path):
    draw = np.random.default_rng(0)
    write_samples(tmp_path / "run" / "torch" / "samples.npz", digits, num=1_000)
    write_samples(tmp_path / "run" / "jax" / "samples.npz", draw.integers(0, 256, digits.shape, np.uint8), num=1_000)
    arguments = ("--inception-weights", weights, "--num", 4, "--json", tmp_path / "result.json")
    assert command(tmp_path / "run", *arguments)[0] == 0
    real, noise = json.loads((tmp_path / "result.json").read_text())["sets"]
    assert 0 < real["unknown_weights_fd"] < noise["unknown_weights_fd"] / 2
    assert real["unknown_weights_mmd2"] < noise["unknown_weights_mmd2"] / 2
