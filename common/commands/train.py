"""`train`, which is what `python -m torch_impl` does without a command: one run, recorded in a folder."""

from common.commands.dispatch import Twin
from common.options import RunOptions


def main(options: RunOptions, twin: Twin) -> int:
    """Train, sample, score and record; returns the exit code."""
    from common.stages import stage_console
    from common.training.run import run_training
    from common.training.turns import turns_of_this_process

    return run_training(twin.name, twin.load_framework, options, stage_console(), turns_of_this_process())
