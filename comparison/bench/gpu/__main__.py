"""python -m comparison.bench.gpu [--json FILE]: measure the first GPU; `make gpu` does it."""

import sys
from dataclasses import dataclass
from pathlib import Path

from common.console import make_console
from common.errors import UserError, report_errors
from common.options import check_result_file, parse
from common.records.accelerator import describe_accelerator
from common.records.environment import default_num_threads
from comparison.bench.gpu.parts import parts
from comparison.bench.gpu.session import Session
from comparison.processes import Children

MAX_SECONDS = 9 * 60


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure everything that there is to measure on a GPU; started again with the same file, it goes on."""

    json: Path = Path("gpu.json")
    """Where the measurements go; what is there already is not measured again."""
    seconds: float = MAX_SECONDS
    """How long this call may take."""
    rehearse: bool = False
    """Measure a few parts on the CPU, at sizes that show only that they work."""


def main() -> int:
    """0 once all is measured, 3 if time did not allow all of it."""
    options = parse(Options, sys.argv[1:], program="python -m comparison.bench.gpu")
    check_result_file(options.json)
    if not options.rehearse and not describe_accelerator("gpu"):
        raise UserError("no NVIDIA driver answers here (nvidia-smi): pass --rehearse to see the parts on a CPU")
    console = make_console()
    with Children() as children:
        session = Session(
            path=options.json,
            device="cpu" if options.rehearse else "gpu",
            is_rehearsal=options.rehearse,
            num_threads=default_num_threads(),
            seconds=options.seconds,
            children=children,
            say=lambda line: console.print(line, soft_wrap=True, highlight=False),
        )
        record = session.run(parts(is_rehearsal=options.rehearse))
    failed = [name for name, found in record["parts"].items() if "failed" in found]
    console.print(f"{len(record['parts'])} parts are in {options.json}, {len(failed)} of them failed", soft_wrap=True)
    if record["left_out"]:
        console.print(f"{len(record['left_out'])} parts are left: call it again to go on", soft_wrap=True)
    return 3 if record["left_out"] else 0


if __name__ == "__main__":
    sys.exit(report_errors("comparison.bench.gpu", main))
