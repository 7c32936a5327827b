"""`compare.py inception`: which weights and samples it takes, what it sees of them, and what it calls comparable."""

import hashlib
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch_fidelity.defaults import DEFAULTS
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

from common.commands.dispatch import report_errors
from common.data.datasets import fit_images, load_dataset
from common.evaluation.frechet import Gaussian, frechet_distance
from common.evaluation.samples import some_of
from comparison.commands import inception
from comparison.commands.dispatch import PROGRAM, run_command
from tests.test_boundaries import BLOCK, run_python

Command = Callable[..., tuple[int, str]]
NETWORK = "inception-v3-compat"


class PooledPixels(FeatureExtractorBase):
    """49 features that take no time, in place of the network's 2,048; it counts the images that it sees."""

    num_seen = 0

    def __init__(self, name: str, features_list: list[str], **_: Any) -> None:
        super().__init__(name, features_list)
        PooledPixels.num_seen = 0

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        return ("2048",)

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        return "2048"

    def forward(self, input: torch.Tensor) -> tuple[torch.Tensor]:
        assert input.shape[1:] == (3, 28, 28)
        assert torch.equal(input, input[:, :1].expand(-1, 3, -1, -1))
        PooledPixels.num_seen += len(input)
        return (functional.avg_pool2d(input[:, 0].double() / 255, 4).flatten(1),)


@pytest.fixture
def weights(tmp_path, monkeypatch) -> Path:
    """A file that passes for Inception's, and a network that does not read it."""
    (path := tmp_path / "weights.pth").write_bytes(b"weights")
    monkeypatch.setattr(inception, "WEIGHTS_SHA256", hashlib.sha256(b"weights").hexdigest())
    monkeypatch.setitem(FEATURE_EXTRACTORS_REGISTRY, NETWORK, PooledPixels)
    monkeypatch.setitem(DEFAULTS, "kid_subsets", 3)
    return path


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


def write_samples(path: Path, digits: np.ndarray, *, num: int, size: int = 28) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, images=fit_images(np.resize(digits, (num, 28, 28)), size))
    return path


@pytest.mark.parametrize(
    ("num", "size", "comparable"), [(10_000, 28, True), (10_000, 32, True), (9_999, 28, False), (10_000, 20, False)]
)
def test_only_the_standard_protocol_is_comparable_to_published_values(
    command, digits, weights, tmp_path, num, size, comparable
):
    samples = write_samples(tmp_path / "samples.npz", digits, num=num, size=size)
    code, printed = command(samples, "--inception-weights", weights, "--json", tmp_path / "result.json")
    assert code == 0
    assert ("Comparable to Lucic et al. 2018 (MNIST" in printed) == comparable
    assert ("Not comparable" in printed) != comparable
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["weights_sha256"] == hashlib.sha256(b"weights").hexdigest()
    (found,) = result["sets"]
    assert found["comparable_to"] == ("Lucic et al. 2018" if comparable else None)
    assert (found["num_generated"], found["num_real"], found["image_size"]) == (num, num, size)
    assert f"FID {found['inception_fid']:.2f}, KID {found['inception_kid']:.5f}" in printed


def test_a_folder_stands_for_its_samples_and_a_comparison_for_both_with_one_look_at_the_real_digits(
    command, digits, weights, tmp_path
):
    sets = {}
    for framework, shift in (("torch", 0), ("jax", 100)):
        write_samples(tmp_path / "run" / framework / "samples.npz", digits[shift:], num=1_000)
    for name in ("run", "run/torch", "run/jax"):
        path = tmp_path / "result.json"
        assert command(tmp_path / name, "--inception-weights", weights, "--num", 64, "--json", path)[0] == 0
        sets[name] = json.loads(path.read_text())["sets"]
        assert PooledPixels.num_seen == (64 if name == "run" else 128)  # of the last set; run's real digits were kept
    assert sets["run"] == sets["run/torch"] + sets["run/jax"]
    assert sets["run"][0]["inception_fid"] != sets["run"][1]["inception_fid"]


