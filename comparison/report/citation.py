"""How to cite a comparison or a benchmark: what was run, what came of it, where and with what, in one paragraph."""

from collections.abc import Mapping, Sequence
from typing import Any

from comparison.report.bench_tables import interval_text
from comparison.report.training_text import machine, ratio_claim, title, versions
from comparison.text import sources


def citation(results: Mapping[str, Any]) -> str:
    """Of a comparison: its speed ratio, or why there is none."""
    config, environments = results["config"], results["environment"]
    first = next(iter(environments.values()))
    hashes = {name: found["source_hash"] for name, found in environments.items() if found.get("source_hash")}
    return _cite(
        f"{title(results)}, seed {config['seed']}", ratio_claim(results), config, first, versions(environments), hashes
    )


def bench_citation(result: Mapping[str, Any]) -> str:
    """Of a benchmark: the ratio of the tuned steps with interval and n, or why there is none."""
    found, config, ratio = result["machine"], result["config"], result["ratios"].get("jax/torch")
    claim = f"There is no ratio: {result['refused'].get('jax', 'it was refused')}."
    if ratio:
        claim = (
            f"A training step of JAX takes {interval_text(ratio)} times as long as PyTorch's "
            f"(median, 95 % interval, n = {result['protocol']['repetitions']} processes each)."
        )
    devices = " and ".join(dict.fromkeys(found["devices"].values()))
    packages = [f"{name} {found['packages'][name]}" for name in ("torch", "jax", "flax")]
    stood_on = {**found, "device": devices, "started_at": result["protocol"]["started_at"]}
    return _cite(f"Preset {config['preset']}", claim, config, stood_on, packages, found["source_hashes"])


def _cite(
    what: str,
    claim: str,
    config: Mapping[str, Any],
    environment: Mapping[str, Any],
    packages: Sequence[str],
    hashes: Mapping[str, str],
) -> str:
    """A commit names the sources better than their hashes do."""
    year = (environment.get("started_at") or "")[:4]
    commit = environment.get("commit")
    made = f" Made from commit {commit[:12]}." if commit else f" Made from sources {sources(hashes)}." if hashes else ""
    return (
        f"DCGAN twins{f', {year}' if year else ''}. {what} ({config['precision']}, variant {config['variant']}, "
        f"batch size {config['batch_size']}). {claim} Versions: {', '.join(packages)}. "
        f"Machine: {machine(environment)}.{made}"
    )
