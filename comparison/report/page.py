"""What report.html alone needs: pictures and series within the page, its style and its program, and what may run."""

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

import numpy as np
from markupsafe import Markup

from common.contract import StepMetrics
from common.pictures.compose import reduced, small_png
from common.records.recorded_run import RecordedRun, Runs
from comparison.report.image_panels import GAP, SAMPLE_COLUMNS, Panels, tile
from comparison.report.palette import DARK, LIGHT
from comparison.report.svg import inlined

MAX_POINTS = 10_000  # of a curve: longer runs show means of consecutive steps
MAX_FRAME_BYTES = 1_500_000  # of the grids of all epochs, were they not compressed, at half a byte a value
MAX_CELL_PIXELS = 64  # of a digit's side
ASSETS = resources.files("comparison.report").joinpath("assets")


def page_context(runs: Runs, figures: Mapping[str, bytes], panels: Mapping[str, Panels]) -> dict[str, Any]:
    """Style, program, data and pictures, all as text that loads nothing."""
    scripts = [_asset("uplot/uPlot.iife.min.js"), _asset("report.js")] if runs else []
    data = page_data(runs)
    return {
        "style": Markup("\n".join([_asset("uplot/uPlot.min.css"), _palettes(), _asset("report.css")])),
        "scripts": [Markup(script) for script in scripts],
        "policy": _policy(scripts),
        "data": Markup(json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")),
        "curves": data["curves"],
        "epochs": data["epochs"],
        "sampled": {name: run.name for name, run in runs.items() if name in data["frames"]},
        "grid_size": _grid_size(runs),
        "inlined": lambda name, alt: inlined(figures[name], name, alt),
        "panels": {name: _as_urls(shown) for name, shown in panels.items()},
    }


def page_data(runs: Runs) -> dict[str, Any]:
    """Curves and grids for the page's program: JSON without NaN."""
    sampled = {name: run for name, run in runs.items() if len(run.progress.epochs)}
    epochs = _shown_epochs(sampled)
    return {
        "frameworks": [{"key": name, "name": run.name} for name, run in runs.items()],
        "curves": _curves({name: run for name, run in runs.items() if run.num_steps}),
        "epochs": [{"epoch": epoch, "step": _step_of(sampled, epoch)} for epoch in epochs],
        "frames": {name: [data_url(_grid(run, epoch)) for epoch in epochs] for name, run in sampled.items()},
        "columns": SAMPLE_COLUMNS,
        "gap": GAP,
    }


def data_url(picture: np.ndarray) -> str:
    """A uint8 picture as a small PNG within the page."""
    return f"data:image/png;base64,{base64.b64encode(small_png(picture)).decode()}"


def _as_urls(shown: Panels) -> dict[str, Any]:
    side = max(max(image.shape[:2]) for image in shown.images.values())
    factor = max(1, side // (MAX_CELL_PIXELS * SAMPLE_COLUMNS))
    return {
        "images": {
            name: {"url": data_url(reduced(image, factor)), "width": image.shape[1], "height": image.shape[0]}
            for name, image in shown.images.items()
        },
        "row_labels": shown.row_labels,
        "captions": shown.captions,
    }


def _curves(runs: Runs) -> dict[str, Any]:
    """Steps, and by column and framework the value of each step, or the mean of each group of them."""
    num_steps = max((run.num_steps for run in runs.values()), default=0)
    group = max(1, -(-num_steps // MAX_POINTS))
    return {
        "steps_per_point": group,
        "steps": list(range(group, num_steps + 1, group)),
        "series": {
            column: {name: _means(run.losses[column], group, num_steps // group) for name, run in runs.items()}
            for column in StepMetrics._fields
        },
    }


def _means(values: np.ndarray, group: int, num_points: int) -> list[float | None]:
    """To four digits; None where there is no number, and beyond the last step of a run that is shorter."""
    whole = values[: len(values) // group * group].reshape(-1, group).mean(axis=1)
    known = [float(f"{value:.4g}") if np.isfinite(value) else None for value in whole]
    return known + [None] * (num_points - len(known))


def _shown_epochs(sampled: Runs) -> list[int]:
    """Epochs that all runs have a grid of; of many, as many as fit into the page, evenly chosen."""
    if not sampled:
        return []
    shared = sorted(set.intersection(*(set(run.progress.epochs.tolist()) for run in sampled.values())))
    first = next(iter(sampled.values()))
    bytes_of_epoch = len(sampled) * reduced_grid_size(first) // 2
    most = max(2, MAX_FRAME_BYTES // bytes_of_epoch)
    chosen = np.unique(np.linspace(0, len(shared) - 1, min(len(shared), most)).round().astype(int))
    return [shared[index] for index in chosen] if shared else []


def reduced_grid_size(run: RecordedRun) -> int:
    """Values in one grid as the page shows it."""
    return run.progress.images[0].size // _factor(run) ** 2


def _factor(run: RecordedRun) -> int:
    return -(-run.progress.images.shape[2] // MAX_CELL_PIXELS)


def _grid(run: RecordedRun, epoch: int) -> np.ndarray:
    images = run.progress.images[run.progress.epochs.tolist().index(epoch)]
    small = np.stack([reduced(image, _factor(run)) for image in images])
    return tile(small, num_columns=SAMPLE_COLUMNS)


def _grid_size(runs: Runs) -> int:
    """Pixels of a side of the grids as the page shows them; 0 if there are none."""
    sampled = [run for run in runs.values() if len(run.progress.epochs)]
    return len(_grid(sampled[0], int(sampled[0].progress.epochs[-1]))) if sampled else 0


def _step_of(sampled: Runs, epoch: int) -> int:
    """The last step of the epoch; 0 before training."""
    rows = next(iter(sampled.values())).epochs
    return next((row.step for row in rows if row.epoch == epoch), 0)


def _palettes() -> str:
    """Custom properties of both themes: the reader's choice goes before the system's."""
    light, dark = (";".join(f"--{role}:{colour}" for role, colour in theme.items()) for theme in (LIGHT, DARK))
    return (
        f":root{{{light};color-scheme:light}}\n"
        f"@media screen and (prefers-color-scheme:dark){{:root:not([data-theme=light]){{{dark};color-scheme:dark}}}}\n"
        f"@media screen{{:root[data-theme=dark]{{{dark};color-scheme:dark}}}}"
    )


def _policy(scripts: list[str]) -> str:
    """Nothing is loaded, and no other script than these may run, whatever stands in the page."""
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {allowed}; base-uri 'none'"


def _asset(name: str) -> str:
    return ASSETS.joinpath(name).read_text(encoding="utf-8").strip("\n")
