"""Which device a person gets, whatever the machine has, and what holds on it, by lists of devices not there."""

import os
from types import SimpleNamespace

import jax
import pytest
import torch

import jax_impl.device
import torch_impl.device
from common.errors import UserError
from common.records import accelerator
from common.records.accelerator import FACTS, describe_accelerator, flags_on
from jax_impl.trainer import DCGANTrainer as JaxTrainer
from tests.trainers import small_architecture, small_config
from torch_impl.trainer import DCGANTrainer as TorchTrainer


@pytest.fixture
def jax_devices(monkeypatch):
    """Makes JAX find devices of these platforms; the CPU is always there."""

    def use(*platforms: str) -> list[SimpleNamespace]:
        found = [SimpleNamespace(platform=platform, id=index) for index, platform in enumerate(platforms)]
        cpu = SimpleNamespace(platform="cpu")
        monkeypatch.setattr(jax, "devices", lambda backend=None: [cpu] if backend == "cpu" else found or [cpu])
        return found

    return use


@pytest.fixture
def torch_accelerator(monkeypatch):
    """Makes PyTorch find this accelerator."""

    def use(kind: str | None) -> None:
        monkeypatch.setattr(torch.accelerator, "is_available", lambda: kind is not None)
        monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: kind and torch.device(kind))

    return use


@pytest.mark.parametrize("kind", ["cuda", "mps", "xpu"])
@pytest.mark.parametrize("asked", ["auto", "gpu"])
def test_torch_takes_the_accelerator_that_is_there(kind, asked, torch_accelerator):
    torch_accelerator(kind)
    assert torch_impl.device.select_device(asked).type == kind
    assert torch_impl.device.select_device("cpu").type == "cpu"


@pytest.mark.parametrize("platforms", [("gpu",), ("gpu", "gpu", "gpu"), ("tpu", "tpu")])
@pytest.mark.parametrize("asked", ["auto", "gpu"])
def test_jax_takes_the_first_of_several(platforms, asked, jax_devices):
    first = jax_devices(*platforms)[0]
    assert jax_impl.device.select_device(asked) is first


def test_without_one_auto_is_the_cpu_and_gpu_is_refused_in_one_line(torch_accelerator, jax_devices):
    torch_accelerator(None)
    jax_devices()
    assert torch_impl.device.select_device("auto").type == jax_impl.device.select_device("auto").platform == "cpu"
    for select in (torch_impl.device.select_device, jax_impl.device.select_device):
        with pytest.raises(UserError, match=r"--device gpu: .* finds no accelerator here") as refused:
            select("gpu")
        assert len(str(refused.value).splitlines()) == 1


def test_float64_is_refused_where_the_gpu_has_none():
    config = small_config(precision="float64")
    architecture = small_architecture(config)
    with pytest.raises(UserError, match="--precision float64: this GPU has none: pass --device cpu"):
        TorchTrainer(config, architecture, torch.device("mps"))
    with pytest.raises(UserError, match="--precision float64: this GPU has none: pass --device cpu"):
        JaxTrainer(config, architecture, SimpleNamespace(platform="METAL"))
    assert torch_impl.device.has_float64(torch.device("cuda"))
    assert jax_impl.device.has_float64(SimpleNamespace(platform="tpu"))


def test_peak_memory_says_whose_it_is(monkeypatch):
    on_cpu = [torch_impl.device.peak_memory(torch.device("cpu")), jax_impl.device.peak_memory(jax.devices("cpu")[0])]
    assert [found["peak_memory_kind"] for found in on_cpu] == ["process", "process"]
    stats = {"peak_bytes_in_use": 7, "peak_pool_bytes": 9}
    gpu = SimpleNamespace(platform="gpu", memory_stats=lambda: stats)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 7)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 9)
    for found in (jax_impl.device.peak_memory(gpu), torch_impl.device.peak_memory(torch.device("cuda"))):
        assert found.pop("peak_memory_process_bytes") > 0
        assert found == {"peak_memory_bytes": 7, "peak_memory_kind": "allocator", "peak_memory_reserved_bytes": 9}


def test_a_gpu_s_record_has_no_flags_that_a_cpu_alone_knows():
    flags = {"cpu_flush_denormal": True, "float32_matmul": "ieee"}
    assert flags_on("cpu", flags) == flags
    assert flags_on("NVIDIA H100", flags) == {"float32_matmul": "ieee"}


@pytest.fixture
def driver(monkeypatch):
    """Makes a driver answer that knows these names alone; gives back the GPUs that it was asked for."""

    def use(*known: str) -> list[str]:
        asked_for = []

        def run(command: list[str], **_: object) -> SimpleNamespace:
            names = command[1].removeprefix("--query-gpu=").split(",")
            asked_for.append(command[-1])
            if not {*names} <= {*known}:
                return SimpleNamespace(returncode=2, stdout=f'Field "{names[0]}" is not a valid field to query.')
            return SimpleNamespace(returncode=0, stdout=", ".join(f"value of {name}" for name in names) + "\n")

        monkeypatch.setattr(accelerator.shutil, "which", lambda _: "/usr/bin/nvidia-smi")
        monkeypatch.setattr(accelerator.subprocess, "run", run)
        return asked_for

    return use


def test_the_driver_s_facts_are_by_name_and_none_of_a_cpu_or_where_it_does_not_answer(driver, monkeypatch):
    driver(*FACTS)
    assert describe_accelerator("NVIDIA H100") == {name: f"value of {name}" for name in FACTS}
    assert describe_accelerator("cpu") == {}
    driver()
    assert describe_accelerator("NVIDIA H100") == {}
    monkeypatch.setattr(accelerator.shutil, "which", lambda _: None)
    assert describe_accelerator("NVIDIA H100") == {}


def test_a_driver_that_does_not_know_a_name_tells_the_others(driver):
    driver(*FACTS[:-1])
    assert describe_accelerator("NVIDIA H100") == {name: f"value of {name}" for name in FACTS[:-1]} | {
        FACTS[-1]: "[N/A]"
    }


@pytest.mark.parametrize(
    ("visible", "asked"),
    [(None, "0"), ("", "0"), ("2", "2"), ("3,1", "3"), ("GPU-5d2f, 1", "GPU-5d2f"), ("MIG-5d2f", "0")],
)
def test_of_several_gpus_the_driver_is_asked_of_the_first_that_is_visible(visible, asked, driver, monkeypatch):
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    asked_for = driver(*FACTS)
    describe_accelerator("NVIDIA H100")
    assert asked_for == [f"--id={asked}"]


def test_deterministic_switches_off_what_differs_between_processes(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=false")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    num_threads, default = torch.get_num_threads(), torch.backends.cudnn.benchmark
    try:
        for deterministic in (True, False):
            for module in (torch_impl.device, jax_impl.device):
                flags = module.configure(num_threads=num_threads, deterministic=deterministic)
                assert flags["deterministic"] is deterministic
            assert torch.are_deterministic_algorithms_enabled() is deterministic
            assert torch.backends.cudnn.benchmark is not deterministic

        assert "--xla_gpu_deterministic_ops=true" in os.environ["XLA_FLAGS"]
        assert os.environ["XLA_FLAGS"].startswith("--xla_cpu_enable_fast_math=false ")
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    finally:
        torch.backends.cudnn.benchmark = default
        monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
