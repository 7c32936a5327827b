"""What must be equal for a certificate to speak of two runs: everything that decides their numbers."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from common.config import TrainConfig, differing_fields, to_dict
from common.networks.build import count_parameters
from common.networks.layers import Architecture
from common.records.environment import hash_of_sources, numeric_variables, source_hash
from common.records.folder import FRAMEWORK_NAMES
from common.records.recorded_run import RecordedRun, Runs

# Each fact, and what to call it where it is another one.
IDENTITY = {
    "config": "another configuration",
    "num_parameters": "networks of another size",
    "data_sha256": "other training images",
    "python": "another Python",
    "packages": "other package versions",
    "package_hashes": "other builds of packages",
    "cpu_model": "another processor",
    "cpu_flags": "a processor with other instructions",
    "num_threads": "another number of threads",
    "source_hashes": "other source files",
    "devices": "other devices",
    "device_flags": "other device flags",
    "execution": "another form of execution",
    "deterministic": "another --deterministic",
    "accelerator": "another GPU, driver or setting of it",
    "environment_variables": "other environment variables",
}
# Those of which each framework has its own.
OWN = ("source_hashes", "devices", "device_flags", "execution", "environment_variables")
# A run alone may have fewer packages than the ladder, but none in another version.
SUBSETS = ("packages", "package_hashes")
# Follows from the rest; `bench` does not know it of a framework that it does not measure.
NOT_HASHED = ("device_flags",)
# What decides whether a rung holds: who is compared, on what, how far, and the tolerances.
LADDER_SOURCES = tuple(
    f"comparison/parity/{name}"
    for name in (
        "setup.py",
        "pair.py",
        "ladder.py",
        "divergence.py",
        "rounding_noise.py",
        "first_steps.py",
        "arms.py",
        "envelope.py",
        "compilation.py",
        "probes",
        "rungs",
    )
)


def facts_of(environment: Mapping[str, Any], framework: str) -> dict[str, Any]:
    """What `IDENTITY` names, of one process's environment.json; None where an older version did not record it."""
    found = {name: environment.get(name) for name in IDENTITY if name != "config"}
    variables = environment.get("environment_variables")
    return found | {
        "data_sha256": (environment.get("dataset") or {}).get("sha256"),
        "source_hashes": environment.get("source_hash"),
        "devices": environment.get("device"),
        "deterministic": bool((environment.get("device_flags") or {}).get("deterministic")),
        "environment_variables": None if variables is None else numeric_variables(variables, framework),
    }


def identity_of(
    config: TrainConfig,
    architecture: Architecture,
    *,
    environment: Mapping[str, Any],
    num_threads: int,
    data_sha256: str,
    devices: Mapping[str, str],
    device_flags: Mapping[str, Any],
    execution: Mapping[str, str],
    accelerator: Mapping[str, str],
) -> dict[str, Any]:
    """What `IDENTITY` names, of a configuration and of the sources as they are now; `environment` is of any process."""
    names = ("python", "packages", "package_hashes", "cpu_model", "cpu_flags")
    variables = environment["environment_variables"]
    return {
        "config": to_dict(config),
        "num_parameters": count_parameters(architecture),
        "data_sha256": data_sha256,
        **{name: environment[name] for name in names},
        "num_threads": num_threads,
        "source_hashes": {framework: source_hash(framework) for framework in FRAMEWORK_NAMES},
        "devices": dict(devices),
        "device_flags": dict(device_flags),
        "execution": dict(execution),
        "deterministic": any(flags.get("deterministic") for flags in device_flags.values()),
        "accelerator": dict(accelerator),
        "environment_variables": {name: numeric_variables(variables, name) for name in FRAMEWORK_NAMES},
    }


def identity_of_runs(runs: Runs) -> dict[str, Any] | None:
    """What a certificate of these runs must be about; None if they differ among themselves, or one is missing."""
    facts = {name: {"config": run.config, **facts_of(run.environment, name)} for name, run in runs.items()}
    shared = [{name: found[name] for name in IDENTITY if name not in OWN} for found in facts.values()]
    if len(shared) < 2 or shared[0] != shared[1]:
        return None
    return shared[0] | {name: {framework: found[name] for framework, found in facts.items()} for name in OWN}


def why_other_identity(certificate: Mapping[str, Any], run: RecordedRun) -> str | None:
    """What the certificate is about instead of this run, and where they differ; None if it is about the run."""
    for name, found in {"config": run.config, **facts_of(run.environment, run.framework)}.items():
        certified = certificate.get(name)
        if name in OWN:
            certified = (certified or {}).get(run.framework)
        elif name in SUBSETS:
            certified = {package: (certified or {}).get(package) for package in found or {}}
        if found != certified:
            return f"the parity certificate is for {IDENTITY[name]} than {run.name} had{which(found, certified)}"
    return None


def which(found: Any, other: Any) -> str:
    """` (seed, beta1)`: the fields in which two records of fields differ; nothing of anything else."""
    if not isinstance(found, Mapping) or not isinstance(other, Mapping):
        return ""
    return f" ({', '.join(differing_fields(found, other))})"


def identity_hash(identity: Mapping[str, Any]) -> str:
    """SHA-256 over the identity and over the ladder's own source."""
    known = {name: identity[name] for name in IDENTITY if name not in NOT_HASHED} | {"ladder_hash": ladder_hash()}
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def ladder_hash() -> str:
    """SHA-256 over the ladder's own sources: its tolerances are part of what holds."""
    return hash_of_sources(*LADDER_SOURCES)
