"""The four cards at the top of the page, and the scale of quality: numbers as dots on a line, and what they mean."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from common.evaluation.calibration import in_order
from common.evaluation.catalogue import METRICS
from common.records.recorded_run import FRAMEWORK_NAMES
from comparison.report.quality import HEADLINE, Sets, headline_scores, measured
from comparison.text import SHORT_NAMES, duration, memory, number


class Dots(NamedTuple):
    """One line of a dot plot: its dots and its span in percent of the line, and the same in words."""

    label: str
    key: str  # a colour of the palette
    text: str
    points: Sequence[float] = ()
    span: Sequence[float] = ()  # from, to


class Card(NamedTuple):
    """A number of each framework on one scale."""

    title: str
    unit: str  # what the line of the dots is
    rows: list[Dots]
    meaning: str


def cards(results: Mapping[str, Any]) -> list[Card]:
    """Speed, start-up, memory, quality; a run that did not come so far has a line without dots."""
    frameworks = {name: found for name, found in results["frameworks"].items() if found is not None}
    return [_speed(results, frameworks), _start_up(results, frameworks), _memory(frameworks), _quality(frameworks)]


def start_up_seconds(framework: Mapping[str, Any], batch_size: int) -> float | None:
    """Import, data, networks, and what the first chunk takes beyond a steady one: until training has its speed."""
    speed, first_chunk = framework["steady_images_per_second"], framework["first_chunk_seconds"]
    parts = [framework[name] for name in ("import_seconds", "data_loading_seconds", "build_seconds")]
    if speed is None or first_chunk is None or None in parts:
        return None
    steady = framework["chunk_size"] * batch_size / speed["median"]
    return sum(parts) + max(first_chunk - steady, 0.0)


def _speed(results: Mapping[str, Any], frameworks: Mapping[str, Any]) -> Card:
    speeds = {name: found["steady_images_per_second"] for name, found in frameworks.items()}
    highest = max((speed["high"] for speed in speeds.values() if speed), default=1)
    by_round = list(zip(*results.get("paired_images_per_second", ()), strict=True))
    rows = []
    for index, (name, speed) in enumerate(speeds.items()):
        points = by_round[index] if len(by_round) == len(speeds) else [speed["median"]] if speed else []
        span = [100 * speed[end] / highest for end in ("low", "high")] if speed else []
        text = number(speed["median"]) if speed else "not measured"
        rows.append(Dots(SHORT_NAMES[name], name, text, [100 * min(p / highest, 1) for p in points], span))
    dots = "each dot one epoch in turn" if by_round else "dot: median"
    unit = f"0 to {number(highest)} images per second; {dots}, bar: all chunks"
    found = results["images_per_second_ratio"]
    if results["why_no_ratio"]:
        meaning = "These speeds must not be compared: see the verdict."
    elif found["torch/jax"].get("num_rounds", 0) == 0:
        once = "Each had one turn alone" if by_round else "Each was measured once, not in turn"
        meaning = f"{once}. So the gap may come from what else the machine did."
    elif found["torch/jax"]["low"] <= 1 <= found["torch/jax"]["high"]:
        meaning = "The interval of the ratio contains 1, so this run does not tell which is faster."
    else:
        meaning = f"{_better(speeds, lambda speed: -speed['median'])} was faster in this run, on this machine."
    return Card("Speed", unit, rows, meaning)


def _start_up(results: Mapping[str, Any], frameworks: Mapping[str, Any]) -> Card:
    batch_size = results["config"]["batch_size"]
    seconds = {name: start_up_seconds(found, batch_size) for name, found in frameworks.items()}
    known = [each for each in seconds.values() if each is not None]
    meaning = "Import, data, networks and compilation, before training has its speed."
    if len(known) == 2 and max(known) > min(known):
        first = _better(seconds, lambda each: each)
        meaning += f" {first} is ready {duration(max(known) - min(known))} earlier (n = 1)."
    return Card("Start-up", _scale(known, duration), _from_zero(seconds, duration), meaning)


def _memory(frameworks: Mapping[str, Any]) -> Card:
    found = {name: each["peak_memory_bytes"] for name, each in frameworks.items()}
    known = [each for each in found.values() if each is not None]
    meaning = "The most that the whole process held, its framework and the data included."
    if len(known) == 2 and max(known) > min(known):
        meaning += f" {_better(found, lambda each: each)} needs {memory(max(known) - min(known))} less (n = 1)."
    return Card("Memory", _scale(known, memory), _from_zero(found, memory), meaning)


def _quality(frameworks: Mapping[str, Any]) -> Card:
    scores = headline_scores(frameworks)
    values = {name: scores[name]["value"] if name in scores else None for name in frameworks}
    texts = {name: measured(score["value"], score.get("spread")) for name, score in scores.items()}
    floor = next((score.get("floor") for score in scores.values()), None)
    everything = values | ({"real": floor} if floor is not None else {})
    rows = [row._replace(text=texts.get(row.key, row.text)) for row in _from_zero(everything, number)]
    meaning = "Fréchet distance to real images: lower is better."
    spreads = [score["spread"] for score in scores.values() if score.get("spread") is not None]
    if len(spreads) == 2:
        first, second = (score["value"] for score in scores.values())
        meaning += (
            " Each was trained once: other seeds may differ as much."
            if abs(first - second) > sum(spreads)
            else " The two differ by no more than draws of one generator do."
        )
    known = [value for value in everything.values() if value is not None]
    return Card("Quality", _scale(known, number), rows, meaning)


def _scale(known: Sequence[Any], text: Any) -> str:
    """From where to where a line goes; nothing where there are no dots."""
    return f"0 to {text(max(known))}" if known else ""


def _from_zero(values: Mapping[str, float | None], text: Any) -> list[Dots]:
    """A line for each value, all on one scale from zero."""
    highest = max((value for value in values.values() if value is not None), default=0) or 1
    return [
        Dots(
            SHORT_NAMES.get(name, "real images"),
            name,
            "not measured" if value is None else text(value),
            [] if value is None else [100 * max(value, 0) / highest],
        )
        for name, value in values.items()
    ]


def _better(values: Mapping[str, Any], key: Any) -> str:
    """The framework with the lower key."""
    return SHORT_NAMES[min(values, key=lambda name: key(values[name]))]


def quality_scale(sets: Sets) -> list[Dots]:
    """Lines from the worst set to real digits, by the Fréchet distance on a logarithmic scale."""
    known = {name: value for name, row in in_order(sets).items() if (value := row.get(HEADLINE))}
    if len(known) < 2:
        return []
    low, high = (math.log(pick(known.values())) for pick in (min, max))
    keys = {name: key for key, name in FRAMEWORK_NAMES.items()}
    rows = [
        Dots(
            name,
            keys.get(name, "real" if name.startswith("real ") else "soft"),
            number(value),
            [100 * (high - math.log(value)) / (high - low or 1)],
        )
        for name, value in known.items()
    ]
    return rows[::-1]


def title_of_scale() -> str:
    """What the scale is of."""
    return METRICS[HEADLINE].title
