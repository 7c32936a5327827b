"""What is measured on a GPU, in the order of its worth: whatever is cut off, what came before answers more.

A rehearsal measures the same parts on a CPU, at sizes that show that they work and nothing else.
Long, since each part measures something else.
"""

import csv
import json
import re
import tempfile
from collections.abc import Iterator
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from common.data.datasets import load_dataset
from common.errors import RunFailedError
from common.networks.build import build_architecture
from common.networks.presets import PRESETS
from common.records.folder import FRAMEWORK_NAMES, LOSSES_FILE, TIMING_FILE
from common.records.schema import check
from comparison.bench.flops import flops_per_step
from comparison.bench.gpu.session import Part, Session

LOOP_COMMAND_BUFFER = {"XLA_FLAGS": "--xla_gpu_enable_command_buffer=+WHILE"}
CHUNK_STEPS = 128
NUM_TRAJECTORY_STEPS, NUM_REHEARSED_STEPS = 50, 2
REHEARSED_SECONDS = 300  # of each part, for a CPU may be busy


class Arm(NamedTuple):
    """A form of a step."""

    framework: str
    flags: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()


ARMS = {
    "torch-step": Arm("torch", ("--execution=step",)),
    "torch-chunk": Arm("torch", ("--execution=chunk",)),
    "jax-step": Arm("jax", ("--execution=step",)),
    "jax-chunk": Arm("jax", ("--execution=chunk",)),
    "torch-compile": Arm("torch", ("--execution=step", "--compile")),
    "torch-compile-reduce-overhead": Arm("torch", ("--execution=step", "--compile", "--compile-mode=reduce-overhead")),
    "torch-compile-max-autotune": Arm("torch", ("--execution=step", "--compile", "--compile-mode=max-autotune")),
    "jax-chunk-loop-buffer": Arm("jax", ("--execution=chunk",), tuple(LOOP_COMMAND_BUFFER.items())),
    "torch-idiomatic": Arm("torch", ("--variant=idiomatic",)),
    "jax-idiomatic": Arm("jax", ("--variant=idiomatic",)),
}
# Preset, batch size and precision. Forms of all are measured of each, the others of the first.
CASES = (
    ("dcgan32", 64, "float32"),
    ("dcgan32-wide", 128, "float32"),
    ("dcgan32-wide", 128, "bfloat16"),
    ("dcgan32-wide", 128, "tf32"),
    ("dcgan32", 64, "tf32"),
    ("dcgan32", 64, "bfloat16"),
    ("dcgan32", 128, "float32"),
    ("dcgan32", 256, "float32"),
    ("dcgan32", 512, "float32"),
    ("dcgan32", 1024, "float32"),
)
FORMS_OF_ALL = ("torch-chunk", "jax-chunk", "torch-step", "jax-step")


def parts(*, is_rehearsal: bool) -> list[Part]:
    """All of them."""
    if is_rehearsal:
        return list(_rehearsed())
    first, *others = CASES
    return [
        Part("facts", 60, facts),
        *_arms(first, FORMS_OF_ALL),
        Part("certificate/dcgan32", 150, partial(certificate, preset="dcgan32")),
        *(Part(f"roof/{framework}", 60, partial(roof, framework=framework)) for framework in FRAMEWORK_NAMES),
        *(part for case in others[:3] for part in _arms(case, FORMS_OF_ALL[:2])),
        *(Part(f"epochs/{framework}", 60, partial(epochs, framework=framework)) for framework in FRAMEWORK_NAMES),
        Part("trajectories", 60, partial(trajectories, num_steps=NUM_TRAJECTORY_STEPS)),
        *(Part(f"same-bits/{framework}", 90, partial(same_bits, framework=framework)) for framework in FRAMEWORK_NAMES),
        Part("certificate/dcgan32-wide", 150, partial(certificate, preset="dcgan32-wide")),
        *_arms(first, [name for name in ARMS if name not in FORMS_OF_ALL]),
        *(part for case in others[3:] for part in _arms(case, FORMS_OF_ALL[:2])),
        *(part for case in others for part in _arms(case, FORMS_OF_ALL[2:])),
    ]


