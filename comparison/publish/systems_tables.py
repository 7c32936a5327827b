"""The tables of docs/systems: the seed documents' systems, trained here in both frameworks.

Long, since each table has its own columns; none has more than six, for they are read on phones.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from common.config import TrainConfig
from common.errors import UserError
from common.evaluation.catalogue import HEADLINE_METRICS, METRICS
from common.networks.build import build_architecture, count_parameters
from common.networks.layers import Architecture, BatchNorm, Conv, ConvTranspose, LayerSpec, Linear
from common.networks.presets import PRESETS
from common.records.folder import FRAMEWORK_NAMES
from comparison.text import NOTHING, markdown, number

Record = Mapping[str, Any]
Value = Callable[[Record], float | None]
Records = Mapping[str, Mapping[str, Record]]  # preset -> framework -> record
# What each document says came out; one that shows pictures alone claims no number.
AUTHORS_REPORT = {
    "seed000": "25 s an epoch on an M1, 46 s at batch 64; digits with variation, some not perfect",
    "seed001": "50 epochs: some look real, some are hardly identifiable",
    "seed002": "a picture after 10 epochs",
    "seed004": "11 min an epoch on six cores; better than the GAN, and early, but G's loss does not converge",
    "seed004-ttur": "12 min an epoch on six cores; a picture after 16",
    "seed004-mlp": "80 s an epoch on six cores; G's loss converges, quality stalls",
    "seed004-mlp-ttur": "65 s an epoch on six cores; worse than the first iteration",
}
SHORT_NAMES = {"BatchNorm": "BN", "LeakyReLU": "LReLU", "ReLU": "ReLU", "Tanh": "tanh"}
COLUMNS = {framework: name.partition(" / ")[0] for framework, name in FRAMEWORK_NAMES.items()}
FIRST_STEPS = (1, 5, 10, 20, 50, 100, 200)
NUM_IMAGES = 60_000  # of an epoch, whatever was trained on
# Fields of a recipe that the documents set one way or another.
RECIPE_FIELDS = {
    "epochs": "{} epochs",
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


def architecture_of_preset(preset: str) -> Architecture:
    """A preset's networks with its dataset's channels: all datasets but MNIST are taken to be in colour."""
    config = PRESETS[preset].recipe
    return build_architecture(config, image_channels=1 if config.dataset == "mnist" else 3)


def networks(presets: Sequence[str]) -> str:
    """Layers and parameter counts as lists, from the specs that both frameworks build from; equal networks once."""
    by_network: dict[tuple[str, str, str], list[str]] = {}
    for preset in presets:
        architecture = architecture_of_preset(preset)
        both = (layers(architecture.generator), layers(architecture.discriminator), num_parameters(architecture))
        by_network.setdefault(both, []).append(f"`{preset}`")
    return "\n\n".join(
        f"{', '.join(names)}:\n\n"
        f"- generator: {generator}\n- discriminator: {discriminator}\n- parameters (G / D): {counts}"
        for (generator, discriminator, counts), names in by_network.items()
    )


def num_parameters(architecture: Architecture) -> str:
    """Counts of trained numbers, as `generator's / discriminator's`."""
    return " / ".join(f"{count:,}" for count in count_parameters(architecture).values())


def recipe(config: TrainConfig) -> str:
    """A recipe's epochs and batch size, and where it differs from the paper's recipe."""
    plain = TrainConfig()
    return ", ".join(
        text.format(getattr(config, name))
        for name, text in RECIPE_FIELDS.items()
        if name in ("epochs", "batch_size") or getattr(config, name) != getattr(plain, name)
    )


def overview_table(records: Records) -> str:
    """How near each system comes to real digits: a row a preset. Four columns fit a phone."""
    title = METRICS["coverage"].title
    rows = [("preset", "trained", *(f"{title}, {name}" for name in COLUMNS.values()))]
    for preset, runs in records.items():
        rows.append((f"`{preset}`", trained(preset, runs), *values(runs, metric("coverage"))))
    for size, metrics in sorted(floors(records).items()):
        rows.append((f"real digits, {size} px", "", *[number(metrics["coverage"]["floor"])] * len(COLUMNS)))
    return markdown(rows)


def results(records: Records, presets: Sequence[str]) -> str:
    """For each preset its recipe, what its author reports, and a table of its scores beside real digits'."""
    found = []
    for preset in presets:
        recipe_line = f"- Recipe: {recipe(PRESETS[preset].recipe)}."
        author_line = f"- Its author reports: {AUTHORS_REPORT.get(preset, 'no number')}."
        lines = [f"### `{preset}`", "", recipe_line, author_line]
        if runs := records.get(preset, {}):
            lines += [f"- Trained here: {trained(preset, runs)}.", "", scores_table(runs)]
        else:
            lines.append("- Trained here: not yet.")
        found.append("\n".join(lines))
    return "\n\n".join(found)


