"""What a run stood on: versions, device, threads, flags, as environment.json records them."""

import contextlib
import functools
import hashlib
import json
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, distributions, requires, version
from pathlib import Path
from typing import Any

from common.console import shell_word

ROOT = Path(__file__).parents[2]
# What decides the numbers of a training, beside the twin that trains.
TRAINING_SOURCES = ("common/config.py", "common/contract.py", "common/networks", "common/data", "common/training")
DISTRIBUTION = "dcgan-twins"
# What of the environment only one framework reads, and what decides a speed but no number; every other is the user's
# own business.
OWN_VARIABLES = {"torch": ("TORCH", "PYTORCH_", "ATEN_"), "jax": ("JAX_", "FLAX_", "XLA_", "PJRT_")}
SHARED_VARIABLES = ("OMP_", "KMP_", "MKL_", "DNNL_", "ONEDNN_", "OPENBLAS_")
SHARED_VARIABLES += ("CUDA_", "CUBLAS_", "CUDNN_", "NCCL_", "NVIDIA_")
SPEED_VARIABLES = ("GLIBC_TUNABLES", "MALLOC_")
ENVIRONMENT_PREFIXES = (*OWN_VARIABLES["torch"], *OWN_VARIABLES["jax"], *SHARED_VARIABLES, *SPEED_VARIABLES)
# Caches, what PyTorch (when a kernel is loaded) and scikit-learn (KMP_) set themselves at their import, how a thread
# waits, how much of a GPU JAX takes at once, and the number of threads, which a record has by its own name, decide no
# number.
NEUTRAL_VARIABLE = re.compile(
    r"CACHE|_NUM_THREADS$|_WAIT_POLICY$|^CUDA_MODULE_LOADING$|^KMP_(DUPLICATE_LIB_OK|INIT_AT_FORK)$"
    r"|^XLA_PYTHON_CLIENT_"
)
# Distributions whose files compute: another build of one may round otherwise under the same version.
COMPUTING_PACKAGES = re.compile(r"flax|jax.*|ml-dtypes|mkl|intel-openmp|numpy|nvidia-.+|optax|torch|triton.*")
CPU_FLAG_PREFIXES = ("avx", "amx", "fma", "sse4", "asimd", "sve", "bf16", "f16c")


def source_hash(framework: str) -> str:
    """SHA-256 over the source files that decide what a framework trains: another hash may mean another result."""
    return hash_of_sources(*TRAINING_SOURCES, f"{framework}_impl")


def hash_of_sources(*places: str) -> str:
    """SHA-256 over the names and bytes of Python files; a place is a file or a folder, seen from the project's root."""
    digest = hashlib.sha256()
    for place in places:
        for path in sorted((ROOT / place).rglob("*.py")) or [ROOT / place]:
            digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def own_command(module: str, *words: object) -> str:
    """One of our commands as it can be typed in any folder: `python -m compare report /where/it/is`.

    The Python is named by its path where `python` is another one, and our sources where they are not installed.
    """
    found = shutil.which("python")
    python = "python" if found and os.path.abspath(found) == sys.executable else sys.executable
    sources = "" if _is_installed() else f"PYTHONPATH={shell_word(ROOT)} "
    return sources + " ".join(map(shell_word, [python, "-m", module, *words]))


def _is_installed() -> bool:
    """Whether Python finds these very sources from any folder; another checkout may be installed instead."""
    if "site-packages" in ROOT.parts:
        return True
    urls = (found.read_text("direct_url.json") for found in distributions(name=DISTRIBUTION))
    return any(json.loads(url).get("url") == ROOT.as_uri() for url in urls if url)


