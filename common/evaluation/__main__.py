"""Command line of the evaluator: python -m common.evaluation SAMPLES.npz [--json FILE] [--quick]."""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from common.errors import UserError
from common.evaluation import Evaluation, evaluate_samples, read_samples

NUM_QUICK = 2_000


@dataclass(frozen=True)
class Arguments:
    """Score generated digits against the MNIST test digits."""

    samples: tyro.conf.Positional[Path]
    """An .npz file with an array `images`: uint8, (N, S, S), 1,000 to 10,000 of them."""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write the result to this file as well."""
    quick: bool = False
    """Score only the first 2,000 samples: fast, but not comparable with results at 10,000."""


def main() -> None:
    """Exit code 2 and one line on stderr if the samples or the arguments are wrong."""
    arguments = tyro.cli(Arguments, prog="python -m common.evaluation")
    try:
        run(arguments)
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def run(arguments: Arguments) -> None:
    """Evaluates, prints a table, writes the JSON file."""
    if arguments.json and not arguments.json.parent.is_dir():
        raise UserError(f"--json: {arguments.json.parent} is not a folder")  # known before the work starts
    images = read_samples(arguments.samples)
    evaluation = evaluate_samples(images[:NUM_QUICK] if arguments.quick else images)
    if arguments.json:
        unfinished = arguments.json.with_name(arguments.json.name + ".unfinished")
        unfinished.write_text(json.dumps(evaluation.to_json(), indent=2) + "\n")
        os.replace(unfinished, arguments.json)
    print(table(evaluation))


def table(evaluation: Evaluation) -> str:
    """The metrics as aligned text, value beside floor."""
    protocol = evaluation.protocol
    note = "" if protocol["comparable"] else "  (not the standard protocol: compare only with results like this)"
    lines = [f"{protocol['num_generated']} samples against {protocol['num_real']} {protocol['reference']}{note}"]
    lines.append(f"{'metric':<22}{'value':>10}{'floor':>10}")
    lines += [f"{name:<22}{m['value']:>10.4f}{m['floor']:>10.4f}" for name, m in evaluation.metrics.items()]
    return "\n".join([*lines, f"samples of each digit  {evaluation.class_histogram['generated']}"])


if __name__ == "__main__":
    main()
