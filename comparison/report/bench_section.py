"""The benchmark as a part of a comparison's report: what `bench --output` left in its folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from common.errors import UserError
from common.records.folder import read_json
from common.records.recorded_run import Runs
from comparison.report.bench_figures import FIGURES, draw
from comparison.report.bench_tables import tables
from comparison.report.bench_words import DEFINITIONS, RESULT_FILE, conditions, headlines, notices, title
from comparison.text import Row

COMPARED = ("preset", "dataset", "image_size", "latent_dim", "batch_size", "generator_updates", "precision")


class Section(NamedTuple):
    """What both templates show; `figures` are file name to caption and PNG."""

    headlines: Sequence[str]
    conditions: str
    notices: Sequence[str]
    definitions: Mapping[str, str]
    tables: Sequence["Rows"]
    figures: Mapping[str, tuple[str, bytes]]


class Rows(NamedTuple):
    """One table."""

    corner: str
    headings: Sequence[str]
    rows: Sequence[Row]


def read_section(folder: Path, runs: Runs) -> Section | None:
    """None if the folder holds no benchmark; a file that `bench` cannot have written raises UserError."""
    result = read_json(folder / RESULT_FILE)
    if not result:
        return None
    try:
        figures = {name: (FIGURES[name], png) for name, png in draw(result).items()}
        return Section(
            headlines=headlines(result),
            conditions=f"{title(result)}: {conditions(result)}",
            notices=[*differences(result, runs), *notices(result)],
            definitions=DEFINITIONS,
            tables=[_rows(rows) for rows in tables(result)],
            figures=figures,
        )
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError) as error:
        raise UserError(
            f"{folder / RESULT_FILE} is not what `compare.py bench` writes ({type(error).__name__}: {error}): "
            f"delete it, or measure again with --output {folder}"
        ) from None


def differences(result: Mapping[str, Any], runs: Runs) -> list[str]:
    """What the benchmark and the runs do not have in common, though it decides how fast a step is."""
    found = []
    for run in runs.values():
        names = [name for name in COMPARED if result["config"][name] != run.config.get(name)]
        if names:
            found.append(f"Another {', '.join(names)} was benchmarked than {run.name} was trained with")
        if result["machine"]["source_hashes"].get(run.framework) != run.environment.get("source_hash"):
            found.append(f"Other source files were benchmarked than {run.name} was trained with")
    return found


def _rows(rows: Sequence[Sequence[Any]]) -> Rows:
    (corner, *headings), *body = rows
    return Rows(corner, headings, [Row(label, "", cells) for label, *cells in body])