def test_the_distance_is_that_of_our_own_formula(command, digits, weights, samples, tmp_path):
    assert command(samples, "--inception-weights", weights, "--json", tmp_path / "result.json")[0] == 0
    (found,) = json.loads((tmp_path / "result.json").read_text())["sets"]
    both = (some_of(load_dataset("mnist").test_images, 1_000), np.resize(digits, (1_000, 28, 28)))
    pooled = [images.reshape(-1, 7, 4, 7, 4).mean(axis=(2, 4)).reshape(-1, 49) / 255 for images in both]
    assert found["inception_fid"] == pytest.approx(frechet_distance(*map(Gaussian.of, pooled)), rel=1e-6)


class RunsCode:
    """Unpickled, it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.path,)


def test_any_other_file_of_weights_is_refused_and_not_unpickled(command, samples, tmp_path):
    (tmp_path / "code.pth").write_bytes(pickle.dumps(RunsCode(tmp_path / "ran")))
    code, printed = command(samples, "--inception-weights", tmp_path / "code.pth")
    assert code == 2
    assert printed.endswith(f"code.pth is another file than {URL_INCEPTION_V3} (by its SHA-256)")
    assert not (tmp_path / "ran").exists()


def test_the_sha256_is_that_of_the_file_torch_fidelity_names():
    assert f"-{inception.WEIGHTS_SHA256[:8]}.pth" in URL_INCEPTION_V3
    assert len(inception.WEIGHTS_SHA256) == 64


def test_what_cannot_be_scored_is_one_line_and_exit_code_2(command, samples, weights, tmp_path):
    (tmp_path / "run").mkdir()
    for arguments, message in [
        ((samples,), f"no weights: pass --inception-weights FILE, your copy of {URL_INCEPTION_V3}"),
        ((samples, "--inception-weights", tmp_path / "none.pth"), "none.pth cannot be read (No such file"),
        ((samples, "--inception-weights", tmp_path), "cannot be read (Is a directory)"),
        ((tmp_path / "run",), "holds no samples.npz"),
        ((tmp_path / "none.npz",), "there is no file"),
        ((samples, "--num", 3), "--num is 3: choose 4 to 1,000"),
        ((samples, "--num", 1_001), "--num is 1001: choose 4 to 1,000"),
        ((samples, "--json", tmp_path / "no folder" / "result.json"), "--json"),
    ]:
        code, printed = command(*arguments)
        assert (code, message in printed) == (2, True), printed
        assert "defect" not in printed


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


class RandomInception(FeatureExtractorInceptionV3):
    """The network with weights of its own, which no file has to hold."""

    def load_state_dict(self, *_: Any, **__: Any) -> Any:
        torch.manual_seed(0)
        for parameter in self.parameters():
            if parameter.ndim == 4:
                torch.nn.init.kaiming_normal_(parameter)  # so that digits still differ after 20 layers


@pytest.mark.slow
def test_through_the_whole_network_real_digits_are_nearer_than_noise(command, digits, weights, tmp_path, monkeypatch):
    torch.save({}, weights)
    monkeypatch.setattr(inception, "WEIGHTS_SHA256", hashlib.sha256(weights.read_bytes()).hexdigest())
    monkeypatch.setitem(FEATURE_EXTRACTORS_REGISTRY, NETWORK, RandomInception)
    noise = np.random.default_rng(0).integers(0, 256, digits.shape, np.uint8)
    for framework, images in (("torch", digits), ("jax", noise)):
        write_samples(tmp_path / "run" / framework / "samples.npz", images, num=1_000)
    arguments = ("--inception-weights", weights, "--num", 4, "--json", tmp_path / "result.json")
    assert command(tmp_path / "run", *arguments)[0] == 0
    real, noise = json.loads((tmp_path / "result.json").read_text())["sets"]
    assert 0 < real["inception_fid"] < noise["inception_fid"] / 2
