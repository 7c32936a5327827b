"""Exit codes and one-line errors, the same for every command. Imports nothing heavy: Ctrl-C may come early."""

import importlib
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from common.errors import RunFailedError, Stopped, UserError

if TYPE_CHECKING:
    from common.contract import Framework


# Command -> the module of common.commands whose `main` is it.
OUTPUTS = {name: name for name in ("sample", "interpolate", "arithmetic", "animate")} | {"features": "filters"}
MEASURE = "measure"  # what `compare.py bench` starts


def standalone(framework: str, load_framework: "Callable[[], Framework]", arguments: Sequence[str]) -> int:
    """`python -m torch_impl` or `python -m jax_impl`: a run, or what a checkpoint can show; returns the exit code."""
    program = f"python -m {framework}_impl"
    name = arguments[0] if arguments and not arguments[0].startswith("-") else ""

    def show() -> int:
        output = importlib.import_module(
            "common.commands.measure_step" if name == MEASURE else f"common.commands.{OUTPUTS[name]}"
        )
        return output.main(arguments[1:], program=f"{program} {name}", load_framework=load_framework)

    def command() -> int:
        from rich.console import Console

        if name not in ("", "train"):
            raise UserError(f"{name} is unknown: choose train (the default), {', '.join(OUTPUTS)}")

        from common.options import parse_options
        from common.training.run import run_training

        description = (
            f"Train the DCGAN in {framework} alone; the same flags as compare.py. "
            f"Other commands, on a trained model: {', '.join(OUTPUTS)}; see {program} COMMAND --help."
        )
        options = parse_options(arguments[bool(name) :], program=program, description=description)
        return run_training(framework, load_framework, options, Console())

    return report_errors(program, show if name in (*OUTPUTS, MEASURE) else command)


def report_errors(program: str, command: Callable[[], int]) -> int:
    """0 if all went well, 2 for what the user can mend, 1 for a failed run, 130 or 143 if told to stop."""
    try:
        return command()
    except UserError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2
    except (RunFailedError, OSError) as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        print(f"{program}: stopped", file=sys.stderr)
        return 128 + (stop.signal_number if isinstance(stop, Stopped) else signal.SIGINT)
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        reason = (str(error) or "no message").splitlines()[0]
        print(
            f"{program}: {type(error).__name__}: {reason} ({place.name}, line {place.lineno} of {place.filename}): "
            "a defect of this program, please report it",
            file=sys.stderr,
        )
        return 1