def scores_table(runs: Mapping[str, Record]) -> str:
    """A preset's headline metrics and its time, a column a framework, and what real digits score."""
    metrics_of_floor = next(iter(floors({"": runs}).values()))
    rows = [("", *COLUMNS.values(), "real digits")]
    for name in HEADLINE_METRICS:
        rows.append((METRICS[name].title, *values(runs, metric(name)), number(metrics_of_floor[name]["floor"])))
    rows.append(("seconds an epoch", *values(runs, seconds_per_epoch), ""))
    return markdown(rows)


def floors(records: Records) -> dict[int, Any]:
    """Side of the images -> the metrics of a run, which hold what real digits of that side score."""
    return {run["config"]["image_size"]: run["metrics"] for runs in records.values() for run in runs.values()}


def trained(preset: str, runs: Mapping[str, Record]) -> str:
    """How long a preset was trained, and on how much; UserError if its two records are of different configs."""
    if not runs:
        return NOTHING
    config = next(iter(runs.values()))["config"]
    if any(run["config"] != config for run in runs.values()):
        raise UserError(f"{preset} was trained in two ways: train both frameworks again with the same flags")
    epochs = f"{config['epochs']} epoch{'s' if config['epochs'] > 1 else ''}"
    images = f" of {config['train_size']:,} images" if config["train_size"] else ""
    return f"{epochs}{images}, {config['precision']}"


def seconds_per_epoch(run: Record) -> float:
    """Seconds for 60,000 images, at the median over epochs of the median speed over steady chunks."""
    batch_size = run["config"]["batch_size"]
    return NUM_IMAGES // batch_size * batch_size / float(np.median(run["images_per_second"]))


def values(runs: Mapping[str, Record], value: Value) -> list[str]:
    """PyTorch's and JAX's; a dash for one that was not trained, or has no such number."""
    return [number(value(runs[name]) if name in runs else None) for name in COLUMNS]


def metric(name: str) -> Value:
    """Reads a metric of the finished run from its record."""
    return lambda run: run["metrics"][name]["value"]


def trajectories(records: Records, presets: Sequence[str]) -> str:
    """A table a preset: by epoch both mean losses, D(G(z)), and the Fréchet distance of 2,000 samples.

    The first five epochs, then every fourth and the last.
    """
    return "\n\n".join(
        f"`{preset}`:\n\n{trajectory_table(records[preset])}" for preset in presets if records.get(preset)
    )


def trajectory_table(runs: Mapping[str, Record]) -> str:
    """Of one preset: a row a framework for each epoch that is shown."""
    losses = {"generator_loss": "generator loss", "discriminator_loss": "discriminator loss", "fake_score": "D(G(z))"}
    rows: list[Sequence[str]] = [("epoch", "framework", *losses.values(), "Fréchet distance, N = 2,000")]
    num_epochs = min((len(run["quick_quality"]) for run in runs.values()), default=0)
    for epoch in range(1, num_epochs + 1):
        if epoch <= 5 or epoch % 4 == 0 or epoch == num_epochs:
            for name, run in runs.items():
                found = {**run["epochs"][epoch - 1], **run["quick_quality"][epoch - 1]}
                measured = (number(found.get(key)) for key in (*losses, "frechet_distance"))
                rows.append((str(epoch), COLUMNS[name], *measured))
    return markdown(rows)


