"""A model card: what a model is for, how it was made, what it scores, and how to load it anywhere."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.commands.trained_model import DESCRIPTION_FILE, FOLDER, PRETRAINED, WEIGHTS_FILE, ModelOptions, read_model
from common.config import TrainConfig
from common.evaluation.catalogue import METRICS
from common.networks.build import count_parameters
from common.networks.layers import Architecture
from common.records.folder import FRAMEWORK_NAMES, METRICS_FILE, read_json
from common.safe_read import MAX_JSON_BYTES, parse_json, read_bounded
from comparison.text import markdown, number

CARD_FILE = "README.md"
EXAMPLES = {"pytorch-state-dict": "model.pt", "orbax": "model.orbax", "onnx": "model.onnx"}  # what to call an export
MNIST_LICENCE = "MNIST by Y. LeCun, C. Cortes and C. J. C. Burges, CC BY-SA 3.0"
LOADING = {
    "pytorch-state-dict": """import torch
# `generator` is an nn.Sequential of the layers above; latents have shape (N, {latent_dim}, 1, 1)
generator.load_state_dict(torch.load("{name}", weights_only=True)["generator_average"])
images = generator.eval()(torch.randn(16, {latent_dim}, 1, 1))""",
    "orbax": """import os, jax, orbax.checkpoint
from flax import nnx
# `generator` is an nnx.Sequential of the layers above; latents have shape (N, 1, 1, {latent_dim})
model = orbax.checkpoint.StandardCheckpointer().restore(os.path.abspath("{name}"))
nnx.update(generator, nnx.restore_int_paths(model["generator_average"]))
generator.eval()
images = generator(jax.random.normal(jax.random.key(0), (16, 1, 1, {latent_dim})))""",
    "onnx": """import numpy as np, onnxruntime
session = onnxruntime.InferenceSession("{name}")
latents = np.random.default_rng(0).standard_normal((16, {latent_dim})).astype(np.float32)
[images] = session.run(["images"], {{"latents": latents}})  # in [-1, 1]""",
}
TITLES = {"pytorch-state-dict": "PyTorch", "orbax": "Flax NNX", "onnx": "ONNX"}


def how_to_make(checkpoint: str, *, made: Mapping[str, str] | None = None) -> dict[str, str]:
    """Each format's file where it is made, and else the command that makes it."""
    found = {
        target: f"python compare.py convert {checkpoint} --to {target} --output {name}"
        for target, name in EXAMPLES.items()
    }
    return found | dict(made or {})


def pretrained_card() -> str:
    """The card of the model that comes with the project."""
    model = read_model(ModelOptions(pretrained=True))
    described = parse_json(read_bounded(FOLDER / DESCRIPTION_FILE, limit=MAX_JSON_BYTES))
    metrics = {
        name: {"value": metric["float16"], "floor": metric["floor"]} for name, metric in described["metrics"].items()
    }
    return model_card(
        WEIGHTS_FILE,
        model.config,
        model.architecture,
        described,
        metrics,
        source=f"{training_command(model.config, described['framework'])}\n{described['command']}",
        formats=how_to_make(PRETRAINED),
    )


def metrics_beside(checkpoint: Path) -> dict[str, Any]:
    """The scores of the run that a checkpoint lies in, as metrics.json has them; none where it was not scored."""
    return read_json(checkpoint.parents[1] / METRICS_FILE).get("metrics", {}) if len(checkpoint.parents) > 1 else {}


def model_card(
    name: str,
    config: TrainConfig,
    architecture: Architecture,
    header: Mapping[str, Any],
    metrics: Mapping[str, Mapping[str, Any]],
    *,
    source: str,
    formats: Mapping[str, str],
) -> str:
    """The card in Markdown, with metadata that model hubs read; `formats` is a file's name, or how to make it."""
    is_mnist = config.dataset == "mnist"
    counts = " and ".join(f"{count:,} ({network})" for network, count in count_parameters(architecture).items())
    framework = header.get("framework", "an unknown framework")
    step = header.get("step")
    scores = [("metric", "this model", "real images")]
    scores += [
        (METRICS[key].title, number(metric["value"]), number(metric.get("floor")))
        for key, metric in metrics.items()
        if key in METRICS
    ]
    size = f"{architecture.image_size} x {architecture.image_size}"
    loading = []
    for target, file in formats.items():
        code = LOADING[target].format(name=file.split()[-1], latent_dim=architecture.latent_dim)
        made = f"Make the file first: `{file}`.\n\n" if " " in file else ""
        loading.append(f"### {TITLES[target]}\n\n{made}```python\n{code}\n```")
    sections = [
        _metadata(config, is_mnist=is_mnist),
        f"# {name}",
        f"A DCGAN of preset `{config.preset}`: a generator of {size} images, and its discriminator.",
        "## Intended use",
        "For teaching, for tests, and for comparing frameworks. Its images are of no use as training data for a "
        "classifier. It must not be taken for a source of handwriting of real people.",
        "## Data and licence",
        f"Trained on {MNIST_LICENCE if is_mnist else f'`{config.dataset}`, whose licence its owner tells'}. "
        "The code that made it is under the MIT licence.",
        "## How it was made",
        f"Trained in {FRAMEWORK_NAMES.get(framework, framework)}, to step {step:,}."
        if isinstance(step, int)
        else "At which step it was stored is not known.",
        f"It has {counts} parameters. Samples come from the generator's average (decay {config.generator_average})."
        f"\n\n```sh\n{source}\n```",
        "## Scores",
        "10,000 samples against real test images, in features that compare inside the project alone. "
        "The last column is what real images score."
        if len(scores) > 1
        else "Its samples were not scored.",
        markdown(scores) if len(scores) > 1 else "",
        "## How to load it",
        f"The generator's layers, in order: {_layers(architecture)}.",
        *loading,
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def _metadata(config: TrainConfig, *, is_mnist: bool) -> str:
    data = "\ndatasets:\n- mnist" if is_mnist else ""
    return (
        f"---\nlicense: {'cc-by-sa-3.0' if is_mnist else 'other'}{data}\n"
        f"pipeline_tag: unconditional-image-generation\ntags:\n- dcgan\n- gan\n- pytorch\n- jax\n- onnx\n"
        f"- {config.preset}\n---"
    )


def _layers(architecture: Architecture) -> str:
    return ", ".join(f"`{spec}`" for spec in architecture.generator)


def training_command(config: TrainConfig, framework: str) -> str:
    """What trains such a model again; the preset's own values are not repeated."""
    return (
        f"python -m {framework}_impl --preset {config.preset} --epochs {config.epochs} --seed {config.seed} "
        f"--dataset {config.dataset} --variant {config.variant} --precision {config.precision}"
    )
