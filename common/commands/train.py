"""`train`, which is what `python -m torch_impl` does without a command: one run, recorded in a folder."""

from dataclasses import replace

from common.commands.dispatch import Twin
from common.console import printable
from common.options import RunOptions


def main(options: RunOptions, twin: Twin) -> int:
    """Train, sample, score and record; returns the exit code."""
    from common.records.folder import CONFIG_FILE, FRAMEWORK_NAMES, is_finished
    from common.records.origin import check_own_run
    from common.stages import stage_console
    from common.training.run import run_training
    from common.training.turns import turns_of_this_process

    console = stage_console()
    run = options.folder / twin.name
    if options.go_on and (run / CONFIG_FILE).exists():
        check_own_run(options.config, run, twin.name)
        if is_finished(run):
            console.print(f"{FRAMEWORK_NAMES[twin.name]}: {printable(str(run))} is finished", soft_wrap=True)
            return 0
        options = replace(options, go_on=False, output=None, resume=run)
    return run_training(twin.name, twin.load_framework, options, console, turns_of_this_process())
