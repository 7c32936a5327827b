"""How to cite a comparison: what was run, where, with what, and what came of it, in one paragraph."""

from collections.abc import Mapping
from typing import Any

from comparison.report.training import machine, ratio_claim, title, versions
from comparison.text import sources


def citation(results: Mapping[str, Any]) -> str:
    """Preset, seed, versions, device, sources and the ratio with its interval, or why there is none."""
    config, environments = results["config"], results["environment"]
    first = next(iter(environments.values()))
    hashes = {name: found["source_hash"] for name, found in environments.items() if found.get("source_hash")}
    year = (first.get("started_at") or "")[:4]
    made = f"sources {sources(hashes)}" if hashes else ""
    parts = (
        f"{title(results)}, seed {config['seed']}",
        f"{config['precision']}, variant {config['variant']}, batch size {config['batch_size']}",
        ", ".join(versions(environments)),
        machine(first),
        made,
        f"measured in {year}" if year else "",
    )
    return f"DCGAN twins. {'. '.join(filter(None, parts))}. {ratio_claim(results)}"
