"""The commands of compare.py, and where each is."""

from collections.abc import Sequence

from common.commands import dispatch
from common.commands.dispatch import LIST, Command

PROGRAM = "python compare.py"
DESCRIPTION = "One DCGAN in PyTorch and in JAX: prove them the same, train both, compare both."
COMMANDS = {
    "run": Command(
        "comparison.commands.run",
        "CompareOptions",
        "train both frameworks and report",
        {
            "--preset smoke": "see everything work",
            "": "the full comparison",
            "--epochs 2 --seed 1": "shorter, with other numbers",
        },
    ),
    "report": Command("comparison.commands.report", "ReportOptions", "write the report of a folder again"),
    "parity": Command(
        "comparison.commands.parity",
        "ParityOptions",
        "check that both are the same GAN",
        {"parity --preset smoke --quick": "the quick ladder of checks"},
    ),
    "diff": Command(
        "comparison.commands.diff",
        "DiffOptions",
        "say where two checkpoints, or any two modules, part",
        {
            "diff runs/A/torch runs/A/jax": "two runs",
            "diff my_torch.py:build my_flax.py:build": "any two modules",
        },
    ),
    "convert": Command(
        "comparison.commands.convert",
        "ConvertOptions",
        "take a checkpoint elsewhere, or back",
        {"convert runs/A/jax --to onnx": "for onnxruntime"},
    ),
    "bench": Command(
        "comparison.commands.bench",
        "BenchOptions",
        "time a step so that the ratio can be trusted",
        {
            "bench": "both, as taught and as tuned",
            "bench --arms torch,jax": "the tuned forms only",
            "bench --neighbours 2": "beside two busy programs",
        },
    ),
    "study": Command("comparison.commands.study", "StudyOptions", "train many seeds: is the quality the same?"),
    "inception": Command("comparison.commands.inception", "InceptionOptions", "score samples as published values are"),
    "list": LIST,
}


def run_command(arguments: Sequence[str]) -> int:
    """Start the command that the first word names; returns the exit code."""
    return dispatch.run_command(arguments, COMMANDS, program=PROGRAM, description=DESCRIPTION)
