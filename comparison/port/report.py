"""What was found, in words first, then as rows, JSON and one page of HTML."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from common.console import printable
from comparison.port.compare import Result
from comparison.port.side import Finding


def sentences(result: Result) -> list[str]:
    """The verdict, and how it was reached, each part a sentence."""
    pairing, first = result.pairing, result.first
    if first is None:
        count = sum(check.torch.path != "" for check in result.passes[0].checks)
        modes = " and ".join(dict.fromkeys("training" if found.training else "eval" for found in result.passes))
        names = f"{' and '.join(dict.fromkeys(found.precision for found in result.passes))}, in {modes} mode"
        said = [f"They agree: {count} calls of modules, the outputs and every gradient, in {names}."]
    else:
        others = f"{len(result.weights)} variables differ from PyTorch's; for what follows they were copied"
        readings = [others] if first.stage == "weights" else first.readings
        cause = [f"Likely cause, found by trying: {first.likely_cause}."] if first.likely_cause else []
        said = [_verdict(result, first), *cause, *(f"{reading[0].upper()}{reading[1:]}." for reading in readings)]
        if not cause:
            said.append("No known fix brings them together.")
    counts = Counter(pair.how for pair in pairing.pairs.values())
    said.append(f"Pairs of modules with weights: {', '.join(f'{n} {how}' for how, n in counts.items()) or 'none'}.")
    for pair in pairing.pairs.values():
        if pair.rows or pair.columns:
            place = "behind" if pair.rows else "before"
            said.append(f"`{pair.torch}` stands {place} a flattened image, channels last in Flax.")
    seen = {check.torch.path for found in result.passes for check in found.checks}
    unseen = [path for path in pairing.pairs if path not in seen]
    said += [f"Seen only as a part of what calls it, as within a jit or a scan: `{path}`." for path in unseen]
    said += [f"Only in PyTorch, and not compared: `{path}`." for path in pairing.unpaired_torch]
    said += [f"Only in Flax, and not compared: `{path}`." for path in pairing.unpaired_flax]
    said += [f"Not taken over: {each}." for each in result.lost]
    return [printable(each) for each in dict.fromkeys([*said, *result.notes])]


def _verdict(result: Result, first: Finding) -> str:
    where = "the module as a whole"
    if first.torch:
        module = result.pairing.sides[0].at(first.torch)
        where = f"`{first.torch}` ({', '.join(filter(None, (type(module).__name__, module.extra_repr())))})"
    off = f"off by {number(first.measured)} where rounding explains {number(first.explained_by_rounding)}"
    off = off if math.isfinite(first.measured) else "of another shape, or there is none"
    if first.stage == "weights":
        return f"The first weights that differ are Flax's `{first.flax}`, of {where}, off by {number(first.measured)}."
    if first.stage == "inputs":
        return f"They differ before the first layer: {first.what} {off}."
    if first.stage == "forward":
        return f"The first module that differs is {where}: alone, fed the same input, {first.what} {off}."
    if not first.torch and "loss" in first.what:
        return f"All modules agree, but {first.what} {off}."
    return f"All modules agree going forward. Going back, the first that differs is {where}: {first.what} {off}."


def as_json(result: Result) -> dict[str, Any]:
    """All of it; an infinite number is null."""
    found = {
        "agrees": result.first is None,
        "first_divergence": result.first and asdict(result.first),
        "sentences": sentences(result),
        "conditions": [dict(zip(("name", "torch", "flax"), fact, strict=True)) for fact in result.facts],
        "inputs": [dict(zip(("torch", "flax"), each, strict=True)) for each in result.inputs],
        "weights": [asdict(each) for each in result.weights],
        "modules": module_rows(result),
        "gradients": {precision: [asdict(each) for each in checks] for precision, checks in result.gradients.items()},
        "only_in_torch": result.pairing.unpaired_torch,
        "only_in_flax": result.pairing.unpaired_flax,
    }
    return _finite(found)


def module_rows(result: Result) -> list[dict[str, Any]]:
    """Every paired call in the order in which calls end, with its errors in each pass."""
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    for found in result.passes:
        faults = found.faults
        for check in found.checks:
            call = check.torch
            kind = type(result.pairing.sides[0].at(call.path)).__name__
            row = {"torch": call.path, "flax": check.flax.path, "kind": kind, "call": call.index}
            row = rows.setdefault((call.path, call.index), {**row, "at_fault": False, "passes": {}})
            row["at_fault"] |= any(check is fault for fault in faults)
            row["passes"][found.name] = {
                "accumulated": check.accumulated,
                "alone": check.alone,
                "explained_by_rounding": check.rounding,
                "allowed": check.allowed,
            }
    return list(rows.values())


def as_html(result: Result, title: str, uplot: Mapping[str, str]) -> str:
    """One file that needs no network: the words, a heat map of modules by errors, and a chart by `uplot`'s files."""
    options: dict[str, Any] = {"trim_blocks": True, "lstrip_blocks": True}
    loader = PackageLoader("comparison.port")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, **options)
    environment.filters |= {"number": number, "heat": _heat}
    passes = [found.name for found in result.passes]
    shown = next((found.name for found in result.passes if found.faults), passes[0])
    page = environment.get_template("port.html.jinja")
    return page.render(title=title, passes=passes, shown=shown, uplot=uplot, **as_json(result))


def number(value: float | None) -> str:
    """Two digits."""
    if value is None or not math.isfinite(value):
        return "no number"
    return "0" if value == 0 else f"{value:.2g}"


def _heat(error: float | None, allowed: float) -> int:
    """0 for what rounding explains, up to 6 for a million times as much or more, or no number at all."""
    if error is None:
        return 6
    return 0 if error <= allowed else min(6, 1 + int(math.log10(error / allowed)))


def _finite(thing: Any) -> Any:
    if isinstance(thing, dict):
        return {key: _finite(each) for key, each in thing.items()}
    if isinstance(thing, list):
        return [_finite(each) for each in thing]
    return (
        float(thing)
        if isinstance(thing, float) and math.isfinite(thing)
        else None
        if isinstance(thing, float)
        else thing
    )
