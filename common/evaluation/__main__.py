"""Command line of the evaluator: python -m common.evaluation SAMPLES.npz [--reference test|train] [--json FILE]."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from common.errors import UserError
from common.evaluation import Evaluation, evaluate_samples, read_samples
from common.options import check_result_file
from common.records import write_atomically


@dataclass(frozen=True)
class Arguments:
    """Score generated digits against real MNIST digits."""

    samples: tyro.conf.Positional[list[Path]]
    """.npz files with an array `images`: uint8, (N, S, S), 1,000 to 10,000 of them. Several are draws of one model."""
    reference: Literal["test", "train"] = "test"
    """The real digits to compare with: the test digits (the standard protocol), or the first training digits."""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write the result to this file as well."""
    quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Fréchet distance, KID and MNIST score of the first 2,000 samples: seconds, but not comparable with 10,000."""


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
    check_result_file(arguments.json)  # known before the work starts
    draws = [read_samples(path) for path in arguments.samples]  # a wrong file is better found before the work
    evaluation = evaluate_samples(draws, reference=arguments.reference, quick=arguments.quick)
    if arguments.json:
        write_atomically(arguments.json, (json.dumps(evaluation.to_json(), indent=2, allow_nan=False) + "\n").encode())
    print(table(evaluation))


def table(evaluation: Evaluation) -> str:
    """The metrics as aligned text, value beside floor, below what they were measured under."""
    protocol = evaluation.protocol
    note = "" if protocol["comparable"] else "  (not comparable: not the standard protocol)"
    draws = f"{protocol['num_draws']} x " if protocol["num_draws"] > 1 else ""
    kid = protocol["kid"]
    lines = [
        f"{draws}{protocol['num_generated']} samples against {protocol['num_real']} {protocol['reference']}{note}",
        f"feature network {protocol['network_sha256'][:12]}, k = {protocol['k']}, "
        f"KID over {kid['num_subsets']} subsets of {kid['subset_size']} (seed {kid['seed']})",
        f"{'metric':<27}{'value':>10}{'spread':>10}{'floor':>10}  range of the floor",
    ]
    for name, metric in evaluation.metrics.items():
        low, high = metric["floor_low"], metric["floor_high"]
        numbers = "".join(f"{_number(metric[part]):>10}" for part in ("value", "spread", "floor"))
        lines.append(f"{name:<27}{numbers}  {'' if low is None else f'{_number(low)} to {_number(high)}'}".rstrip())
    return "\n".join([*lines, f"samples of each digit  {evaluation.class_histogram['generated']}"])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


if __name__ == "__main__":
    main()
