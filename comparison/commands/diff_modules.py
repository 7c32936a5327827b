"""`compare.py diff my_torch.py:build my_flax.py:build`: build two modules, say why they differ, write it down."""

import json
import warnings
from importlib import resources
from pathlib import Path

from flax import nnx
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import nn

from common.console import make_console, storable
from common.errors import UserError
from common.options import check_result_file
from common.records.folder import write_atomically
from comparison.port.compare import PRECISIONS, Result, compare
from comparison.port.gradients import sum_of_squares
from comparison.port.load import Map, as_toml, build, load_function, read_inputs, read_map
from comparison.port.report import as_html, as_json, number, sentences


def diff_modules(
    functions: tuple[str, str],
    *,
    inputs: Path | None,
    map_file: Path | None,
    loss: str | None,
    precision: str | None,
    files: dict[str, Path | None],
) -> int:
    """0 if the two modules agree, 1 if they differ; `files` are where to write, by flag."""
    for path in files.values():
        check_result_file(path)
    by_hand = Map() if map_file is None else read_map(map_file)
    arrays = None if inputs is None else read_inputs(inputs)
    losses = (sum_of_squares, sum_of_squares)
    if loss is not None:
        place, _, names = loss.rpartition(":")
        chosen = [load_function(f"{place}:{name}") for name in names.split(",")]
        losses = chosen[0], chosen[-1]
    modules = build(functions[0], nn.Module), build(functions[1], nnx.Module)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a person's own, and each would come once a pass
        result = compare(
            *modules,
            arrays,
            by_hand=by_hand,
            losses=losses,
            precisions=PRECISIONS if precision is None else (precision,),
        )
    _print(result, make_console())
    contents = {
        "--json": lambda: json.dumps(storable(as_json(result)), indent=2, allow_nan=False) + "\n",
        "--html": lambda: as_html(result, " and ".join(functions), _uplot()),
        "--write-map": lambda: as_toml(result.pairing),
    }
    for flag, path in files.items():
        if path is not None:
            try:
                write_atomically(path, contents[flag]().encode("utf-8", "backslashreplace"))
            except OSError as error:
                raise UserError(f"{flag}: {path} cannot be written ({error.strerror})") from None
    return 0 if result.first is None else 1


def _uplot() -> dict[str, str]:
    """The chart's program and style, which the report has."""
    folder = resources.files("comparison.report") / "assets" / "uplot"
    files = {"script": "uPlot.iife.min.js", "style": "uPlot.min.css"}
    return {name: (folder / file).read_text(encoding="utf-8") for name, file in files.items()}


def _print(result: Result, console: Console) -> None:
    """The words, then every call's errors in the first pass in which there is a fault; all passes are in the files."""
    for index, sentence in enumerate(sentences(result)):
        console.print(Text(sentence, style="bold" if index == 0 else ""), soft_wrap=True)
    shown = next((found for found in result.passes if found.faults), result.passes[0])
    console.print(Text(f"\nIn {shown.name}:"))
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("PyTorch's module", overflow="fold")
    for heading in ("alone", "in the model", "rounding"):
        table.add_column(heading, no_wrap=True)
    for check in shown.checks:
        again = f" #{check.torch.index + 1}" if check.torch.index else ""
        cells = (number(value) for value in (check.alone, check.accumulated, check.rounding))
        at_fault = any(check is fault for fault in shown.faults)
        table.add_row(f"{check.torch.path or '(all)'}{again}", *cells, style="bold red" if at_fault else "")
    console.print(table)
