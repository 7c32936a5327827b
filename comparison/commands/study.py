"""`python compare.py study`: many seeds in both frameworks, and whether their quality differs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from common.console import printable, say
from common.errors import UserError
from common.options import RunOptions
from common.records.environment import default_num_threads
from common.records.folder import write_json
from common.stages import stage_console
from comparison.study.engine import LOG_FILE, LOGS, check_engine, train
from comparison.study.plan import Plan, keep_plan, make_plan
from comparison.study.results import REPORT_FILE, needs_reserve, read_values, summarise

FAILED = 1


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """Train the same seeds in both frameworks and say whether their scores are equivalent, different or undecided.
    The plan is written and hashed before the first run. Give the same words again to go on after any interruption:
    finished runs are left alone, others go on from their checkpoints.
    """

    presets: str = "dcgan32"
    """Which networks, comma-separated."""
    seeds: str = "10-29"
    """Training seeds, each run in both frameworks: 10-29, or 1,5,7-9. Seeds 0 to 9 were looked at while tuning."""
    reserve_seeds: str = ""
    """Seeds that are run as well if the others' differences spread too much for a verdict; their mean is not used."""
    output: Path
    """Folder of the study: new, or that of this very plan."""
    flags: Annotated[str, tyro.conf.arg(metavar="WORDS")] = ""
    """More flags of every run, in quotes, as in --flags="--epochs 3 --precision bfloat16": all of
    `python -m torch_impl train --help` but preset, seed and folder."""
    threads: int = 1
    """CPU threads of a run: with 1, as many runs go on at once as there are cores."""
    cores: int = 0
    """Cores to use at once, 0 for all; with another executor, how many jobs at once."""
    executor: str = "local"
    """Where Snakemake runs them: local, slurm, kubernetes or another of its executor plugins, which is installed with
    pip install snakemake-executor-plugin-NAME."""
    profile: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """A Snakemake profile: memory, time, GPUs and accounts of cluster jobs stand in its config.yaml."""
    dry_run: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print what would be run, and write nothing."""

    def __post_init__(self) -> None:
        cores = default_num_threads()
        if self.executor == "local" and (not 1 <= self.threads <= cores or not 0 <= self.cores <= cores):
            raise UserError(f"--threads is {self.threads} and --cores {self.cores}: this machine has {cores}")
        if self.threads < 1 or self.cores < 0:
            raise UserError("--threads and --cores cannot be less than 1 and 0")


def main(options: StudyOptions) -> int:
    """0 once every run is finished and the report is written; 1 if a run could not be finished."""
    console = stage_console()
    plan, run_options = make_plan(options.presets, options.seeds, options.reserve_seeds, options.flags)
    check_engine()
    if options.dry_run:
        say(console, would_run(plan))
        return 0
    plan = keep_plan(plan, options.output)
    say(console, f"Plan {plan.sha256[:12]} of {plan.written_at}; give the same words again to go on if it is stopped")
    seeds = plan.seeds
    done = _train(options, plan, seeds, run_options)
    if done and plan.reserve_seeds and needs_reserve(read_values(options.output, plan, seeds), plan):
        say(console, "The differences spread too much for a verdict: the reserve seeds are run as well")
        seeds = [*plan.seeds, *plan.reserve_seeds]
        done = _train(options, plan, seeds, run_options)
    return _report(options.output, plan, seeds, console)


def would_run(plan: Plan) -> str:
    """The last words of a dry run."""
    runs = list(plan.runs(plan.seeds))
    reserve = len(list(plan.runs(plan.reserve_seeds)))
    return (
        f"{len(runs)} runs of {', '.join(plan.presets)}, {len(plan.seeds)} pairs each"
        + (f", and {reserve} more if the spread asks for them" if reserve else "")
        + f"; compared by {', '.join(plan.margins)}: checked, and nothing was written"
    )


def _train(options: StudyOptions, plan: Plan, seeds: Sequence[int], run_options: RunOptions) -> bool:
    threads = [] if "--threads" in options.flags else [f"--threads={options.threads}"]
    return train(
        options.output,
        list(plan.runs(seeds)),
        cores=options.cores,
        threads=options.threads,
        flags=" ".join([options.flags, *threads]),
        executor=options.executor,
        profile=options.profile,
    )


def _report(folder: Path, plan: Plan, seeds: Sequence[int], console: Console) -> int:
    from comparison.study.page import PAGES, verdicts, write_pages

    report = summarise(folder, plan, seeds)
    write_json(folder / REPORT_FILE, report)
    write_pages(folder, report)
    for name, why in report["unfinished"].items():
        say(console, printable(f"{name}: {why}"), style="red")
    for sentence in verdicts(report):
        say(console, f"{sentence}.", style="bold")
    if report["unfinished"]:
        places = f"{folder / LOGS}, Snakemake's own words in {folder / LOG_FILE}"
        say(console, printable(f"What the runs said is in {places}"))
        return FAILED
    say(console, printable(f"Report: {folder / PAGES[1]}"))
    return 0
