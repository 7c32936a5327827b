"""What was found, in words first, then as rows, JSON and one page of HTML."""

import math
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from common.console import printable
from comparison.port.compare import Result


def sentences(result: Result) -> list[str]:
    """The verdict, and how it was reached, each part a sentence."""
    names = " and ".join(dict.fromkeys(found.name for found in result.passes))
    said = []
    first = result.first
    if first is None:
        count = sum(check.torch.path != "" for check in result.passes[0].checks) if result.passes else 0
        said.append(f"They agree: {count} calls of modules, the outputs and every gradient, in {names}.")
    else:
        module = result.sides[0].at(first.torch) if first.stage != "gradients" or first.torch else None
        where = f"`{first.torch}`" if first.torch else "the module as a whole"
        kind = (
            f" ({type(module).__name__}{', ' if (shape := module.extra_repr()) else ''}{shape})"
            if module is not None
            else ""
        )
        off = f"off by {number(first.measured)}" if math.isfinite(first.measured) else "of another shape, or none"
        explained = f"where rounding explains {number(first.rounding)}"
        if first.stage == "weights":
            said.append(
                f"The first weights that differ are Flax's `{first.flax}`, of {where}{kind}, off by "
                f"{number(first.measured)}."
            )
        elif first.stage == "forward":
            said.append(
                f"The first module that differs is {where}{kind}: alone, fed the same input, {first.what} "
                f"{off} {explained}."
            )
        elif not first.torch and "loss" in first.what:
            said.append(f"All modules agree, but {first.what} off by {number(first.measured)} {explained}.")
        else:
            said.append(
                f"All modules agree going forward. Going back, the first that differs is {where}{kind}: "
                f"{first.what} off by {number(first.measured)} {explained}."
            )
        said += [f"{reading[0].upper()}{reading[1:]}." for reading in first.readings]
        if first.cause:
            said.append(f"Likely cause, found by trying: {first.cause}.")
        elif first.stage != "gradients":
            said.append("No known fix brings them together.")
    by = {
        how: sum(pair.how == how for pair in result.pairing.pairs)
        for how in dict.fromkeys(p.how for p in result.pairing.pairs)
    }
    counts = ", ".join(f"{number} {how}" for how, number in by.items()) or "none"
    said.append(f"Pairs of modules with weights: {counts}.")
    for pair in result.pairing.pairs:
        if pair.rows or pair.columns:
            said.append(
                f"`{pair.torch}` stands {'behind' if pair.rows else 'before'} a flattened image, channels last in Flax."
            )
    seen = {check.torch.path for found in result.passes for check in found.checks}
    unseen = [pair.torch for pair in result.pairing.pairs if pair.torch not in seen]
    said += [f"Seen only as a part of what calls it, as within a jit or a scan: `{path}`." for path in unseen]
    said += [f"Only in PyTorch, and not compared: `{path}`." for path in result.pairing.unpaired_torch]
    said += [f"Only in Flax, and not compared: `{path}`." for path in result.pairing.unpaired_flax]
    said += [f"Not taken over: {each}." for each in result.lost]
    return [printable(each) for each in [*said, *result.notes]]


def as_json(result: Result) -> dict[str, Any]:
    """All of it; an infinite number is null."""
    first = result.first
    return {
        "agrees": first is None,
        "first_divergence": first
        and {
            "torch": first.torch,
            "flax": first.flax,
            "stage": first.stage,
            "measured": _finite(first.measured),
            "explained_by_rounding": _finite(first.rounding),
            "likely_cause": first.cause,
            "readings": first.readings,
        },
        "sentences": sentences(result),
        "conditions": [dict(zip(("name", "torch", "flax"), fact, strict=True)) for fact in result.facts],
        "inputs": [dict(zip(("torch", "flax"), each, strict=True)) for each in result.inputs],
        "weights": [
            {"torch": w.torch, "flax": w.flax, "measured": _finite(w.error), "likely_cause": w.cause}
            for w in result.weights
        ],
        "modules": module_rows(result),
        "gradients": {
            precision: [
                {
                    "torch": c.torch,
                    "flax": c.flax,
                    "measured": _finite(c.measured),
                    "explained_by_rounding": _finite(c.rounding),
                    "allowed": c.allowed,
                }
                for c in checks
            ]
            for precision, checks in result.gradients.items()
        },
        "only_in_torch": result.pairing.unpaired_torch,
        "only_in_flax": result.pairing.unpaired_flax,
    }


def module_rows(result: Result) -> list[dict[str, Any]]:
    """Every paired call in the order in which calls end, with its errors in each pass."""
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    for found in result.passes:
        faults = {id(check) for check in found.faults}
        for check in found.checks:
            row = rows.setdefault(
                (check.torch.path, check.torch.index),
                {
                    "torch": check.torch.path,
                    "flax": check.flax.path,
                    "kind": type(result.sides[0].at(check.torch.path)).__name__,
                    "call": check.torch.index,
                    "at_fault": False,
                    "passes": {},
                },
            )
            row["at_fault"] |= id(check) in faults
            row["passes"][found.name] = {
                "accumulated": _finite(check.accumulated),
                "alone": _finite(check.alone),
                "explained_by_rounding": _finite(check.rounding),
                "allowed": check.allowed,
            }
    return list(rows.values())


def as_html(result: Result, title: str) -> str:
    """One file that needs no network: the words, and a heat map of modules by errors."""
    environment = Environment(
        loader=PackageLoader("comparison.port"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "heat": _heat}
    passes = [found.name for found in result.passes]
    gradients = {
        precision: {check.flax: check for check in checks} for precision, checks in result.gradients.items() if checks
    }
    return environment.get_template("port.html.jinja").render(
        title=title,
        agrees=result.first is None,
        sentences=sentences(result),
        rows=module_rows(result),
        passes=passes,
        gradients=gradients,
        facts=result.facts,
        inputs=result.inputs,
    )


def _heat(error: float | None, allowed: float) -> int:
    """0 for what rounding explains, up to 6 for a million times as much or more, or no number at all."""
    if error is None:
        return 6
    return 0 if error <= allowed else min(6, 1 + int(math.log10(error / allowed)))


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def number(value: float | None) -> str:
    """Two digits."""
    if value is None or not math.isfinite(value):
        return "no number"
    return "0" if value == 0 else f"{value:.2g}"
