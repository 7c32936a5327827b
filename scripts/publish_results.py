"""python scripts/publish_results.py RUNS/NAME: make this comparison the one that docs/results and the README show."""

import sys
from pathlib import Path

from common.command import report_errors
from comparison.publish import publish

ROOT = Path(__file__).parents[1]


def main() -> int:
    """Publish the folder named on the command line."""
    folder = Path(sys.argv[1])
    publish(folder, ROOT / "docs" / "results" / "default", ROOT / "README.md")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python scripts/publish_results.py FOLDER")
    sys.exit(report_errors("publish_results.py", main))
