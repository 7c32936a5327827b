"""The parity certificate of what is benchmarked: found beside the comparisons, or made."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from common.config import TrainConfig
from common.layers import Architecture
from comparison.bench.results import Certificate
from comparison.certify import STORE, certificate_holds, climb_quickly
from comparison.parity.certificate import identity_hash, identity_of
from comparison.runs import Children, config_flags

CERTIFICATES = Path("runs") / STORE
VARIANTS = ("tuned", "idiomatic")


def certify(
    config: TrainConfig,
    architecture: Architecture,
    environment: Mapping[str, Any],
    children: Children,
    *,
    num_threads: int,
    devices: Mapping[str, str],
    flags: list[str],
) -> Certificate:
    """The certificate that is there and holds, of either variant, or that of a quick ladder which is climbed now.

    Rungs 8 and 9 climb with both variants of both frameworks, whichever the ladder is of. `flags` say where it runs.
    """
    paths = {}
    for variant in VARIANTS:
        certified = replace(config, variant=variant, precision="float32")
        identity = identity_of(certified, architecture, environment, num_threads=num_threads, devices=devices)
        paths[variant] = CERTIFICATES / f"{identity_hash(identity)}.json"
    if not any(map(certificate_holds, paths.values())):
        tuned = replace(config, variant="tuned", precision="float32")
        try:
            reason = climb_quickly([*config_flags(tuned), *flags], paths["tuned"], children, num_threads=num_threads)
        except OSError as error:
            reason = str(error)
        if reason is not None:
            return Certificate(False, f"no certificate was made: {reason}")
    held = [path for path in paths.values() if certificate_holds(path)]
    if not held:
        return Certificate(False, "parity does not hold for this configuration")
    return Certificate(True, f"certified by the ladder ({held[0].stem[:12]})")
