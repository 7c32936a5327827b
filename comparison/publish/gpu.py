"""python -m comparison.publish.gpu [GPU.json]: the measured part of docs/results/gpu.md, and its figure.

The file is what `make gpu` wrote; without one, the page says that nothing has been measured, and what that is. A
rehearsal is no measurement and is refused.
"""

import io
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.records.folder import write_atomically
from comparison.bench.gpu.parts import ARMS, parts
from comparison.publish.page import RESULTS, read_result, replace_parts, run_publisher
from comparison.text import markdown

PAGE, FIGURES = RESULTS / "gpu.md", RESULTS / "gpu"
KINDS = {
    "facts": "which devices the frameworks find, and whether their packages fit together",
    "arm": "milliseconds a step, compilation, launches a step, clocks and power, of a form",
    "certificate": "whether the quick ladder holds there, in the form that is timed",
    "roof": "the best matrix multiplication, in each precision",
    "epochs": "images a second of whole epochs",
    "trajectories": "how far CPU and GPU of one framework are apart in float64, and the two frameworks",
    "same-bits": "whether runs with `--deterministic` leave the same losses twice, and killed and resumed",
}
OF_THE_GPU = (("driver_version", "driver", ""), ("power.limit", "at most", " W"), ("clocks.max.sm", "at most", " MHz"))
FALLBACKS = {
    "graph_breaks": "torch.compile left a graph",
    "cudagraph_skips": "torch.compile did without a CUDA graph",
}
CLAIMS_NOTHING = "**Nothing here has been measured on a GPU, so nothing is claimed of one.** None could be had."


def publish(paths: list[Path]) -> None:
    """Replace the measured part of the page; with a file, keep a copy of it and draw its figure."""
    if not paths:
        replace_parts(PAGE, {"claim": CLAIMS_NOTHING, "measured": unmeasured(_names())})
        return
    record = read_result(paths[0], "name what make gpu wrote")
    if record["identity"]["is_rehearsal"]:
        raise UserError(f"{paths[0]} is a rehearsal on a CPU: it measures nothing")
    FIGURES.mkdir(exist_ok=True)
    write_atomically(FIGURES / "gpu.json", paths[0].read_bytes())
    if image := figure(record):
        write_atomically(FIGURES / "steps.png", image)
    replace_parts(PAGE, {"claim": _claim(record), "measured": page(record)})


def unmeasured(names: list[str]) -> str:
    """What is not known, by kind; `arm` is followed by the cases."""
    lines = []
    for kind, words in KINDS.items():
        own = [name for name in names if name.split("/")[0] == kind]
        cases = dict.fromkeys(" ".join(name.split("/")[1:4]) for name in own if kind == "arm")
        count = f" ({len(own)} measurements: {', '.join(cases)})" if cases else ""
        lines += [f"- {words}{count};"] if own else []
    return "\n".join(["Not measured:", "", *lines]).removesuffix(";") + "."


def page(record: Mapping[str, Any]) -> str:
    """Tables of what was measured, and at their end what was not."""
    found = record["parts"]
    packages = record["identity"]["packages"]
    versions = ", ".join(f"{name} {packages[name]}" for name in ("torch", "jax", "jaxlib", "flax") if name in packages)
    sections = [f"Measured with {versions}. Each number is of one process: indicative."]
    for title, rows in (
        ("Steps", _arm_rows(found)),
        ("Matrix multiplications", _roof_rows(found)),
        ("Whole epochs", _epoch_rows(found)),
        ("Parity", _parity_rows(found)),
        ("The same bits", _bit_rows(found)),
    ):
        if len(rows) > 1:
            sections.append(f"## {title}\n\n{markdown(rows)}")
    if "arm" in {name.split("/")[0] for name in found}:
        sections.insert(1, "![Milliseconds a step of each form](gpu/steps.png)")
    remarks = _remarks(found)
    sections += ["## What to know of these steps\n\n" + "\n".join(remarks)] * bool(remarks)
    failed = [f"- {name}: {part['failed']}" for name, part in found.items() if "failed" in part]
    sections += ["## What failed\n\n" + "\n".join(failed)] * bool(failed)
    sections += ["## What is left\n\n" + unmeasured(record["left_out"])] * bool(record["left_out"])
    return "\n\n".join(sections)


def figure(record: Mapping[str, Any]) -> bytes | None:
    """Milliseconds a step of every form, a group of bars for each case; None of nothing."""
    rows = [(name.split("/"), part) for name, part in record["parts"].items() if "milliseconds_per_step" in part]
    if not rows:
        return None
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(8, 1 + 0.28 * len(rows)), layout="constrained")
    axes = drawn.subplots()
    titles = [f"{' '.join(words[1:4])}: {words[4]}" for words, _ in rows]
    axes.barh(titles, [part["milliseconds_per_step"] for _, part in rows])
    axes.invert_yaxis()
    axes.set_xlabel("milliseconds a step, median of blocks")
    image = io.BytesIO()
    drawn.savefig(image, format="png", dpi=150)
    return image.getvalue()