def _rehearsed() -> Iterator[Part]:
    chosen = [
        Part("facts", 0, facts),
        *_arms(("smoke", 8, "float32"), ("torch-step", "jax-chunk", "torch-chunk")),
        Part("trajectories", 0, partial(trajectories, num_steps=NUM_REHEARSED_STEPS)),
        Part("same-bits/torch", 0, partial(same_bits, framework="torch")),
        Part("epochs/torch", 0, partial(epochs, framework="torch")),
    ]
    yield from (part._replace(seconds=REHEARSED_SECONDS) for part in chosen)


def _arms(case: tuple[str, int, str], names: Any) -> list[Part]:
    preset, batch_size, precision = case
    title = f"{preset}/{batch_size}/{precision}"
    return [Part(f"arm/{title}/{name}", 60, partial(arm, case=case, name=name)) for name in names]


def facts(session: Session) -> dict[str, Any]:
    """Which device each framework finds, and what pip says of the packages."""
    found = {}
    for framework in FRAMEWORK_NAMES:
        printed = session.python(f"{framework}_impl", "device", *session.flags)
        found[framework] = printed.strip().splitlines()[-1]
    try:
        conflicts = session.python("pip", "check").strip()
    except RunFailedError as error:
        conflicts = str(error)
    return {"devices": found, "pip_check": conflicts}


