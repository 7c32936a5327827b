"""The benchmark as a part of a comparison's report: what `bench --output` left in its folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from common.errors import UserError
from comparison.bench.figures import FIGURES, draw
from comparison.bench.report import arm_rows, conditions, headlines, notices, ratio_rows
from comparison.recorded_run import read_json
from comparison.tables import Row

FILE = "bench.json"


class Section(NamedTuple):
    """What both templates show; `figures` are file name to caption and PNG."""

    headlines: Sequence[str]
    conditions: str
    notices: Sequence[str]
    tables: Sequence["Rows"]
    figures: Mapping[str, tuple[str, bytes]]


class Rows(NamedTuple):
    """One table."""

    corner: str
    headings: Sequence[str]
    rows: Sequence[Row]


def read_section(folder: Path) -> Section | None:
    """None if the folder holds no benchmark; a file that `bench` cannot have written raises UserError."""
    result = read_json(folder / FILE)
    if not result:
        return None
    try:
        tables = [_rows(rows) for rows in (arm_rows(result), ratio_rows(result)) if len(rows) > 1]
        figures = {name: (FIGURES[name], png) for name, png in draw(result).items()}
        what = "{preset}, batch {batch_size}, {precision}".format_map(result["config"])
        return Section(headlines(result), f"{what}: {conditions(result)}", notices(result), tables, figures)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError) as error:
        raise UserError(
            f"{folder / FILE} is not what `compare.py bench` writes ({type(error).__name__}: {error}): "
            f"delete it, or measure again with --output {folder}"
        ) from None


def _rows(rows: Sequence[Sequence[Any]]) -> Rows:
    (corner, *headings), *body = rows
    return Rows(corner, headings, [Row(label, "", cells) for label, *cells in body])
