"""What a study is going to do, written and hashed before its first run: nobody can choose afterwards."""

import hashlib
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from common.config import differing_fields, to_dict
from common.errors import UserError
from common.evaluation.catalogue import METRICS
from common.networks.presets import PRESETS
from common.options import RunOptions, parse
from common.records.environment import commit
from common.records.folder import FRAMEWORK_NAMES, is_blank, read_json, write_json
from common.safe_read import one_line
from comparison.study.statistics import ALPHA

PLAN_FILE = "plan.json"
# None is one standard deviation over seeds. The first metric that a run has is the primary one.
MARGINS = {"coverage": 0.01, "frechet_distance": None, "mnist_score": None, "class_kl": None}
WANTED_POWER = 0.9
TEST = (
    "The difference, PyTorch minus JAX, is taken seed by seed. A metric is equivalent if two one-sided t-tests show "
    "that the mean difference lies within the margin, different if a paired t-test shows that it is not 0, and "
    f"undecided otherwise, each at {100 * ALPHA:g} %. A margin of one seed-sd is the standard deviation over seeds, "
    "pooled over both frameworks, less its own uncertainty."
)
MULTIPLICITY = "For each metric, Holm's correction over the presets. None over metrics: the first one is the primary."
STOPPING_RULE = (
    "Every seed is run in both frameworks, and nothing is compared before the last run is finished. Reserve seeds are "
    "run, all of them, just if the spread of the other pairs' differences in the primary metric gives the test less "
    f"than {100 * WANTED_POWER:g} % power at a true difference of 0, in any preset; the mean difference is not used."
)
EXCLUSIONS = (
    "None. A run that fails goes on from its last checkpoint. A collapsed run counts; if it cannot be scored at all, "
    "its coverage is 0 and metrics without a value are undecided."
)
OWN_FLAGS = ("--preset", "--seed", "--output", "--resume", "--go-on", "--dry-run")
MAX_SEEDS = 1_000


class StudyRun(NamedTuple):
    """One run of a study: two of the same preset and seed are a pair, and lie in one comparison's folder."""

    preset: str
    seed: int
    framework: str

    @property
    def folder(self) -> Path:
        """Seen from the study's folder."""
        return Path(self.preset) / f"seed{self.seed}" / self.framework

    @property
    def name(self) -> str:
        """`dcgan32, seed 10, torch`."""
        return f"{self.preset}, seed {self.seed}, {self.framework}"


@dataclass(frozen=True)
class Plan:
    """plan.json, read or just made; `content` is what is hashed."""

    content: dict[str, Any]
    written_at: str

    @property
    def sha256(self) -> str:
        """Of the content, whatever the order of its fields."""
        return hashlib.sha256(json.dumps(self.content, sort_keys=True).encode()).hexdigest()

    @property
    def presets(self) -> list[str]:
        """Their names, in order."""
        return list(self.content["presets"])

    @property
    def margins(self) -> dict[str, float | None]:
        """By metric, the primary one first; None is one seed-sd."""
        return self.content["margins"]

    @property
    def primary(self) -> str:
        """The metric that the study is made for."""
        return next(iter(self.margins))

    @property
    def seeds(self) -> list[int]:
        """Those that are run in any case."""
        return self.content["seeds"]

    @property
    def reserve_seeds(self) -> list[int]:
        """Those that are run if the spread asks for them."""
        return self.content["reserve_seeds"]

    def runs(self, seeds: Sequence[int]) -> Iterator[StudyRun]:
        """Pair by pair, so that a study that is stopped has whole pairs."""
        for preset in self.presets:
            for seed in seeds:
                for framework in FRAMEWORK_NAMES:
                    yield StudyRun(preset, seed, framework)


