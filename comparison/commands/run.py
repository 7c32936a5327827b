"""`python compare.py`, or `python compare.py run`: train both frameworks, certify that they are equal, and report."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from rich.console import Console

from common.console import printable
from common.errors import RunFailedError, Stopped, UserError
from common.options import RunOptions
from common.records.environment import own_command
from common.records.folder import (
    COMPARISON_FILE,
    CONFIG_FILE,
    FRAMEWORK_NAMES,
    LOSSES_FILE,
    PARITY_FILE,
    check_writable,
)
from common.stages import stage_console
from comparison.commands.report import show_report
from comparison.processes import Children
from comparison.run_both import FRAMEWORKS, begun_halves, check_both, run_both, unfinished_halves


@dataclass(frozen=True, kw_only=True)
class CompareOptions(RunOptions):
    """Train the same DCGAN in PyTorch and in JAX, and report them side by side."""

    certify: bool = True
    """Skip the parity check, and give no speed ratio. It takes minutes after training, once a configuration."""
    turns: Literal["on", "off"] = "on"
    """on: both train epoch by epoch in turns. The speed ratio is then of epochs of the same round. Both stay in memory,
    which takes about twice as much. off: JAX begins when PyTorch is done. --resume does not remember it."""


def main(options: CompareOptions) -> int:
    """Train both frameworks, then report; if one did not get through, report on whatever there is."""
    folder, console = options.folder, stage_console()
    if options.go_on and begun_halves(options, folder):
        if not unfinished_halves(options, folder) and _is_reported(options, folder):
            console.print(f"{printable(str(folder))} is finished", soft_wrap=True)
            return 0
        options = replace(options, go_on=False, output=None, resume=folder)
    if options.resume is not None:
        if options.output is not None or not options.resume.is_dir():
            raise UserError("--resume takes the folder of a comparison, like runs/NAME, and goes on in it: no --output")
        folder = options.resume

    from common.trackers import check_tracker, log_run
    from common.training.prepare import load_training_data, what_would_be_trained
    from comparison.parity.find_certificate import certify_runs

    check_tracker(options.log_to)
    dataset = load_training_data(options)
    if options.dry_run:
        unfinished_halves(options, folder)
        check_writable(folder)
        with Children() as children:
            for framework, device in check_both(options, children).items():
                console.print(f"{FRAMEWORK_NAMES[framework]}: {device}")
        console.print(what_would_be_trained(dataset, options.config), soft_wrap=True)
        return 0
    try:
        code = run_both(options, folder, turns=options.turns == "on", console=console)
    except RunFailedError:
        if any((folder / framework / LOSSES_FILE).exists() for framework in FRAMEWORKS):
            show_report(folder, dataset, console)
        raise
    except Stopped:
        say_how_to_go_on(folder, console)
        raise
    if code == 0:
        if options.certify:
            report_so_far = partial(show_report, folder, dataset, console)  # nobody waits minutes to see samples
            certify_runs(options, folder, partial(console.print, soft_wrap=True), before_climbing=report_so_far)
        show_report(folder, dataset, console)
        if options.log_to is not None:
            shown_by = [log_run(folder / framework, framework, options.log_to) for framework in FRAMEWORKS]
            console.print(f"Logged; show both with: {shown_by[0]}", soft_wrap=True)
    else:
        say_how_to_go_on(folder, console)
    return code


def _is_reported(options: CompareOptions, folder: Path) -> bool:
    """Whether the report is that of both finished halves, and knows the certificate if there is to be one."""
    report, certificate = folder / COMPARISON_FILE, folder / PARITY_FILE
    if not report.exists() or not options.certify or options.config.precision == "bfloat16":
        return report.exists()
    return certificate.exists() and certificate.stat().st_mtime_ns <= report.stat().st_mtime_ns


def say_how_to_go_on(folder: Path, console: Console) -> None:
    """What to type after a comparison that was stopped, if it had begun."""
    if any((folder / framework / CONFIG_FILE).exists() for framework in FRAMEWORKS):
        go_on, show = (own_command("compare", word, folder.absolute()) for word in ("--resume", "report"))
        console.print(f"Go on with: {go_on}", soft_wrap=True)
        console.print(f"A report of what is there: {show}", soft_wrap=True)
