"""Command line of the evaluator: python -m common.evaluation SAMPLES.npz [--dataset NAME --data-dir PLACE]."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from common.config import MAX_IMAGE_SIZE
from common.console import make_console
from common.data.datasets import load_dataset, prepare_dataset
from common.data.names import canonical_name
from common.errors import UserError, report_errors
from common.evaluation import Evaluation, evaluate_samples, read_samples
from common.evaluation.evaluate_own import evaluate_own
from common.evaluation.own_network import load_own_network
from common.evaluation.samples import read_images
from common.evaluation.table import table
from common.options import check_result_file, parse
from common.records.folder import json_bytes, write_atomically
from common.safe_read import one_line
from common.stages import in_stage, shown_on

PROGRAM = "python -m common.evaluation"


@dataclass(frozen=True)
class Arguments:
    """Score generated digits against real MNIST digits, or any images against the data that they imitate."""

    samples: tyro.conf.Positional[list[Path]]
    """.npz files with an array `images`, uint8 (N, S, S). N is 1,000 to 10,000. Several files are draws of one model.
    Of other data (N, S, S, 3) too, and at least half as many as training images."""
    dataset: str = "mnist"
    """The data to compare with, as a run names them. They are brought to the size of the samples."""
    data_dir: Path | None = None
    """Where those data are."""
    train_size: int = 0
    """The model was trained on the first N images only. 0 is all of them."""
    features: Annotated[Path | None, tyro.conf.arg(metavar="FILE.onnx")] = None
    """A network whose features replace pixels, as in a run."""
    reference: Literal["test", "train"] = "test"
    """Which real digits to compare with. test is the standard protocol; train takes as many training digits."""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Where to write the result as JSON."""
    quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Score 2,000 of the samples by three metrics only. It takes seconds, and does not compare with 10,000."""
    resized: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Resize samples of 29 to 35 px instead of cropping. It is for a model of enlarged digits."""


def main() -> None:
    """Exit code 2 and one line on stderr if the samples or the arguments are wrong."""

    def command() -> int:
        try:
            arguments = parse(Arguments, sys.argv[1:], program=PROGRAM)
            with shown_on(make_console(stderr=True)):  # stdout is for the table
                evaluation = run(arguments)
            print(table(evaluation))
        except OSError as error:
            raise UserError(one_line(error)) from None
        return 0

    sys.exit(report_errors(PROGRAM, command))


def run(arguments: Arguments) -> Evaluation:
    """Evaluates, and writes the JSON file."""
    check_result_file(arguments.json)  # known before the work starts
    if arguments.json is not None and arguments.json.resolve() in [path.resolve() for path in arguments.samples]:
        raise UserError(f"--json: {arguments.json} holds the samples: name another file")
    is_digits = canonical_name(arguments.dataset) == "mnist" and arguments.data_dir is None
    evaluation = _evaluate_digits(arguments) if is_digits else _evaluate_own(arguments)
    if arguments.json:
        write_atomically(arguments.json, json_bytes(evaluation.to_json()))
    return evaluation


def _evaluate_digits(arguments: Arguments) -> Evaluation:
    if arguments.features is not None:
        raise UserError("--features is for other data than MNIST: name them with --dataset, or leave it out")
    draws = [read_samples(path) for path in arguments.samples]  # a wrong file is better found before the work
    return evaluate_samples(
        _counted(draws), reference=arguments.reference, quick=arguments.quick, resized=arguments.resized
    )


def _evaluate_own(arguments: Arguments) -> Evaluation:
    if arguments.reference != "test" or arguments.resized:
        raise UserError("--reference and --resized are for digits of MNIST: leave them out")
    draws = [read_images(path) for path in arguments.samples]
    size = draws[0].shape[1] if draws[0].ndim in (3, 4) else 0
    if not 1 <= size <= MAX_IMAGE_SIZE or draws[0].dtype != np.uint8:
        raise UserError(
            f"the samples are {draws[0].dtype} {draws[0].shape}: pass uint8 (N, S, S) or (N, S, S, 3), "
            f"S at most {MAX_IMAGE_SIZE}"
        )
    dataset = load_dataset(arguments.dataset, arguments.data_dir, train_size=arguments.train_size, image_size=size)
    if dataset.is_mnist:
        raise UserError("these data are MNIST's digits: leave out --dataset and --data-dir")
    dataset = prepare_dataset(dataset, image_size=size, train_size=arguments.train_size)
    space = load_own_network(arguments.features, dataset) if arguments.features else None
    return evaluate_own(_counted(draws), dataset, space=space, quick=arguments.quick)


def _counted(draws: list[np.ndarray]) -> Iterator[np.ndarray]:
    return in_stage(draws, "scoring the samples", len(draws))


if __name__ == "__main__":
    main()
