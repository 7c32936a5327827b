"""The commands of compare.py, and where each is."""

from collections.abc import Sequence

from common.commands import dispatch
from common.commands.dispatch import Command

PROGRAM = "python compare.py"
DESCRIPTION = "One DCGAN in PyTorch and in JAX: prove that both are the same, train both, and report them side by side."
COMMANDS = {
    "run": Command("comparison.commands.run", "CompareOptions", "train both frameworks and report"),
    "report": Command("comparison.commands.report", "ReportOptions", "write the report of a folder again"),
    "parity": Command("comparison.commands.parity", "ParityOptions", "check that both are the same GAN"),
    "diff": Command("comparison.commands.diff", "DiffOptions", "say where two checkpoints, or any two modules, part"),
    "convert": Command("comparison.commands.convert", "ConvertOptions", "take a checkpoint elsewhere, or back"),
    "bench": Command("comparison.commands.bench", "BenchOptions", "time a step so that the ratio can be trusted"),
    "study": Command("comparison.commands.study", "StudyOptions", "train many seeds: is the quality the same?"),
    "inception": Command("comparison.commands.inception", "InceptionOptions", "score samples as published values are"),
}


def run_command(arguments: Sequence[str]) -> int:
    """Start the command that the first word names; returns the exit code."""
    return dispatch.run_command(arguments, COMMANDS, program=PROGRAM, description=DESCRIPTION)