def make_plan(presets: str, seeds: str, reserve_seeds: str, flags: str) -> tuple[Plan, RunOptions]:
    """What these words ask for, and the options of one of its runs; UserError if they ask for no study."""
    names = [name for name in presets.split(",") if name]
    if unknown := [name for name in names if name not in PRESETS] or len({*names}) < len(names) or not names:
        what = f"{unknown[0]} is unknown" if isinstance(unknown, list) else f"{presets} names none, or one twice"
        raise UserError(f"--presets: {what}: choose of {', '.join(PRESETS)}, comma-separated")
    regular, reserve = parse_seeds("--seeds", seeds), parse_seeds("--reserve-seeds", reserve_seeds)
    if len(regular) < 2 or {*regular} & {*reserve}:
        raise UserError("--seeds: name two seeds at least, none of them in --reserve-seeds: 10-29, or 1,5,7-9")
    options = [run_options(preset, flags) for preset in names]
    if any(option.config.dataset != "mnist" for option in options):
        raise UserError("a study compares scores of digits: leave out --dataset")
    quick = options[0].quick_scoring
    configs = {option.config.preset: to_dict(option.config) for option in options}
    for config in configs.values():
        del config["seed"]
    content = {
        "presets": configs,
        "seeds": regular,
        "reserve_seeds": reserve,
        "margins": {name: margin for name, margin in MARGINS.items() if not quick or METRICS[name].is_quick},
        "draws": options[0].draws,
        "quick_scoring": quick,
        "test": TEST,
        "multiplicity": MULTIPLICITY,
        "stopping_rule": STOPPING_RULE,
        "exclusions": EXCLUSIONS,
        "commit": commit() or "",
    }
    return Plan(content, datetime.now(UTC).isoformat(timespec="seconds")), options[0]


def parse_seeds(flag: str, words: str) -> list[int]:
    """`10-12,20` is 10, 11, 12 and 20."""
    found: list[int] = []
    for part in filter(None, words.split(",")):
        first, _, last = part.partition("-")
        if not (first.isdecimal() and (last.isdecimal() or last == "")) or int(last or first) - int(first) > MAX_SEEDS:
            raise UserError(f"{flag}: {part} is no seed: name them like 10-29, or 1,5,7-9")
        found += range(int(first), int(last or first) + 1)
    if len({*found}) < len(found) or len(found) > MAX_SEEDS:
        raise UserError(f"{flag}: {words} names a seed twice, or more than {MAX_SEEDS:,}")
    return found


def run_options(preset: str, flags: str) -> RunOptions:
    """Of each run of a preset, with what --flags adds."""
    words = shlex.split(flags)
    if own := [word for word in words if word.partition("=")[0] in OWN_FLAGS]:
        raise UserError(f"--flags: {own[0]} is for the study to say: leave it out")
    return parse(RunOptions, [f"--preset={preset}", *words], program="python -m torch_impl train")


def keep_plan(plan: Plan, folder: Path) -> Plan:
    """Write the plan into a folder that has none, or find it there; UserError if another one is there.

    The commit may be a later one: the report says whether what trains has changed.
    """
    path = folder / PLAN_FILE
    if (kept := read_plan(folder)) is None:
        if folder.exists() and not is_blank(folder):
            raise UserError(f"{one_line(folder)} holds something else than a study: choose another --output")
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, {"plan": plan.content, "sha256": plan.sha256, "written_at": plan.written_at})
        return plan
    if fields := differing_fields(kept.content, plan.content | {"commit": kept.content["commit"]}):
        pairs = ", ".join(f"{name} ({_brief(kept, name)} / {_brief(plan, name)})" for name in fields)
        raise UserError(f"{one_line(folder)} holds a study of another plan: {pairs}; choose another --output")
    return kept


def read_plan(folder: Path) -> Plan | None:
    """None if there is none; UserError if it was edited since it was hashed."""
    if not (found := read_json(folder / PLAN_FILE)):
        return None
    plan = Plan(found["plan"], found["written_at"])
    if plan.sha256 != found["sha256"]:
        raise UserError(f"{one_line(folder / PLAN_FILE)} was edited after it was written: a study keeps to its plan")
    return plan


def _brief(plan: Plan, field: str) -> str:
    value = plan.content.get(field)
    if isinstance(value, Mapping):
        return ", ".join(map(str, value))
    return one_line(value)[:80]
