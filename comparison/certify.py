"""Finds the parity certificate of a finished comparison, or has a quick one made."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from common.options import RunOptions
from comparison.certified import CERTIFICATE, identity_of_runs
from comparison.parity.certificate import identity_hash
from comparison.recorded_run import FRAMEWORK_NAMES, read_run
from comparison.runs import Children, child_flags

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
    if _holds(path):
        console.print("Parity: this configuration is certified already", highlight=False)
    else:
        console.print("Parity: climbing the quick ladder, once for this configuration", highlight=False)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            climbed = _climb(options, path, console)
        except OSError as error:
            console.print(f"Parity: no certificate was made: {error}", style="red", highlight=False)
            return
        if not climbed:
            return
        verdict = "every rung holds" if _holds(path) else "NOT every rung holds; see the report"
        console.print(f"Parity: {verdict}", highlight=False)
    shutil.copyfile(path, folder / CERTIFICATE)


def _holds(path: Path) -> bool:
    """Whether there is a certificate that can be read and holds; any other is made again."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))["holds"] is True
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def _climb(options: RunOptions, path: Path, console: Console) -> bool:
    with Children() as children:
        process = children.start(
            parity_command(options, path), options.num_threads, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        errors = process.communicate()[1]
        children.check()
    if process.returncode in CLIMBED and path.exists():
        return True
    reason = (errors.strip().splitlines() or [f"it ended with code {process.returncode}"])[-1]
    console.print(f"Parity: no certificate was made: {reason}", style="red", highlight=False)
    return False


def parity_command(options: RunOptions, path: Path) -> list[str]:
    """The ladder for exactly these runs; it can be typed by hand too."""
    return [sys.executable, "-m", "compare", "parity", "--quick", *child_flags(options), f"--json={path}"]