def default_num_threads() -> int:
    """Cores this process may use, which a container or `taskset` can make fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def process_peak_memory_bytes() -> int:
    """Most memory this process has held at once.

    Linux's `ru_maxrss` starts at what the parent held when it started this process, so `VmHWM` is read instead.
    """
    status = Path("/proc/self/status")
    if status.exists() and (found := re.search(r"^VmHWM:\s+(\d+) kB$", status.read_text(), re.MULTILINE)):
        return int(found[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB


def involuntary_switches() -> int:
    """How often a thread of this process was made to wait for another thread, or another program."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def describe_environment() -> dict[str, Any]:
    """The machine, versions and command of this process; the run adds the framework's device, flags and source hash."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": package_versions(),
        "package_hashes": package_hashes(),
        "num_cpus": default_num_threads(),
        "cpu_model": cpu_model(),
        "cpu_flags": cpu_flags(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "environment_variables": {
            name: value
            for name, value in sorted(os.environ.items())
            if name.startswith(ENVIRONMENT_PREFIXES) and not name.endswith("_CACHE_DIR")  # a path of somebody's machine
        },
        "commit": commit(),
        "command": ["python", *_module_arguments()],
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


@functools.cache
def commit() -> str | None:
    """The commit of the sources, with `-dirty` if a file was changed since; None where they are no checkout."""
    if not (ROOT / ".git").exists():
        return None
    words = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40", "--match="]
    with contextlib.suppress(OSError):
        return subprocess.run(words, capture_output=True, text=True).stdout.strip() or None
    return None


@functools.cache
def package_versions() -> dict[str, str]:
    """Installed versions of the packages this project requires, and of jaxlib, which does JAX's work."""
    required = (re.split(r"[^A-Za-z0-9_-]", name)[0] for name in _requirements() if "extra ==" not in name)
    found = {}
    for name in (*required, "jaxlib"):
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _requirements() -> list[str]:
    """As installed; of a checkout that only stands on the path, as a cluster's image has it, by its pyproject.toml."""
    try:
        return requires(DISTRIBUTION) or []
    except PackageNotFoundError:
        return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]


@functools.cache
def package_hashes() -> dict[str, str]:
    """SHA-256 over what the RECORD of each computing package lists; of one that came without hashes there is none.

    A RECORD is written at the installation and knows every file's hash: the files themselves are not read.
    """
    found = {}
    for distribution in distributions():
        name = re.sub(r"[-_.]+", "-", distribution.name or "").lower()
        if COMPUTING_PACKAGES.fullmatch(name):
            # What an installer adds (its own name, scripts, compiled bytecode) is in .dist-info, outside, or unhashed.
            lines = (distribution.read_text("RECORD") or "").splitlines()
            files = sorted(line for line in lines if ",sha256=" in line and not re.match(r"\.\./|.*\.dist-info/", line))
            if files:
                found[name] = hashlib.sha256("\n".join(files).encode()).hexdigest()
    return dict(sorted(found.items()))


def numeric_variables(variables: Mapping[str, str], framework: str) -> dict[str, str]:
    """Those of the recorded environment variables that can change a number of this framework."""
    others = tuple(prefix for name, own in OWN_VARIABLES.items() if name != framework for prefix in own)
    return {
        name: value
        for name, value in variables.items()
        if not name.startswith((*others, *SPEED_VARIABLES)) and not NEUTRAL_VARIABLE.search(name)
    }


def shared_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Those of the recorded environment variables that two fair runs have in common: neither framework's own."""
    own = tuple(prefix for prefixes in OWN_VARIABLES.values() for prefix in prefixes)
    return {n: value for n, value in variables.items() if not n.startswith(own) and not NEUTRAL_VARIABLE.search(n)}


def cpu_model() -> str | None:
    """The CPU by the name it gives itself, which under a hypervisor may be no more than its maker's."""
    info = Path("/proc/cpuinfo")
    if info.exists() and (found := re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE)):
        return found[1]
    if sys.platform == "darwin":
        asked = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True)
        return asked.stdout.strip() or None
    return platform.processor() or None


def cpu_flags() -> list[str]:
    """The vector instructions the CPU names."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    flags = next((line.split(":")[1].split() for line in lines if line.lower().startswith(("flags", "features"))), [])
    return sorted(flag for flag in flags if flag.startswith(CPU_FLAG_PREFIXES))


def _module_arguments() -> list[str]:
    package = getattr(sys.modules["__main__"], "__package__", None)
    return ["-m", package, *sys.argv[1:]] if package else [Path(sys.argv[0]).name, *sys.argv[1:]]
