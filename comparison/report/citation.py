"""How to cite a comparison: what was run, where, with what, and what came of it, in one paragraph."""

from collections.abc import Mapping
from typing import Any

from comparison.report.training_text import machine, ratio_claim, title, versions
from comparison.text import sources


def citation(results: Mapping[str, Any]) -> str:
    """Preset, seed, versions, device, sources and the ratio with its interval, or why there is none."""
    config, environments = results["config"], results["environment"]
    first = next(iter(environments.values()))
    hashes = {name: found["source_hash"] for name, found in environments.items() if found.get("source_hash")}
    year = (first.get("started_at") or "")[:4]
    made = f" Sources: {sources(hashes)}." if hashes else ""
    return (
        f"DCGAN twins{f', {year}' if year else ''}. {title(results)}, seed {config['seed']} ({config['precision']}, "
        f"variant {config['variant']}, batch size {config['batch_size']}). {ratio_claim(results)} "
        f"Versions: {', '.join(versions(environments))}. Machine: {machine(first)}.{made}"
    )
