"""How long compilation takes, told by the framework itself. Mirrors torch_impl/compilation.py."""

from collections.abc import Callable

import jax

_COMPILE_EVENTS = "/jax/core/compile/"  # tracing, lowering, and compiling or reading from the persistent cache


def watch_compilation() -> Callable[[], float]:
    """Watch from now on; the call that comes back ends it and gives the seconds in which something was compiled."""
    spans: list[tuple[float, float]] = []

    def note(event: str, start_time: float, end_time: float, **_: str | int) -> None:
        if event.startswith(_COMPILE_EVENTS):
            spans.append((start_time, end_time))

    jax.monitoring.register_event_time_span_listener(note)

    def stop() -> float:
        jax.monitoring.unregister_event_time_span_listener(note)
        # A span may lie within another, as what is compiled while something is traced: no time counts twice.
        seconds, covered_until = 0.0, 0.0
        for start, end in sorted(spans):
            seconds += max(end - max(start, covered_until), 0.0)
            covered_until = max(covered_until, end)
        return seconds

    return stop
