"""How long compilation takes, told by the framework itself. Mirrors jax_impl/compilation.py."""

import sys
import time
from collections.abc import Callable


def watch_compilation() -> Callable[[], float]:
    """Watch from now on; the call that comes back ends it and gives the seconds in which something was compiled."""
    # Importing Dynamo takes seconds. `Module.compile` does it: before, PyTorch compiles nothing.
    if "torch._dynamo" not in sys.modules:
        return lambda: 0.0
    from torch._dynamo.callback import callback_handler

    spans: list[tuple[float, float]] = []
    started = [0.0]

    def note_start(_: object) -> None:
        started[0] = time.perf_counter()

    def note_end(_: object) -> None:
        spans.append((started[0], time.perf_counter()))  # Dynamo tells of the outermost compilation alone

    callback_handler.register_start_callback(note_start)
    callback_handler.register_end_callback(note_end)

    def stop() -> float:
        callback_handler.remove_start_callback(note_start)
        callback_handler.remove_end_callback(note_end)
        return sum(end - start for start, end in spans)

    return stop
