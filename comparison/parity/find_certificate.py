"""Finds the certificate of a configuration among those kept beside the comparisons, or has a quick ladder make it."""

import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.options import RunOptions
from common.records.checkpoint import list_checkpoints
from common.records.folder import CHECKPOINTS, PARITY_FILE, read_json, write_atomically
from common.records.recorded_run import FRAMEWORK_NAMES, read_run
from comparison.parity.arms import Arm
from comparison.parity.certificate import Certificate, why_not_certifiable
from comparison.parity.identity import identity_hash, identity_of_runs
from comparison.processes import Children, child_flags

STORE = "certificates"  # a folder in runs/, beside the comparisons, or in one of them
CLIMBED = (0, 1)  # exit codes of a ladder that was climbed to the end
Say = Callable[[str], None]


def certify(
    identity: Mapping[str, Any],
    stores: Sequence[Path],
    children: Children,
    say: Say,
    *,
    flags: Sequence[str],
    num_threads: int,
    arm: Arm | None = None,
    checkpoint: Path | None = None,
    before_climbing: Callable[[], object] = lambda: None,
) -> Certificate:
    """What is kept for this identity and holds, or what a quick ladder with these flags finds now.

    One that has not gone on from any run's last checkpoint is not enough for a run that has one. It is kept in the
    first of the folders that can be written: the one beside a container's volume cannot.
    """
    form = arm if arm and arm.certified_as else None
    what, by = (form.name, form.kind) if form else ("this configuration", "ladder")
    name = f"{identity_hash(identity)}-{form.certified_as}" if form else identity_hash(identity)
    paths = [folder / STORE / f"{name}.json" for folder in stores]
    is_enough = partial(_holds, went_on=checkpoint is not None)
    path = next(filter(is_enough, paths), None) or next(filter(_is_writable, paths), paths[0])
    if not is_enough(path):
        before_climbing()
        say(f"Parity: climbing the quick {by}, once for {what}")
        flags = [
            *flags,
            *([f"--arm={form.name}"] if form else []),
            *([f"--checkpoint={checkpoint}"] if checkpoint else []),
        ]
        try:
            reason = climb_quickly(flags, path, children, num_threads=num_threads)
        except OSError as error:
            reason = str(error)
        if reason is not None:
            return Certificate(False, f"no certificate was made: {reason}")
    if not _holds(path):
        return Certificate(False, f"parity does not hold for {what}", path)
    return Certificate(True, f"{what} is certified by the {by} ({path.stem[:12]})", path)


def certify_runs(
    options: RunOptions, folder: Path, say: Say, *, before_climbing: Callable[[], object] = lambda: None
) -> None:
    """Put the certificate of the two runs in `folder` beside them; without one the report prints no ratio.

    A ladder takes minutes: `before_climbing` is called only if there must be one.
    """
    runs = {name: run for name in FRAMEWORK_NAMES if (run := read_run(folder / name, name)) is not None}
    identity = identity_of_runs(runs)
    if reason := why_not_certifiable(runs):
        say(f"Parity: not certified: {reason}")
    elif identity is None:
        say("Parity: not certified, since the two runs did not have the same conditions")
    elif options.config.precision == "bfloat16":
        say("Parity: the ladder compares float64 and float32; bfloat16 has no certificate")
    else:
        with Children() as children:
            flags = child_flags(options)
            stores = [folder.parent, folder]
            found = certify(
                identity,
                stores,
                children,
                say,
                flags=flags,
                num_threads=options.num_threads,
                checkpoint=_last_checkpoint(folder),
                before_climbing=before_climbing,
            )
        say(f"Parity: {found.reason}")
        if found.path is not None:
            write_atomically(folder / PARITY_FILE, found.path.read_bytes())


def climb_quickly(flags: Sequence[str], path: Path, children: Children, *, num_threads: int) -> str | None:
    """Have the ladder of a configuration leave its certificate at `path`; returns the reason if there is none then."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    ended = children.run(parity_command(flags, path), num_threads)
    return None if ended.code in CLIMBED and path.exists() else ended.last_words


def parity_command(flags: Sequence[str], path: Path) -> list[str]:
    """The ladder for exactly these runs; it can be typed by hand too."""
    return [sys.executable, "-m", "compare", "parity", "--quick", *flags, f"--json={path}"]


def _is_writable(path: Path) -> bool:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError:
        return False
    return True


def _last_checkpoint(folder: Path) -> Path | None:
    """PyTorch's, which the ladder takes as its reference; None where the run keeps none any more."""
    found = list_checkpoints(folder / "torch" / CHECKPOINTS)
    return found[-1] if found else None


def _holds(path: Path, *, went_on: bool = False) -> bool:
    """Whether there is a certificate that can be read and holds; any other is made again."""
    try:
        found = read_json(path, kind=PARITY_FILE)
    except (OSError, UserError):
        return False
    return found.get("holds") is True and (not went_on or found.get("went_on_from_checkpoint") is True)
