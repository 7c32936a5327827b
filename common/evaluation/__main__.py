"""Command line of the evaluator: python -m common.evaluation SAMPLES.npz [--reference test|train] [--json FILE]."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from common.errors import UserError, report_errors
from common.evaluation import evaluate_samples, read_samples
from common.evaluation.table import table
from common.options import check_result_file, parse
from common.records.folder import write_atomically
from common.safe_read import one_line

PROGRAM = "python -m common.evaluation"


@dataclass(frozen=True)
class Arguments:
    """Score generated digits against real MNIST digits."""

    samples: tyro.conf.Positional[list[Path]]
    """.npz files with an array `images`: uint8, (N, S, S), 1,000 to 10,000 of them. Several are draws of one model."""
    reference: Literal["test", "train"] = "test"
    """The real digits to compare with: the test digits (the standard protocol), or as many training digits."""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write the result to this file as well."""
    quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Fréchet distance, KID and MNIST score of 2,000 of the samples: seconds, but not comparable with 10,000."""
    resized: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Images of 29 to 35 px are of a model of enlarged digits: resize them to 28 px instead of cropping a border."""


def main() -> None:
    """Exit code 2 and one line on stderr if the samples or the arguments are wrong."""

    def command() -> int:
        try:
            run(parse(Arguments, sys.argv[1:], program=PROGRAM))
        except OSError as error:
            raise UserError(one_line(error)) from None
        return 0

    sys.exit(report_errors(PROGRAM, command))


def run(arguments: Arguments) -> None:
    """Evaluates, prints a table, writes the JSON file."""
    check_result_file(arguments.json)  # known before the work starts
    if arguments.json is not None and arguments.json.resolve() in [path.resolve() for path in arguments.samples]:
        raise UserError(f"--json: {arguments.json} holds the samples: name another file")
    draws = [read_samples(path) for path in arguments.samples]  # a wrong file is better found before the work
    evaluation = evaluate_samples(
        draws, reference=arguments.reference, quick=arguments.quick, resized=arguments.resized
    )
    if arguments.json:
        write_atomically(arguments.json, (json.dumps(evaluation.to_json(), indent=2, allow_nan=False) + "\n").encode())
    print(table(evaluation))


if __name__ == "__main__":
    main()
