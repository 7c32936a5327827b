"""Exit codes and one-line errors, the same for every command of the project."""

import signal
import sys
from collections.abc import Callable, Sequence

from rich.console import Console

from common.errors import RunFailedError, UserError
from common.options import RunOptions, parse_options
from common.run import Implementation, run_training


def standalone(framework: str, load_implementation: Callable[[], Implementation], arguments: Sequence[str]) -> int:
    """`python -m torch_impl` or `python -m jax_impl`: one framework's run; returns the exit code."""
    program = f"python -m {framework}_impl"

    def command() -> int:
        description = f"Train the DCGAN in {framework} alone; the same flags as compare.py."
        options: RunOptions = parse_options(arguments, program=program, description=description)
        return run_training(framework, load_implementation, options, Console())

    return report_errors(program, command)


def report_errors(program: str, command: Callable[[], int]) -> int:
    """0 if all went well, 2 for what the user can mend, 1 for a failed run, 130 after Ctrl-C: never a traceback."""
    try:
        return command()
    except UserError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2
    except (RunFailedError, OSError) as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{program}: stopped at once; the last complete epoch is kept", file=sys.stderr)
        return 128 + signal.SIGINT