def gan_against_dcgan(records: Records, *, gan: str = "seed004-mlp", dcgan: str = "seed004") -> str:
    """Seed 004's table, with counts and measurements where it had adjectives: one table of each."""
    architectures = [architecture_of_preset(preset) for preset in (gan, dcgan)]
    runs = [records.get(preset, {}) for preset in (gan, dcgan)]
    shown = ("coverage", "precision", "smallest_class", "frechet_distance", "mnist_score")
    by_architecture: dict[str, Callable[[Architecture], str]] = {
        "upsampling": lambda architecture: upsampling(architecture.generator),
        "parameters (G / D)": num_parameters,
        "normalisation (G / D)": normalisation,
    }
    by_run: dict[str, Value] = {
        "seconds an epoch": seconds_per_epoch,
        "generator loss, last epoch": lambda run: run["epochs"][-1]["generator_loss"],
        "stability: its change from the epoch before": last_change,
        "stability: Fréchet distance, worst relapse over the best epoch before": worst_relapse,
        **{f"quality: {METRICS[name].title}": metric(name) for name in shown},
    }
    counted = markdown(
        [
            ("aspect", f"GAN (`{gan}`)", f"DCGAN (`{dcgan}`)"),
            *((title, *map(of, architectures)) for title, of in by_architecture.items()),
            ("trained", *map(trained, (gan, dcgan), runs)),
        ]
    )
    head = [f"{kind}, {name}" for kind in ("GAN", "DCGAN") for name in COLUMNS.values()]
    measured = markdown(
        [
            ("measured", *head),
            *((title, *(cell for found in runs for cell in values(found, value))) for title, value in by_run.items()),
        ]
    )
    return f"{counted}\n\n{measured}"


def last_change(run: Record) -> float | None:
    """Relative change of the generator's mean loss in the last epoch; None after a single epoch."""
    losses = [epoch["generator_loss"] for epoch in run["epochs"]]
    return abs(losses[-1] / losses[-2] - 1) if len(losses) > 1 else None


def worst_relapse(run: Record) -> float | None:
    """The largest Fréchet distance as a multiple of the best until then: 1 if quality never got worse again."""
    distances = [quality["frechet_distance"] for quality in run["quick_quality"] if quality]
    if not distances:
        return None
    return float(np.max(np.array(distances) / np.minimum.accumulate(distances)))


def first_steps(records: Records, presets: Sequence[str]) -> str:
    """Whether D learns before G: its scores of real and generated images over the first steps, a table a preset."""
    titles = {"real_score": "D(x)", "fake_score": "D(G(z))", "generator_loss": "generator loss"}
    found = []
    for preset in presets:
        run = records.get(preset, {}).get("torch")
        if run is None:
            continue
        rows: list[Sequence[str]] = [("step", *titles.values())]
        for row in run["first_steps"]:
            if row["step"] in FIRST_STEPS:
                rows.append((f"{row['step']:.0f}", *(number(row[name], digits=2) for name in titles)))
        found.append(f"`{preset}`, PyTorch:\n\n{markdown(rows)}")
    return "\n\n".join(found)


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
            case _:
                does, channels = blocks[-1]
                blocks[-1] = (f"{does} + {SHORT_NAMES[type(spec).__name__]}", channels)
    lines = []
    for shape, group in groupby(blocks, key=lambda block: block[0]):
        first, *others = (channels for _, channels in group)
        lines.append(shape.format("-".join([*first, *(channels[-1] for channels in others)])))
    return "; ".join(lines)


def upsampling(specs: Sequence[LayerSpec]) -> str:
    """The sides of the maps that a generator goes through, and what makes them larger."""
    sizes, kinds = [1], []
    for spec in specs:
        match spec:
            case ConvTranspose():
                size = (sizes[-1] - 1) * spec.stride - 2 * spec.padding + spec.kernel_size
                kind = "transposed convolutions"
            case Linear():
                size, kind = spec.out_size, "one Linear layer"
            case _:
                continue
        if size != sizes[-1]:
            sizes.append(size)
            kinds.append(kind)
    return f"{' to '.join(map(str, sizes))} px, by {' and '.join(dict.fromkeys(kinds))}"


def normalisation(architecture: Architecture) -> str:
    """How many of each network's weighted layers a BatchNorm follows."""
    found = []
    for specs in (architecture.generator, architecture.discriminator):
        num_weighted = sum(isinstance(spec, Conv | ConvTranspose | Linear) for spec in specs)
        found.append(f"{sum(isinstance(spec, BatchNorm) for spec in specs)} of {num_weighted}")
    return f"BatchNorm after {' / '.join(found)} layers"
