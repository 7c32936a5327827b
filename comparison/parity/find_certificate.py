"""Finds the parity certificate of a finished comparison, or has a quick one made."""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from common.options import RunOptions
from common.records.recorded_run import FRAMEWORK_NAMES, read_run
from comparison.parity.certificate import CERTIFICATE, identity_hash, identity_of_runs
from comparison.processes import Children, child_flags, last_words

STORE = "certificates"
CLIMBED = (0, 1)  # exit codes of a ladder that was climbed to the end


def certify(options: RunOptions, folder: Path, console: Console) -> None:
    """Put the certificate of the two runs in `folder` beside them; without one the report prints no ratio.

    Certificates are kept beside the comparisons: runs of one configuration share one.
    """
    runs = {name: run for name in FRAMEWORK_NAMES if (run := read_run(folder / name, name)) is not None}
    identity = identity_of_runs(runs)
    if identity is None:
        console.print("Parity: not certified, since the two runs did not have the same conditions", highlight=False)
        return
    if options.config.precision == "bfloat16":
        console.print("Parity: the ladder compares float64 and float32; bfloat16 has no certificate", highlight=False)
        return
    path = folder.parent / STORE / f"{identity_hash(identity)}.json"
    if certificate_holds(path):
        console.print("Parity: this configuration is certified already", highlight=False)
    else:
        console.print("Parity: climbing the quick ladder, once for this configuration", highlight=False)
        try:
            with Children() as children:
                reason = climb_quickly(child_flags(options), path, children, num_threads=options.num_threads)
        except OSError as error:
            reason = str(error)
        if reason is not None:
            console.print(f"Parity: no certificate was made: {reason}", style="red", highlight=False, markup=False)
            return
        verdict = "every rung holds" if certificate_holds(path) else "NOT every rung holds; see the report"
        console.print(f"Parity: {verdict}", highlight=False)
    shutil.copyfile(path, folder / CERTIFICATE)


def certificate_holds(path: Path) -> bool:
    """Whether there is a certificate that can be read and holds; any other is made again."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))["holds"] is True
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def climb_quickly(flags: Sequence[str], path: Path, children: Children, *, num_threads: int) -> str | None:
    """Have the ladder of a configuration leave its certificate at `path`; returns the reason if there is none then."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    process = children.start(
        parity_command(flags, path), num_threads, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    errors = process.communicate()[1]
    children.check()
    return None if process.returncode in CLIMBED and path.exists() else last_words(process, errors)


def parity_command(flags: Sequence[str], path: Path) -> list[str]:
    """The ladder for exactly these runs; it can be typed by hand too."""
    return [sys.executable, "-m", "compare", "parity", "--quick", *flags, f"--json={path}"]
