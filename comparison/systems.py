"""The tables of docs/systems.md: the seed documents' systems, trained here in both frameworks."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from common.architectures import build_architecture, count_parameters
from common.config import PRESETS, TrainConfig
from common.layers import BatchNorm, Conv, ConvTranspose, LayerSpec, LeakyReLU, Linear, ReLU, Tanh
from common.records import FRAMEWORK_NAMES
from comparison.tables import NOTHING, markdown, number

Record = Mapping[str, Any]
Records = Mapping[str, Mapping[str, Record]]  # preset -> framework -> record
RESULT_METRICS = {
    "frechet_distance": "Fréchet distance",
    "coverage": "coverage",
    "mnist_score": "score",
    "class_kl": "KL",
}
# Fields of a recipe that the documents set one way or another.
RECIPE_FIELDS = {
    "batch_size": "batch {}",
    "latent_dim": "{} latents",
    "learning_rate_discriminator": "D at {:g}",
    "real_target": "real target {:g}",
    "fake_target": "fake target {:g}",
    "generator_target": "G's target {:g}",
    "generator_updates": "{} G updates",
    "generator_latents": "{} latents for G",
    "initialization": "{} initial weights",
}


def layers(specs: Sequence[LayerSpec]) -> str:
    """A network in one line: `ConvT 100-512 k4 s1 p0 + BN + ReLU`, layers that follow suit written once."""
    blocks: list[tuple[str, list[str]]] = []  # what a block does, and the channels it goes through
    for spec in specs:
        match spec:
            case Conv() | ConvTranspose():
                kind = "ConvT" if isinstance(spec, ConvTranspose) else "Conv"
                bias = " with bias" if spec.bias else ""
                shape = f"k{spec.kernel_size} s{spec.stride} p{spec.padding}{bias}"
                blocks.append((f"{kind} {{}} {shape}", [str(spec.in_channels), str(spec.out_channels)]))
            case Linear():
                ends = [(spec.in_channels, spec.in_size), (spec.out_channels, spec.out_size)]
                blocks.append(("Linear {}", [str(c) if size == 1 else f"{c}·{size}·{size}" for c, size in ends]))
            case BatchNorm() | LeakyReLU() | ReLU() | Tanh():
                name = {"BatchNorm": "BN", "LeakyReLU": "LReLU", "Tanh": "tanh"}.get(type(spec).__name__, "ReLU")
                blocks[-1] = (f"{blocks[-1][0]} + {name}", blocks[-1][1])
    lines = []
    for shape, group in groupby(blocks, key=lambda block: block[0]):
        first, *others = (channels for _, channels in group)
        lines.append(shape.format("-".join([*first, *(channels[-1] for channels in others)])))
    return "; ".join(lines)


def networks_table(presets: Sequence[str]) -> str:
    """Layers and parameter counts, from the specs that both frameworks build from."""
    rows = [("preset", "generator", "discriminator", "parameters (G / D)")]
    for preset in presets:
        architecture = build_architecture(PRESETS[preset])
        counts = count_parameters(architecture)
        rows.append(
            (
                f"`{preset}`",
                layers(architecture.generator),
                layers(architecture.discriminator),
                f"{counts['generator']:,} / {counts['discriminator']:,}",
            )
        )
    return markdown(rows)


def recipe(config: TrainConfig) -> str:
    """Where a preset differs from the paper's recipe, and its batch size."""
    plain = TrainConfig()
    return ", ".join(
        text.format(getattr(config, name))
        for name, text in RECIPE_FIELDS.items()
        if name == "batch_size" or getattr(config, name) != getattr(plain, name)
    )


def results_table(records: Records) -> str:
    """Quality and time of every system, PyTorch / JAX in each cell."""
    heads = [f"{title} (PyTorch / JAX)" for title in ("seconds an epoch", *RESULT_METRICS.values())]
    rows: list[Sequence[str]] = [("preset", "recipe", "trained", *heads)]
    for preset, runs in records.items():
        configs = [run["config"] for run in runs.values()]
        rows.append(
            (
                f"`{preset}`",
                recipe(PRESETS[preset]),
                trained(configs[0]),
                pair(runs, seconds_per_epoch),
                *(pair(runs, lambda run, name=name: run["metrics"][name]["value"]) for name in RESULT_METRICS),
            )
        )
    floors = next(iter(next(iter(records.values())).values()))["metrics"]
    rows.append(("real digits", "", "", "", *(number(floors[name]["floor"]) for name in RESULT_METRICS)))
    return markdown(rows)


