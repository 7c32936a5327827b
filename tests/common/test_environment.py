"""What a record says of packages and variables depends on what decides numbers, not on who installed or cached it."""

from typing import Any

import pytest

from common.records import environment

FILES = ["torch/__init__.py,sha256=aa,10", "torch/lib/libtorch.so,sha256=bb,99"]
PIP = [*FILES, "torch-2.14.1.dist-info/INSTALLER,sha256=cc,4", "torch/__pycache__/x.cpython-311.pyc,,"]
UV = [*reversed(FILES), "torch-2.14.1.dist-info/INSTALLER,sha256=dd,2", "../../../bin/torchrun,sha256=ee,200"]


class Installed:
    """A distribution whose RECORD is given."""

    def __init__(self, name: str, record: list[str] | None) -> None:
        self.name, self.record = name, record

    def read_text(self, _: str) -> str | None:
        return None if self.record is None else "\n".join(self.record)


def hashes(monkeypatch: pytest.MonkeyPatch, *installed: Any) -> dict[str, str]:
    monkeypatch.setattr(environment, "distributions", lambda: installed)
    return environment.package_hashes.__wrapped__()


def test_the_hash_of_a_package_is_of_its_files_whoever_installed_it(monkeypatch):
    by_pip, by_uv = (hashes(monkeypatch, Installed("torch", record)) for record in (PIP, UV))
    assert by_pip == by_uv
    edited = [line.replace("=bb", "=bc") for line in PIP]
    assert hashes(monkeypatch, Installed("torch", edited)) != by_pip


def test_packages_that_compute_nothing_and_those_without_hashes_are_left_out(monkeypatch):
    found = hashes(monkeypatch, Installed("rich", PIP), Installed("jaxlib", None), Installed("nvidia_cudnn_cu13", PIP))
    assert found.keys() == {"nvidia-cudnn-cu13"}


def test_a_framework_is_told_by_the_variables_that_can_change_its_numbers():
    variables = {
        "XLA_FLAGS": "a",
        "TORCH_X": "b",
        "MKL_CBWR": "c",
        "OMP_NUM_THREADS": "2",
        "JAX_COMPILATION_CACHE_DIR": "d",
        "GLIBC_TUNABLES": "e",
    }
    assert environment.numeric_variables(variables, "jax").keys() == {"XLA_FLAGS", "MKL_CBWR"}
    assert environment.numeric_variables(variables, "torch").keys() == {"TORCH_X", "MKL_CBWR"}
    assert environment.shared_variables(variables).keys() == {"MKL_CBWR", "GLIBC_TUNABLES"}
    assert all(name.startswith(environment.ENVIRONMENT_PREFIXES) for name in variables)


def test_where_a_cache_lies_is_not_recorded(monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "/home/somebody/cache")
    monkeypatch.setenv("XLA_FLAGS", "--a")
    found = environment.describe_environment()["environment_variables"]
    assert "XLA_FLAGS" in found
    assert "JAX_COMPILATION_CACHE_DIR" not in found