def arm(session: Session, *, case: tuple[str, int, str], name: str) -> dict[str, Any]:
    """A form's steps, and its launches; of a form that this device cannot have, why."""
    preset, batch_size, precision = case
    of_arm = ARMS[name]
    number = ["--precision=float32", "--tf32"] if precision == "tf32" else [f"--precision={precision}"]
    # As long as a chunk of training is there, or an epoch if that is shorter.
    steps = min(CHUNK_STEPS, len(load_dataset().train_images) // batch_size)
    length = [f"--steps-per-block={steps}"]
    if session.is_rehearsal:
        length = ["--steps-per-block=2", "--num-warm-up-blocks=0", "--num-blocks=1"]
    found = session.measured(
        of_arm.framework,
        f"--preset={preset}",
        f"--batch-size={batch_size}",
        *number,
        *of_arm.flags,
        *length,
        "--profile",
        environment=dict(of_arm.environment),
    )
    config = PRESETS[preset].recipe
    flops = flops_per_step(build_architecture(config), config) / config.batch_size * batch_size
    seconds = float(np.median(found["block_seconds_per_step"]))
    kept = ("block_seconds_per_step", "compile_seconds", "recompile_seconds", "first_steps", "profile", "execution")
    kept += ("peak_memory_bytes", "peak_memory_kind", "device", "device_flags", "steps_per_block")
    return {
        **{key: found[key] for key in kept},
        "framework": of_arm.framework,
        "milliseconds_per_step": 1e3 * seconds,
        "images_per_second": batch_size / seconds,
        "gflops_per_second": flops / seconds / 1e9,
    }


def certificate(session: Session, *, preset: str) -> dict[str, Any]:
    """Whether the quick ladder holds here, in the form that is timed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "parity.json"
        try:
            session.python("compare", "parity", "--quick", f"--preset={preset}", f"--json={path}", *session.flags)
        except RunFailedError:
            if not path.exists():  # it was not climbed to the end
                raise
        found = json.loads(path.read_text())
    failing = [rung for rung in found["rungs"] if not rung["holds"]]
    return {"holds": found["holds"], "num_measurements": len(found["rungs"]), "failing": failing} | {
        name: found[name] for name in ("identity_hash", "devices", "execution")
    }


def roof(session: Session, *, framework: str) -> dict[str, Any]:
    """GFLOP/s of the best matrix multiplication, by precision and size."""
    return {"roof": session.measured(framework, "--roof")["roof"]}


def epochs(session: Session, *, framework: str) -> dict[str, Any]:
    """Whole epochs as a user has them: images a second inside `train_chunk`, and of wall time."""
    small = ["--preset=smoke", "--epochs=1", "--train-size=640"] if session.is_rehearsal else ["--epochs=3"]
    with tempfile.TemporaryDirectory() as folder:
        words = [*small, "--skip-epoch-quality", "--quick-scoring", f"--output={folder}/run"]
        session.python(f"{framework}_impl", *words, *session.flags)
        timing = json.loads((Path(folder) / "run" / framework / TIMING_FILE).read_text())
    check(TIMING_FILE, timing)
    num_images = sum(epoch["images_per_second"] * epoch["training_seconds"] for epoch in timing["epochs"])
    parts_of_loop = ("training_seconds", "data_seconds", "evaluation_seconds")
    later = timing["epochs"][1:] or timing["epochs"]  # the first compiles
    wall = sum(epoch[part] for epoch in later for part in parts_of_loop)
    return {
        "num_images": num_images,
        "images_per_second_of_chunks": timing["steady_images_per_second"],
        "images_per_second_of_epochs": num_images / len(timing["epochs"]) * len(later) / wall,
        **{name: timing[name] for name in ("loop_overhead_fraction", "chunk_size", "first_chunk_seconds", "epochs")},
    }


def trajectories(session: Session, *, num_steps: int) -> dict[str, Any]:
    """How far two states of the same float64 training are apart, of both frameworks on the CPU and here."""
    states, devices = {}, dict.fromkeys(("cpu", session.device))
    with tempfile.TemporaryDirectory() as folder:
        for framework in FRAMEWORK_NAMES:
            for device in devices:
                path = Path(folder) / f"{framework}-{device}.npz"
                session.python("comparison.bench.gpu.trajectory", framework, device, num_steps, path)
                with np.load(path) as found:
                    states[path.stem] = {name: found[name] for name in found.files}
    apart = {
        f"{first} and {second}": _apart(states[first], states[second]) for first, second in combinations(states, 2)
    }
    return {"num_steps": num_steps, "apart": apart}


def _apart(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> float:
    """Relative L2 distance of all parameters as one vector."""
    names = [name for name in first if ".adam." not in name and ".running_" not in name and name != "losses"]
    left, right = (np.concatenate([state[name].ravel() for name in names]) for state in (first, second))
    return float(np.linalg.norm(left - right) / np.linalg.norm(left))


def same_bits(session: Session, *, framework: str) -> dict[str, Any]:
    """With --deterministic: whether two runs, and one that was killed and resumed, leave the same losses."""
    size = 640 if session.is_rehearsal else 6_400
    preset = ["--preset=smoke"] if session.is_rehearsal else []
    words = [
        *preset,
        f"--epochs={3 if session.is_rehearsal else 10}",
        f"--train-size={size}",
        "--deterministic",
        "--skip-epoch-quality",
        "--quick-scoring",
    ]
    losses, killed_at = {}, 0
    with tempfile.TemporaryDirectory() as folder:
        for name in ("first", "second", "killed"):
            run = Path(folder) / name / framework
            is_killed = name == "killed"
            kill_when = partial(_has_checkpoint, run) if is_killed else None
            output = f"--output={run.parent}"
            session.python(f"{framework}_impl", *words, output, *session.flags, kill_when=kill_when)
            if is_killed:
                killed_at = _last_step(run)
                words = ["--quick-scoring", "--skip-epoch-quality", "--deterministic", f"--resume={run}"]
                session.python(f"{framework}_impl", *words, *session.flags)
            losses[name] = (run / LOSSES_FILE).read_bytes()
    rows = len(list(csv.reader(losses["first"].decode().splitlines()))) - 1
    if not 0 < killed_at < rows:
        raise RunFailedError(f"the run was to be killed between two epochs, and was at step {killed_at} of {rows}")
    return {
        "num_steps": rows,
        "killed_at_step": killed_at,
        "twice_the_same": losses["first"] == losses["second"],
        "killed_and_resumed_the_same": losses["first"] == losses["killed"],
    }


def _has_checkpoint(run: Path) -> bool:
    """Of an epoch that was trained, not of the start."""
    return _last_step(run) > 0


def _last_step(run: Path) -> int:
    """That of the newest checkpoint; 0 without one."""
    found = (re.fullmatch(r"step_(\d+)\.safetensors", path.name) for path in run.glob("checkpoints/*"))
    return max((int(match[1]) for match in found if match), default=0)