def _names() -> list[str]:
    return [part.name for part in parts(is_rehearsal=False)]


def _claim(record: Mapping[str, Any]) -> str:
    gpu = record["identity"]["accelerator"]
    known = [gpu.get("name"), *(f"{words} {gpu[key]}{unit}" for key, words, unit in OF_THE_GPU if key in gpu)]
    left = f" Measurements that are left: {len(record['left_out'])}." * bool(record["left_out"])
    return f"**Measured in one session on one GPU: {', '.join(filter(None, known))}.**{left}"


def _arm_rows(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows = [
        (
            "networks, batch, precision",
            "form",
            "ms a step",
            "images/s",
            "of the roof",
            "launches a step",
            "of them graphs",
            "compiled in, s",
            "clock, MHz",
            "J per 1,000 images",
        )
    ]
    for name, part in _arms(found):
        _, preset, batch, precision, form = name.split("/")
        assert form in ARMS
        roofs = found.get(f"roof/{part['framework']}", {}).get("roof", {}).get(precision, {})
        share = part["gflops_per_second"] / max(roofs.values()) if roofs else None
        gpu, counts = part["gpu"] or {}, part.get("profile") or {}
        watts, clock = gpu.get("power_watts_when_used"), gpu.get("clock_mhz") or {}
        rows.append(
            (
                f"{preset}, {batch}, {precision}",
                form,
                f"{part['milliseconds_per_step']:.3g}",
                f"{part['images_per_second']:,.0f}",
                _or_nothing(share, ".2f"),
                _or_nothing(counts.get("launches_per_step"), ".3g"),
                _or_nothing(counts.get("graph_launches_per_step"), ".3g"),
                _or_nothing(part.get("compile_seconds"), ".1f"),
                _or_nothing(clock.get("high"), ".0f"),
                _or_nothing(watts and 1000 * watts / part["images_per_second"], ".3g"),
            )
        )
    return rows


def _remarks(found: Mapping[str, Any]) -> list[str]:
    """Whatever makes a speed another one than that of the form alone."""
    lines = []
    for name, part in _arms(found):
        counts = part.get("profile") or {}
        slowed = (part["gpu"] or {}).get("slowed_down_by", "0x0")
        told = [f"its clock was held down (reasons {slowed} of nvidia-smi)"] if int(slowed, 16) else []
        again = part.get("recompile_seconds")
        told += [f"something was compiled for {again:.1f} s while it was timed"] if again else []
        told += [f"{words} {counts[key]:.0f} times" for key, words in FALLBACKS.items() if counts.get(key)]
        lines += [f"- {name.removeprefix('arm/')}: {'; '.join(told)}."] if told else []
    return lines


def _arms(found: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return [(name, part) for name, part in found.items() if name.startswith("arm/") and "failed" not in part]


def _or_nothing(value: float | None, form: str) -> str:
    return "" if value is None else f"{value:{form}}"


def _roof_rows(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows = [("framework", "precision", "GFLOP/s", "at size")]
    for name, part in found.items():
        for precision, sizes in part.get("roof", {}).items():
            size = max(sizes, key=sizes.__getitem__)
            rows.append((name.split("/")[1], precision, f"{sizes[size]:,.0f}", size))
    return rows


def _epoch_rows(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows = [("framework", "images/s of chunks", "images/s of epochs", "loop overhead", "steps a chunk")]
    for name, part in found.items():
        if name.startswith("epochs/") and "failed" not in part:
            speed = part["images_per_second_of_chunks"]
            rows.append(
                (
                    name.split("/")[1],
                    f"{speed['median']:,.0f}" if speed else "",
                    f"{part['images_per_second_of_epochs']:,.0f}",
                    f"{100 * part['loop_overhead_fraction']:.1f} %",
                    str(part["chunk_size"]),
                )
            )
    return rows


def _parity_rows(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows = [("what", "outcome")]
    for name, part in found.items():
        if "holds" in part:
            verdict = "every rung holds" if part["holds"] else f"{len(part['failing'])} do not hold"
            rows.append((f"quick ladder of {name.split('/')[1]}", f"{verdict}, of {part['num_measurements']}"))
        for which, distance in part.get("apart", {}).items():
            rows.append((f"{which}, {part['num_steps']} float64 steps", f"{distance:.1e} apart"))
    return rows


def _bit_rows(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("framework", "steps", "twice the same", "killed and resumed the same")]
    for name, part in found.items():
        if "twice_the_same" in part:
            said = ["yes" if part[key] else "no" for key in ("twice_the_same", "killed_and_resumed_the_same")]
            rows.append((name.split("/")[1], str(part["num_steps"]), *said))
    return rows


if __name__ == "__main__":
    sys.exit(run_publisher(__doc__, publish, num_paths=range(2)))
