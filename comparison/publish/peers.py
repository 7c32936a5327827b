"""python -m comparison.publish.peers [PEERS.json]: the peers' part of docs/results/speed.md and its figure.

Without a file it times every peer's step and ours first, which takes four minutes and replaces docs/results/peers.json.
"""

import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

from common.pictures.drawing import add_caption
from common.records.folder import json_bytes, write_atomically
from comparison.bench.statistics import Interval, quartiles, ratio
from comparison.peers.catalogue import ARMS
from comparison.peers.measure import measure
from comparison.processes import Children
from comparison.publish.page import RESULTS, read_result, replace_parts, run_publisher
from comparison.report.bench_tables import interval_text
from comparison.report.charts import bar_plot, conclude
from comparison.report.palette import COLOURS, LIGHT, STYLE
from comparison.report.svg import figure_svg
from comparison.text import markdown, number, processor

RECORD, PAGE, FIGURE = RESULTS / "peers.json", RESULTS / "speed.md", "speed/peers.svg"
CAPTION = "A step's time as a multiple of ours in PyTorch"
SHOWN_PACKAGES = ("torch", "torchvision", "jax", "flax", "optax")


def publish(paths: list[Path]) -> None:
    """Replace the part of the page and the figure by what is in the file, or by a new measurement."""
    if not paths:
        with Children() as children:
            result = measure(children, lambda words: print(words, flush=True))
        write_atomically(RECORD, json_bytes(result, indent=1))
    result = read_result(paths[0] if paths else RECORD, "name what an earlier call wrote")
    write_atomically(RESULTS / FIGURE, draw(result))
    replace_parts(PAGE, {"peers": page_part(result)})


def page_part(result: Mapping[str, Any]) -> str:
    """Conclusions, table, conditions and figure."""
    differences = [f"- **{arm.title}**: {arm.differs}." for arm in ARMS.values() if arm.differs]
    sections = ["\n".join(headlines(result)), markdown(rows(result)), conditions(result), "\n".join(differences)]
    return "\n\n".join([*sections, f"![{CAPTION}]({FIGURE})"])


def headlines(result: Mapping[str, Any]) -> list[str]:
    """One sentence a peer."""
    found, count = ratios(result), num_rounds(result)
    return [
        f"- **A step of {arm.title} takes {interval_text(found[name]._asdict())} times as long as ours in PyTorch"
        f"{'' if arm.networks == ARMS[arm.ours].networks else ', with networks of its own'}** (n = {count})."
        for name, arm in ARMS.items()
        if arm.module
    ]


def rows(result: Mapping[str, Any]) -> list[Sequence[str]]:
    """The table: one row an arm, ours before the peers with the same networks."""
    found = ratios(result)
    table: list[Sequence[str]] = [
        ("step", "networks", "images/s (quartiles)", "ms a step", "times as long as ours in PyTorch (95 % interval)")
    ]
    for name, arm in ARMS.items():
        seconds = result["block_seconds_per_step"][name]
        speeds = quartiles([result["batch_size"] / block for block in seconds])
        speed = f"{number(speeds.median)} ({number(speeds.low)} to {number(speeds.high)})"
        milliseconds = number(1e3 * quartiles(seconds).median)
        share = "1" if name == arm.ours else interval_text(found[name]._asdict())
        networks = f"`{arm.networks}`" if arm.networks == ARMS[arm.ours].networks else arm.networks
        table.append((arm.title, networks, speed, milliseconds, share))
    return table


def ratios(result: Mapping[str, Any]) -> dict[str, Interval]:
    """Of each arm's step time to ours in PyTorch, taken within rounds."""
    blocks = result["block_seconds_per_step"]
    return {name: ratio(blocks[name], blocks[arm.ours]) for name, arm in ARMS.items()}


def num_rounds(result: Mapping[str, Any]) -> int:
    """In each of which every arm takes one block."""
    return len(next(iter(result["block_seconds_per_step"].values())))


def conditions(result: Mapping[str, Any]) -> str:
    """On what, with what, and how often was measured."""
    environment = result["environment"]
    packages = ", ".join(f"{name} {environment['packages'][name]}" for name in SHOWN_PACKAGES)
    return (
        f"Batches of {result['batch_size']}, float32, {result['num_threads']} threads of {environment['num_cpus']} "
        f"CPUs ({processor(environment)}). Versions: {packages}. n = {num_rounds(result)} rounds. "
        f"In each of them every arm takes a block of {result['steps_per_block']} steps in its turn. "
        "Each arm is a process of its own. It sleeps while others compute. The clock includes each arm's own loader. "
        f"Sources {result['sources'][:12]}. "
        f"Begun {environment['started_at']}."
    )


def draw(result: Mapping[str, Any]) -> bytes:
    """A bar an arm with its interval, from none to as long as the longest; 1 is ours in PyTorch."""
    found = ratios(result)
    with matplotlib.rc_context(STYLE):
        labels = [textwrap.fill(f"{arm.title} ({arm.networks})", 34) for arm in ARMS.values()]
        figure, axes = bar_plot(labels, width=6.4, height=1.5)
        for position, (name, arm) in enumerate(ARMS.items()):
            is_ours = not arm.module
            share = found[name]
            style: dict[str, Any] = {} if is_ours else {"hatch": "///", "edgecolor": LIGHT["page"]}
            axes.barh(position, share.median, color=COLOURS[arm.framework], height=0.6, linewidth=0, **style)
            axes.plot([share.low, share.high], [position, position], color=LIGHT["text"], linewidth=1.5)
            axes.annotate(f"{share.median:.2f}", (max(share.high, share.median), position), xytext=(5, 0),
                          va="center", textcoords="offset points")  # fmt: skip
        axes.axvline(1, color=LIGHT["text"], linewidth=1, linestyle="--")
        peers = [found[name].median for name, arm in ARMS.items() if arm.module]
        axes.set_xlabel("times as long as ours in PyTorch: median, interval")
        span = f"{number(min(peers))} to {number(max(peers))}"
        conclude(figure, f"Peers' steps take {span} times as long as ours in PyTorch")
        add_caption(figure, f"{CAPTION}, by networks. Hatched: peers. Batches of {result['batch_size']}.")
        return figure_svg(figure, "peers")


if __name__ == "__main__":
    sys.exit(run_publisher(__doc__, publish, num_paths=range(2)))
