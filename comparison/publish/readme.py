"""python -m comparison.publish.readme: every number and every line of code in the README, from what is recorded.

`docs/results` holds the records: the default comparison and the benchmarks. No other file of the project is read but
both twins' `steps.py`, `pyproject.toml` and `CITATION.cff`.
"""

import ast
import sys
import textwrap
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.evaluation.feature_network import committed_sha256
from common.records.folder import COMPARISON_FILE, FRAMEWORK_NAMES
from comparison.publish.page import RESULTS, ROOT, read_result, replace_parts, run_publisher
from comparison.publish.verdict import TUNED_BENCH, UNTUNED_BENCH, Records, verdict
from comparison.report.citation import bench_citation
from comparison.report.quality import measured
from comparison.text import markdown, number

README = ROOT / "README.md"


def publish(_paths: list[Path]) -> None:
    """Replace the made parts of the README."""
    replace_parts(README, parts())


def parts() -> dict[str, str]:
    """Each part's name, as in its marker, and its content."""
    records = read_records()
    return {
        "verdict": verdict(records),
        "results": table(records),
        "quickstart": quickstart(records),
        "step": step(),
        "citation": f"> {bench_citation(records.tuned)}\n\n```bibtex\n{bibtex()}\n```",
    }


def read_records() -> Records:
    """The default comparison, the benchmark of its preset, and the one with the idiomatic forms."""
    advice = "publish a comparison and the benchmarks first"
    return Records(
        run=read_result(RESULTS / "default" / COMPARISON_FILE, advice),
        tuned=read_result(RESULTS / "speed" / TUNED_BENCH, advice),
        untuned=read_result(RESULTS / "speed" / UNTUNED_BENCH, advice),
        others=[
            read_result(path, advice)
            for path in sorted((RESULTS / "speed").glob("*.json"))
            if path.name not in (TUNED_BENCH, UNTUNED_BENCH) and not path.stem.endswith("_timing")
        ],
    )


def table(records: Records) -> str:
    """Five rows: speed twice, start, memory, quality."""
    tuned, untuned, run = records.tuned, records.untuned, records.run["frameworks"]
    quality = {name: run[name]["quality"]["frechet_distance"] for name in FRAMEWORK_NAMES}
    repetitions = f"n = {tuned['protocol']['repetitions']} processes"
    untuned_repetitions = f"n = {untuned['protocol']['repetitions']} processes, `{untuned['config']['preset']}`"
    rows = [
        ("", *FRAMEWORK_NAMES.values(), ""),
        (
            "Speed, tuned (images/s)",
            *(_speed(tuned, name) for name in FRAMEWORK_NAMES),
            f"median (quartiles), {repetitions}",
        ),
        (
            "Speed, as documented (images/s)",
            *(_speed(untuned, f"{name}-idiomatic") for name in FRAMEWORK_NAMES),
            f"median (quartiles), {untuned_repetitions}",
        ),
        (
            "Before the first step (s)",
            *(number(_start_seconds(tuned["arms"][name])) for name in FRAMEWORK_NAMES),
            f"import, build, compile; {repetitions}",
        ),
        (
            "Peak memory (GB)",
            *(number(tuned["arms"][name]["peak_memory_bytes"] / 1e9) for name in FRAMEWORK_NAMES),
            repetitions,
        ),
        (
            "Fréchet distance ↓ (no unit)",
            *(measured(quality[name]["value"], quality[name]["spread"]) for name in FRAMEWORK_NAMES),
            f"real digits: {number(quality['torch']['floor'])}; n = 1 training, {_num_draws(records)} draws"
            f"{_which_network(records)}",
        ),
    ]
    return markdown(rows)


def _speed(bench: Mapping[str, Any], arm: str) -> str:
    """Images per second: the median over processes, and quartiles."""
    milliseconds = bench["arms"][arm]["milliseconds_per_step"]
    speeds = [1e3 * bench["config"]["batch_size"] / milliseconds[name] for name in ("median", "high", "low")]
    median, low, high = map(number, speeds)
    return f"{median} ({low} to {high})"


def _start_seconds(arm: Mapping[str, Any]) -> float:
    return arm["import_seconds"] + arm["build_seconds"] + arm["first_block_extra_seconds"]


def _which_network(records: Records) -> str:
    """A remark on scores by an earlier feature network than that of the present evaluator."""
    protocol = records.run["frameworks"]["torch"]["quality_protocol"]
    is_present = protocol.get("network_sha256") == committed_sha256()
    return "" if is_present else "; by the [earlier feature network](docs/results/quality.md)"


def _num_draws(records: Records) -> int:
    command = records.run["environment"]["torch"]["command"]
    return int(next(word.partition("=")[2] for word in command if word.startswith("--draws=")))


def quickstart(records: Records) -> str:
    """What it needs, and what the recorded run took."""
    python = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"]
    oldest, newest = python.removeprefix(">=").split(",<")
    newest = f"3.{int(newest.split('.')[1]) - 1}"
    seconds = sum(records.run["frameworks"][name]["total_seconds"] for name in FRAMEWORK_NAMES)
    threads = records.run["environment"]["torch"]["num_threads"]
    return (
        f"You need Python {oldest} to {newest} with venv and pip, and make. The recorded full comparison took "
        f"{number(seconds / 60, digits=2)} minutes on {threads} CPU threads. MNIST comes with it."
    )


def step() -> str:
    """The discriminator's half of one training step, of both twins side by side."""
    cells = []
    for framework in FRAMEWORK_NAMES:
        file = f"{framework}_impl/steps.py"
        code = discriminator_update((ROOT / file).read_text(encoding="utf-8"))
        cells.append(f"\n\n```python\n# {file}\n{code}\n```\n")
    return f"<table><tr><td>{'</td><td>'.join(cells)}</td></tr></table>"


def discriminator_update(source: str) -> str:
    """The statements of `train_step` up to the discriminator's update, as they stand there, without comment lines."""
    function = next(
        node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef) and node.name == "train_step"
    )
    statements = function.body[1:]  # without the docstring
    last = next(node for node in statements if isinstance(node, ast.Expr) and "discriminator" in ast.unparse(node))
    lines = source.splitlines()[statements[0].lineno - 1 : last.end_lineno]
    shown = [line for line in lines if line.strip() and not line.strip().startswith("#")]
    return textwrap.dedent("\n".join(shown))


def bibtex() -> str:
    """CITATION.cff as an entry."""
    fields = dict(
        line.split(": ", 1)
        for line in (ROOT / "CITATION.cff").read_text(encoding="utf-8").splitlines()
        if ": " in line and not line.startswith((" ", "-"))
    )
    title, version, released = (fields[name].strip('"') for name in ("title", "version", "date-released"))
    return (
        f"@software{{dcgan_twins, title = {{{title}}}, author = {{{{The DCGAN twins authors}}}}, "
        f"version = {{{version}}}, year = {{{released[:4]}}}}}"
    )


if __name__ == "__main__":
    sys.exit(run_publisher(__doc__, publish, num_paths=range(1)))
