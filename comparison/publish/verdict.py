"""PyTorch or JAX: the answer in three sentences, each of a recorded result and with a mark of what it is worth."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from common.evaluation.catalogue import METRICS
from common.records.folder import FRAMEWORK_NAMES
from comparison.report.bench_tables import interval_text, is_certified
from comparison.report.quality import measured
from comparison.report.quietness import INDICATIVE, VERIFIED
from comparison.text import number, processor

TUNED_BENCH, UNTUNED_BENCH = "default.json", "wide.json"
NOT_MEASURED = "not measured"


class Records(NamedTuple):
    """What was measured: a comparison's results, and what benchmarks wrote."""

    run: Mapping[str, Any]
    tuned: Mapping[str, Any]
    untuned: Mapping[str, Any]
    others: Sequence[Mapping[str, Any]]


def verdict(records: Records) -> str:
    """Three sentences in Markdown, and what nothing is recorded of."""
    sentences = [tuned_sentence(records.tuned), untuned_sentence(records.untuned), quality_sentence(records.run)]
    sentences += [tuned_sentence(bench) for bench in records.others if is_on_accelerator(bench)]
    if not any(map(is_on_accelerator, records.others)):
        sentences.append(f"*{NOT_MEASURED.capitalize()}*: any GPU or TPU. These numbers are of a CPU.")
    return "\n".join(f"- {sentence}" for sentence in sentences)


def is_on_accelerator(bench: Mapping[str, Any]) -> bool:
    """Whether no framework computed on a CPU."""
    return all(device != "cpu" for device in bench["machine"]["devices"].values())


def tuned_sentence(bench: Mapping[str, Any]) -> str:
    """Which framework is faster where both are tuned."""
    return _sentence(bench, ("jax", "torch"), _tuned_claim, f"a ratio on {_where(bench)}")


def untuned_sentence(bench: Mapping[str, Any]) -> str:
    """Which framework is faster as its documentation teaches it."""
    arms = ("jax-idiomatic", "torch-idiomatic")
    return _sentence(bench, arms, _untuned_claim, "the forms that the documentation teaches")


def _sentence(
    bench: Mapping[str, Any], arms: tuple[str, str], claim: Callable[[Mapping[str, float]], str], unmeasured: str
) -> str:
    ratio = bench["ratios"].get("/".join(arms))
    if ratio is None:
        return f"*{NOT_MEASURED.capitalize()}*: {unmeasured}."
    return (
        f"**{claim(ratio)}.** *{_mark(bench, *arms).capitalize()}*: a step takes JAX {interval_text(ratio)} times as "
        f"long (95 % interval, n = {bench['protocol']['repetitions']} processes each; {_where(bench)})."
    )


def quality_sentence(run: Mapping[str, Any]) -> str:
    """Whether the samples of one are better."""
    scores = {name: run["frameworks"][name]["quality"]["frechet_distance"] for name in FRAMEWORK_NAMES}
    values = [score["value"] for score in scores.values()]
    spread = max(score["spread"] for score in scores.values())
    better = FRAMEWORK_NAMES[min(scores, key=lambda name: scores[name]["value"])]
    is_level = max(values) - min(values) <= 2 * spread
    claim = "their scores lie too close to tell apart" if is_level else f"{better} scores better"
    each = ", ".join(f"{measured(s['value'], s['spread'])} in {FRAMEWORK_NAMES[n]}" for n, s in scores.items())
    return (
        f"**After {run['config']['epochs']} epochs, {claim}.** *{INDICATIVE.capitalize()}*: "
        f"{METRICS['frechet_distance'].title} {each} (± over draws; n = 1 training each; lower is better; real digits "
        f"score {number(scores['torch']['floor'])})."
    )


def _tuned_claim(ratio: Mapping[str, float]) -> str:
    percent = number(100 * abs(ratio["median"] - 1), digits=2)
    if ratio["low"] <= 1 <= ratio["high"]:
        return "Tuned, neither is shown to be faster"
    return f"Tuned, JAX takes {percent} % {'longer' if ratio['median'] > 1 else 'less time'} for a step than PyTorch"


def _untuned_claim(ratio: Mapping[str, float]) -> str:
    faster, factor = ("PyTorch", ratio["median"]) if ratio["median"] > 1 else ("JAX", 1 / ratio["median"])
    return f"As its documentation teaches it, {faster} is {number(factor, digits=2)} times as fast"


def _where(bench: Mapping[str, Any]) -> str:
    config, machine = bench["config"], bench["machine"]
    devices = " and ".join(dict.fromkeys(device.upper() for device in machine["devices"].values()))
    computed_on = f"{machine['num_threads']} {devices} threads, {processor(machine)}" if devices == "CPU" else devices
    return f"`{config['preset']}`, batch {config['batch_size']}, {computed_on}"


def _mark(bench: Mapping[str, Any], *arms: str) -> str:
    """Verified: the control held, and a certificate of each arm holds."""
    is_verified = bench["control"]["holds"] and all(is_certified(bench, arm) for arm in arms)
    return VERIFIED if is_verified else INDICATIVE
