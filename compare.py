"""Compare PyTorch and JAX: `python compare.py --epochs 10` trains the same DCGAN in both and writes one report."""

import sys

from common.errors import report_errors


def main() -> int:
    """Import only once Ctrl-C is a clean end."""
    from comparison.commands.dispatch import run_command

    return run_command(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(report_errors("python compare.py", main))