def trained(config: Mapping[str, Any]) -> str:
    """How long, and what was shortened."""
    epochs = f"{config['epochs']} epoch{'s' if config['epochs'] > 1 else ''}"
    images = f" of {config['train_size']:,} images" if config["train_size"] else ""
    return f"{epochs}{images}, {config['precision']}"


def seconds_per_epoch(run: Record) -> float:
    """From the median over epochs of the median speed over steady chunks; of as many images as were trained on."""
    batch_size, num_images = run["config"]["batch_size"], run["config"]["train_size"] or 60_000
    return num_images // batch_size * batch_size / float(np.median(run["images_per_second"]))


def pair(runs: Mapping[str, Record], value: Any) -> str:
    """`PyTorch's / JAX's`; a dash for one that was not trained."""
    return " / ".join(number(value(runs[name])) if name in runs else NOTHING for name in FRAMEWORK_NAMES)


def trajectory_table(records: Records, presets: Sequence[str]) -> str:
    """Epoch by epoch: the generator's mean loss, D(G(z)), and the Fréchet distance of 2,000 samples (PyTorch / JAX)."""
    rows: list[Sequence[str]] = [
        ("preset", "epoch", "generator loss", "discriminator loss", "D(G(z))", "Fréchet distance, N = 2,000")
    ]
    for preset in presets:
        runs = records.get(preset, {})
        num_epochs = min((len(run["quick_quality"]) for run in runs.values()), default=0)
        for index in range(num_epochs):
            cells = [
                pair(runs, lambda run, name=name, index=index: run["epochs"][index][name])
                for name in ("generator_loss", "discriminator_loss", "fake_score")
            ]
            distance = pair(runs, lambda run, index=index: run["quick_quality"][index]["frechet_distance"])
            rows.append((f"`{preset}`" if index == 0 else "", str(index + 1), *cells, distance))
    return markdown(rows)


def gan_against_dcgan_table(records: Records, *, gan: str = "seed004-mlp", dcgan: str = "seed004") -> str:
    """Seed 004's table, with measurements where it had adjectives (PyTorch / JAX)."""
    presets = (gan, dcgan)
    configs = [PRESETS[preset] for preset in presets]
    runs = [records.get(preset, {}) for preset in presets]
    counts = [count_parameters(build_architecture(config)) for config in configs]

    def measured(title: str, value: Any) -> tuple[str, ...]:
        return (title, *(pair(found, value) for found in runs))

    metric = {"coverage": "coverage", "precision": "precision", "smallest_class": "share of the rarest digit",
              "frechet_distance": "Fréchet distance", "mnist_score": "MNIST score"}  # fmt: skip
    rows = [
        ("aspect", f"GAN (`{gan}`)", f"DCGAN (`{dcgan}`)"),
        ("generator", *(layers(build_architecture(config).generator) for config in configs)),
        ("upsampling", "none: the last Linear layer makes all 784 pixels", "transposed convolutions, 7 to 14 to 28 px"),
        ("parameters (G / D)", *(f"{count['generator']:,} / {count['discriminator']:,}" for count in counts)),
        ("normalisation", "none", "BatchNorm in all but the first and last layers"),
        measured("seconds an epoch", seconds_per_epoch),
        measured("generator loss, last epoch", lambda run: run["epochs"][-1]["generator_loss"]),
        measured("stability: its change from the epoch before", last_change),
        measured("stability: Fréchet distance, worst epoch after the first / best", worst_over_best),
        *(
            measured(f"quality: {title}", lambda run, name=name: run["metrics"][name]["value"])
            for name, title in metric.items()
        ),
    ]
    return markdown(rows)


def last_change(run: Record) -> float:
    """Of the generator's mean loss, relative."""
    before, last = (epoch["generator_loss"] for epoch in run["epochs"][-2:])
    return abs(last / before - 1)


def worst_over_best(run: Record) -> float:
    """1 if quality never got worse again after the first epoch."""
    later = [quality["frechet_distance"] for quality in run["quick_quality"][1:]]
    return max(later) / min(later)


def first_steps_table(
    records: Records, presets: Sequence[str], *, steps: Sequence[int] = (1, 5, 10, 20, 50, 100, 200)
) -> str:
    """Whether D learns before G: its scores of real and generated images over the first steps (PyTorch)."""
    rows: list[Sequence[str]] = [("preset", "", *(f"step {step}" for step in steps))]
    for preset in presets:
        run = records.get(preset, {}).get("torch")
        if run is None:
            continue
        for name, title in (("real_score", "D(x)"), ("fake_score", "D(G(z))"), ("generator_loss", "generator loss")):
            values = [number(run["first_steps"][step - 1][name], digits=2) for step in steps]
            rows.append((f"`{preset}`" if name == "real_score" else "", title, *values))
    return markdown(rows)
