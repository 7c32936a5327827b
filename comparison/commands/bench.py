"""`python compare.py bench`: time both frameworks' steps so that nobody can call it unfair."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from common.console import make_console, say
from common.records.folder import BENCH_FILE, write_json
from common.stages import stage_console
from comparison.bench.options import BenchOptions, check, parse_arms, parse_batch_sizes
from comparison.bench.session import measure
from comparison.processes import Children
from comparison.report.bench_tables import arm_rows, certificate_rows, ratio_rows
from comparison.report.bench_words import headlines, notices, write_report

TABLE_WIDTH = 120


def main(options: BenchOptions) -> int:
    """1 if the first arm was not as fast as itself, or if parity was climbed for and does not hold; else 0."""
    arms = parse_arms(options.arms, precision=options.config.precision)
    batch_sizes = parse_batch_sizes(options.batch_sizes)
    subject = check(options, arms, batch_sizes)
    console = stage_console()
    with Children() as children:
        result = measure(options, arms, batch_sizes, subject, children, partial(say, console))
    if options.json is not None:
        write_json(options.json, result, kind=BENCH_FILE)
    if options.output is not None:
        write_report(options.output, result)
    print_result(result, console)
    certified = all(found["holds"] for found in (result["parity"], *result["certificates"].values()))
    return 0 if result["control"]["holds"] and (certified or not options.certify) else 1


def print_result(result: Mapping[str, Any], console: Console) -> None:
    """Print the tables of arms and ratios, and the sentences that must be read with them."""
    wide = make_console(width=max(console.width, TABLE_WIDTH))
    for head, *rows in (arm_rows(result), ratio_rows(result), certificate_rows(result)):
        table = Table(*head)
        for row in rows:
            table.add_row(*map(Text, row))
        if rows:
            wide.print(table)
    for sentence in headlines(result):
        say(console, sentence, style="bold")
    for sentence in notices(result):
        say(console, sentence)
