"""Rungs 0 to 2: the two programs hold the same tensors, are fed the same bytes, and start from the same weights."""

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from common.contract import Weights, expected_shapes
from comparison.parity.pair import Measurement, Pair

NUM_HASHED_STEPS = 20


def specification(pair: Pair, precision: str) -> Iterator[Measurement]:
    """Names, shapes and dtypes of every leaf, and torch -> JAX -> torch bit-exact after two steps."""
    expected = expected_shapes(pair.architecture)
    stored = "float64" if precision == "float64" else "float32"
    for probe in pair.probes:
        trainer = pair.trainer(probe, precision)
        weights = trainer.export_weights()
        wrong = [
            name for name in {**expected, **weights} if name not in weights or weights[name].shape != expected.get(name)
        ]
        wrong += [f"{name} is {kind}" for name, kind in probe.dtypes(trainer).items() if kind != stored]
        yield Measurement(0, f"{probe.name}: names, shapes, dtypes", precision, len(wrong), 0, ", ".join(wrong[:3]))
    for probe in pair.probes:
        trainer = pair.trainer(probe, precision)
        hidden = probe.hidden_state(trainer)
        pair.trajectory(probe, precision).at(2)
        changed = differing(probe.hidden_state(trainer), hidden)
        yield Measurement(
            0, f"{probe.name}: state that no checkpoint carries", precision, len(changed), 0, ", ".join(changed[:3])
        )
    before = pair.trajectory(pair.torch, precision).at(2).weights
    handed_over = pair.trainer(pair.jax, precision, weights=before).export_weights()
    after = pair.trainer(pair.torch, precision, weights=handed_over).export_weights()
    changed = differing_tensors(after, before)
    yield Measurement(0, "torch -> JAX -> torch", precision, len(changed), 0, ", ".join(changed[:3]))


def data_and_noise(pair: Pair, precision: str) -> Iterator[Measurement]:
    """SHA-256 of every batch and every latent, read back from each framework's device where a step begins."""
    num_steps = min(NUM_HASHED_STEPS, len(pair.train_images) // pair.config.batch_size)
    indices, latents, _ = pair.chunk(0, num_steps)
    hashes = [
        [
            [hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest() for array in fed]
            for fed in probe.fed(pair.trainer(probe, precision), indices, latents)
        ]
        for probe in pair.probes
    ]
    different = [
        f"step {step}, {kind}"
        for step, (torch_hashes, jax_hashes) in enumerate(zip(*hashes, strict=True), start=1)
        for kind, torch_hash, jax_hash in zip(("images", "latents"), torch_hashes, jax_hashes, strict=True)
        if torch_hash != jax_hash
    ]
    name = f"SHA-256 of {num_steps} steps' images and latents"
    yield Measurement(1, name, precision, len(different), 0, ", ".join(different[:1]))


def loaded_weights(pair: Pair, precision: str) -> Iterator[Measurement]:
    """Each framework hands back exactly the initial weights it was given."""
    given = pair.initial_weights(precision)
    for probe in pair.probes:
        trainer = pair.trainer(probe, precision)
        before = probe.addresses(trainer)
        trainer.load_weights(given)
        moved = differing(probe.addresses(trainer), before)
        name = f"{probe.name}: tensors that loading replaced"
        yield Measurement(2, name, precision, len(moved), 0, ", ".join(moved[:3]))
        changed = differing_tensors(trainer.export_weights(), given)
        yield Measurement(2, f"{probe.name}: initial weights", precision, len(changed), 0, ", ".join(changed[:3]))


def differing(measured: dict[str, Any], reference: dict[str, Any]) -> list[str]:
    """Names of what has come, gone or changed."""
    return [name for name in {**reference, **measured} if measured.get(name) != reference.get(name)]


def differing_tensors(measured: Weights, reference: Weights) -> list[str]:
    """Names of tensors that are not bit-identical."""
    return [
        name
        for name in {**reference, **measured}
        if name not in measured
        or name not in reference
        or measured[name].dtype != reference[name].dtype
        or measured[name].tobytes() != reference[name].tobytes()
    ]
