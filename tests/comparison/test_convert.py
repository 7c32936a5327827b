"""A checkpoint leaves for plain PyTorch or plain Flax NNX, works there without this project, and comes back whole."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
import torch
from safetensors.torch import load_file, save_file

import jax_impl.export
import torch_impl.export
from common.commands import trained_model
from common.commands.trained_model import ModelOptions, read_model
from common.config import TrainConfig, to_dict
from common.contract import Weights, WeightsError, expected_shapes
from common.data.randomness import fixed_latents
from common.errors import UserError, report_errors
from common.networks.build import build_architecture, weight_shapes
from common.networks.layers import Architecture, BatchNorm, Conv, ConvTranspose, Tanh
from common.records.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from common.records.origin import find_origin
from comparison.checkpoints.diff import load_side
from comparison.checkpoints.matching import Leaf, match_network
from comparison.commands.dispatch import PROGRAM, run_command
from tests.test_boundaries import BLOCK, FRAMEWORK_MODULES, run_python
from tests.trainers import DISTINCT_PRESETS, FRAMEWORKS, build, small_architecture, small_config

CONFIG = small_config()
NUM_UPDATES = 1234
FORMATS = {"torch": "pytorch-state-dict", "jax": "orbax"}
EXPORTS = {"torch": torch_impl.export, "jax": jax_impl.export}

# What somebody writes who has PyTorch and the file: width 4, latents of 16.
PLAIN_TORCH = """
import copy, sys, numpy as np, torch
from torch import nn

preset, path = sys.argv[1:]

def up(inputs, outputs, kernel=4, stride=2, padding=1):
    convolution = nn.ConvTranspose2d(inputs, outputs, kernel, stride, padding, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]

def down(inputs, outputs):
    return [nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)]

first_up = up(16, 16, 4, 1, 0) + up(16, 8) if preset == "dcgan32" else up(16, 8, 7, 1, 0)
last_down = down(8, 16) + [nn.Conv2d(16, 1, 4, bias=False)] if preset == "dcgan32" else [nn.Conv2d(8, 1, 7, bias=False)]
discriminator = nn.Sequential(nn.Conv2d(1, 4, 4, 2, 1, bias=False), nn.LeakyReLU(0.2), *down(4, 8), *last_down)
generator = nn.Sequential(*first_up, *up(8, 4), nn.ConvTranspose2d(4, 1, 4, 2, 1, bias=False), nn.Tanh())
if preset == "seed001":
    slope, up, down = nn.LeakyReLU(0.2), nn.ConvTranspose2d, nn.Conv2d
    spread, gather = nn.Sequential(slope, nn.Unflatten(1, (16, 4, 4))), nn.Sequential(slope, nn.Flatten())
    generator = nn.Sequential(
        nn.Linear(16, 256), spread, up(16, 8, 4, 2, 1), nn.BatchNorm2d(8), slope,
        up(8, 4, 4, 2, 1), nn.BatchNorm2d(4), slope, up(4, 1, 4, 2, 1), nn.Tanh(),
    )
    discriminator = nn.Sequential(
        down(1, 4, 4, 2, 1), nn.BatchNorm2d(4), slope, down(4, 8, 4, 2, 1), nn.BatchNorm2d(8), slope,
        down(8, 16, 4, 2, 1), gather, nn.Linear(256, 1),
    )
average = copy.deepcopy(generator)
optimizer = torch.optim.Adam(generator.parameters())
discriminator_optimizer = torch.optim.Adam(discriminator.parameters())
parts = {
    "generator": generator,
    "discriminator": discriminator,
    "generator_average": average,
    "generator_optimizer": optimizer,
    "discriminator_optimizer": discriminator_optimizer,
}

model = torch.load(path, weights_only=True)
for name, part in parts.items():
    part.load_state_dict(model[name])
torch.save({name: part.state_dict() for name, part in parts.items()}, "again")

with torch.inference_mode():
    latents = torch.from_numpy(np.load("latents.npy"))
    images = average.eval()(latents if preset == "seed001" else latents[:, :, None, None])
    logits = discriminator.eval()(images)
for parameter in generator.parameters():
    parameter.grad = torch.ones_like(parameter)
optimizer.step()
updated = {f"generator.layers.{name}": p.detach().numpy() for name, p in generator.named_parameters()}
np.savez("results.npz", images=images.numpy()[:, 0], logits=logits.numpy().ravel(), **updated)
"""

# The same with Flax NNX, optax and Orbax.
PLAIN_JAX = """
import os, sys, jax, jax.numpy as jnp, numpy as np, optax, orbax.checkpoint as ocp
from functools import partial
from flax import nnx

preset, path = sys.argv[1:]
rngs = nnx.Rngs(0)
leaky_relu = partial(nnx.leaky_relu, negative_slope=0.2)
zeros = nnx.initializers.zeros  # faster than random weights
convolution = partial(nnx.Conv, use_bias=False, kernel_init=zeros, rngs=rngs)
transposed = partial(nnx.ConvTranspose, use_bias=False, transpose_kernel=True, kernel_init=zeros, rngs=rngs)

def up(inputs, outputs, kernel=4, stride=2, padding="SAME"):
    layer = transposed(inputs, outputs, (kernel, kernel), strides=stride, padding=padding)
    return [layer, nnx.BatchNorm(outputs, rngs=rngs), nnx.relu]

def down(inputs, outputs):
    return [convolution(inputs, outputs, (4, 4), strides=2), nnx.BatchNorm(outputs, rngs=rngs), leaky_relu]

large, valid = preset == "dcgan32", {"padding": "VALID"}
first_up = up(16, 16, 4, 1, "VALID") + up(16, 8) if large else up(16, 8, 7, 1, "VALID")
last_down = down(8, 16) + [convolution(16, 1, (4, 4), **valid)] if large else [convolution(8, 1, (7, 7), **valid)]
discriminator = nnx.Sequential(convolution(1, 4, (4, 4), strides=2), leaky_relu, *down(4, 8), *last_down)
generator = nnx.Sequential(*first_up, *up(8, 4), transposed(4, 1, (4, 4), strides=2), jnp.tanh)
if preset == "seed001":
    linear, normal = partial(nnx.Linear, kernel_init=zeros, rngs=rngs), partial(nnx.BatchNorm, rngs=rngs)
    up = partial(transposed, kernel_size=(4, 4), strides=2, use_bias=True)
    down = partial(convolution, kernel_size=(4, 4), strides=2, use_bias=True)
    spread, gather = lambda x: leaky_relu(x).reshape(-1, 4, 4, 16), lambda x: leaky_relu(x).reshape(len(x), -1)
    generator = nnx.Sequential(
        linear(16, 256), spread, up(16, 8), normal(8), leaky_relu, up(8, 4), normal(4), leaky_relu, up(4, 1), jnp.tanh
    )
    discriminator = nnx.Sequential(
        down(1, 4), normal(4), leaky_relu, down(4, 8), normal(8), leaky_relu, down(8, 16), gather, linear(256, 1)
    )
average = nnx.clone(generator)
optimizer = nnx.Optimizer(generator, optax.adam(2e-4, 0.5, 0.999), wrt=nnx.Param)
discriminator_optimizer = nnx.Optimizer(discriminator, optax.adam(2e-4, 0.5, 0.999), wrt=nnx.Param)
parts = {
    "generator": generator,
    "discriminator": discriminator,
    "generator_average": average,
    "generator_optimizer": optimizer,
    "discriminator_optimizer": discriminator_optimizer,
}

with ocp.StandardCheckpointer() as checkpointer:
    model = checkpointer.restore(path)
    for name, part in parts.items():
        nnx.update(part, nnx.restore_int_paths(model[name]))
    again = {name: nnx.to_pure_dict(nnx.state(part)) for name, part in parts.items()}
    checkpointer.save(os.path.abspath("again"), again)

average.eval()
discriminator.eval()
latents = np.load("latents.npy")
images = nnx.jit(average)(latents if preset == "seed001" else latents[:, None, None, :])
logits = nnx.jit(discriminator)(images)
gradients = jax.tree.map(jnp.ones_like, nnx.state(generator, nnx.Param))
nnx.jit(lambda optimizer, generator: optimizer.update(generator, gradients))(optimizer, generator)
canonical = {"kernel": "weight", "scale": "weight", "bias": "bias"}
updated = {}
for (_, index, name), parameter in nnx.to_flat_state(nnx.state(generator, nnx.Param)):
    array = np.array(parameter[...])
    if preset == "seed001" and index == 0:  # Flax flattens with the channels last, PyTorch with the channels first
        array = np.moveaxis(array.reshape(-1, 4, 4, 16), -1, 1).reshape(-1, 256).T.squeeze()
    updated[f"generator.layers.{index}.{canonical[name]}"] = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array
np.savez("results.npz", images=images[..., 0], logits=logits.ravel(), **updated)
"""
PLAIN = {"torch": PLAIN_TORCH, "jax": PLAIN_JAX}


def trained_weights(architecture: Architecture, config: TrainConfig = CONFIG, *, seed: int = 0) -> Weights:
    """As after many updates: no tensor is at rest, variances are positive, one number is denormal and one is -0."""
    draw = np.random.default_rng(seed)
    dtype = np.float64 if config.precision == "float64" else np.float32
    weights: Weights = {}
    for name, shape in expected_shapes(architecture).items():
        positive = name.endswith((".running_var", ".exp_avg_sq"))
        values = draw.uniform(0.1, 1, shape) if positive else draw.normal(0, 0.2, shape)
        weights[name] = np.array(NUM_UPDATES, np.int64) if name.endswith(".adam.step") else values.astype(dtype)
    weights["generator.layers.0.weight.adam.exp_avg_sq"].flat[0] = 1e-40
    weights["generator.layers.0.weight.adam.exp_avg"].flat[0] = -0.0
    return weights


def average_of(weights: Weights) -> Weights:
    """Another generator, as the average is."""
    names = (name for name in weights if name.startswith("generator.") and ".adam." not in name)
    return {name: weights[name] * weights[name].dtype.type(0.9) for name in names}


def write_run(
    folder: Path,
    config: TrainConfig = CONFIG,
    *,
    framework: str = "torch",
    image_channels: int = 1,
    changes: Weights | None = None,
) -> Path:
    """A run folder with one checkpoint; returns the checkpoint."""
    weights = trained_weights(small_architecture(config, image_channels=image_channels), config) | (changes or {})
    (folder / "checkpoints").mkdir(parents=True)
    header = {"config": to_dict(config), "epoch": 1, "framework": framework}
    return save_checkpoint(folder / "checkpoints", weights, average_of(weights), step=NUM_UPDATES, header=header)


def bits(checkpoint: Checkpoint) -> list[dict[str, tuple[str, tuple[int, ...], bytes]]]:
    """Two arrays are the same only if -0 is -0 and float32 is float32."""
    parts = (checkpoint.weights, checkpoint.average)
    return [{name: (a.dtype.str, a.shape, a.tobytes()) for name, a in tensors.items()} for tensors in parts]


def convert(*words: object) -> int:
    return run_command(["convert", *map(str, words)])


def discriminate(weights: Weights, config: TrainConfig, images: np.ndarray) -> np.ndarray:
    """This project's logits in eval mode."""
    trainer: Any = build("torch", config)
    trainer.load_weights(weights)
    with torch.inference_mode():
        return trainer.discriminator.eval()(torch.from_numpy(images)[:, None]).numpy()


def updated(weights: Weights, name: str, config: TrainConfig) -> np.ndarray:
    """Kingma & Ba 2015, algorithm 1, for a gradient of ones."""
    first = config.beta1 * weights[f"{name}.adam.exp_avg"].astype(np.float64) + 1 - config.beta1
    second = config.beta2 * weights[f"{name}.adam.exp_avg_sq"].astype(np.float64) + 1 - config.beta2
    step = NUM_UPDATES + 1
    first, second = first / (1 - config.beta1**step), second / (1 - config.beta2**step)
    return weights[name] - config.learning_rate_generator * first / (np.sqrt(second) + 1e-8)


@pytest.fixture
def elsewhere(tmp_path) -> Callable[[str], tuple[Path, Path]]:
    """Converts a new checkpoint for a framework; returns the checkpoint and what it became."""

    def run(framework: str) -> tuple[Path, Path]:
        checkpoint = write_run(tmp_path / "run")
        convert(checkpoint, "--to", FORMATS[framework], "--output", tmp_path / "elsewhere")
        return checkpoint, tmp_path / "elsewhere"

    return run


def rewrite(framework: str, path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Load the model as its users do, change it, and save it again."""
    if framework == "torch":
        content = torch.load(path, weights_only=True)
        change(content)
        torch.save(content, path)
        return
    with ocp.StandardCheckpointer() as checkpointer:
        content = checkpointer.restore(path)
        change(content)
        checkpointer.save(path, content, force=True)


def fails(captured: Any, *words: object) -> str:
    """Run the command, which must end with exit code 2 and one line; returns the line."""
    captured.readouterr()
    assert report_errors(PROGRAM, lambda: convert(*words)) == 2
    printed = captured.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1, printed.err
    return printed.err.strip()


@pytest.mark.parametrize("preset", DISTINCT_PRESETS)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_every_preset_comes_back_bit_for_bit(framework, preset, tmp_path):
    checkpoint = write_run(tmp_path / "run", small_config(preset))
    assert convert(tmp_path / "run", "--to", FORMATS[framework], "--output", tmp_path / "elsewhere") == 0
    back = ["--like", checkpoint, "--output", tmp_path / "back.safetensors"]
    assert convert(tmp_path / "elsewhere", "--to", "safetensors", *back) == 0
    first, second = load_checkpoint(checkpoint), load_checkpoint(tmp_path / "back.safetensors")
    assert bits(first) == bits(second)
    assert first.header == second.header


@pytest.mark.parametrize(
    ("changes", "channels"), [({"precision": "float64"}, 1), ({"precision": "bfloat16"}, 1), ({}, 3)]
)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_other_precisions_and_colour_come_back_bit_for_bit(framework, changes, channels, tmp_path):
    checkpoint = write_run(tmp_path / "run", small_config(**changes), image_channels=channels, framework="jax")
    convert(checkpoint, "--to", FORMATS[framework], "--output", tmp_path / "elsewhere")
    back = ["--like", tmp_path / "run", "--output", tmp_path / "back.safetensors"]
    convert(tmp_path / "elsewhere", "--to", "safetensors", *back)
    assert bits(load_checkpoint(checkpoint)) == bits(load_checkpoint(tmp_path / "back.safetensors"))


@pytest.mark.parametrize(
    ("framework", "preset"),
    [
        ("torch", "seed001"),
        ("jax", "dcgan32"),
        *(pytest.param(*pair, marks=pytest.mark.slow) for pair in (("torch", "dcgan32"), ("jax", "seed001"))),
    ],
)
def test_code_without_this_project_makes_the_same_images_and_the_same_next_update_and_loses_no_bit(
    framework, preset, tmp_path
):
    config = small_config(preset)
    checkpoint = load_checkpoint(write_run(tmp_path / "run", config, framework=framework))
    convert(tmp_path / "run", "--to", FORMATS[framework], "--output", tmp_path / "elsewhere")
    latents = fixed_latents(config.seed, num=8, latent_dim=config.latent_dim)
    np.save(tmp_path / "latents.npy", latents)

    command = [sys.executable, "-I", "-c", PLAIN[framework], preset, str(tmp_path / "elsewhere")]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, env=environment)
    assert result.returncode == 0, result.stderr
    # What that code saved, after it had loaded everything, comes back too.
    back = ["--like", tmp_path / "run", "--output", tmp_path / "back.safetensors"]
    convert(tmp_path / "again", "--to", "safetensors", *back)
    assert bits(load_checkpoint(tmp_path / "back.safetensors")) == bits(checkpoint)
    results = np.load(tmp_path / "results.npz")

    trainer = build(framework, config)
    trainer.load_weights(checkpoint.weights | checkpoint.average)
    images = trainer.generate(latents)
    assert images.std() > 0.03
    np.testing.assert_allclose(results["images"], images, rtol=0, atol=1e-5)
    np.testing.assert_allclose(results["logits"], discriminate(checkpoint.weights, config, images), rtol=0, atol=1e-5)
    parameters = [name for name in weight_shapes(small_architecture(config)) if name.startswith("generator.")]
    assert {"images", "logits", *parameters} == set(results.files)
    for name in parameters:
        expected = updated(checkpoint.weights, name, config)
        np.testing.assert_allclose(results[name], expected, rtol=0, atol=1e-7, err_msg=name)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_axes_follow_the_kind_of_layer_also_where_sizes_cannot_tell_it(framework):
    layers = (Conv(3, 3, 3, 1, 1, bias=True), BatchNorm(3), ConvTranspose(3, 3, 3, 1, 1, bias=True), Tanh())
    architecture = Architecture(layers, layers, latent_dim=3, image_size=3, image_channels=3)
    weights = trained_weights(architecture)
    average = average_of(weights)
    native = EXPORTS[framework].to_native(weights, average, architecture, CONFIG)
    assert bits(Checkpoint(*EXPORTS[framework].to_canonical(native, architecture, CONFIG), header={})) == bits(
        Checkpoint(weights, average, {})
    )
    state = native["generator_average"]
    for index in (0, 2):
        kernel = state[f"{index}.weight"] if framework == "torch" else state["layers"][index]["kernel"]
        axes = (0, 1, 2, 3) if framework == "torch" else (2, 3, 1, 0)
        assert np.array_equal(kernel, average[f"generator.layers.{index}.weight"].transpose(axes))
    assert len(state) == 2 + 5 + 2 if framework == "torch" else [len(state["layers"][i]) for i in range(3)] == [2, 4, 2]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_whoever_trained_on_elsewhere_comes_back_at_a_later_step(framework, elsewhere, tmp_path):
    checkpoint, path = elsewhere(framework)

    def train_on(content: dict[str, Any]) -> None:
        for optimizer in (content["generator_optimizer"], content["discriminator_optimizer"]):
            if framework == "torch":
                for state in optimizer["state"].values():
                    state["step"] += 10
            else:
                optimizer["step"] += 10
                optimizer["opt_state"]["0"]["count"] += 10

    rewrite(framework, path, train_on)
    convert(path, "--to", "safetensors", "--like", checkpoint, "--output", tmp_path / "back.safetensors")
    back = load_checkpoint(tmp_path / "back.safetensors")
    assert back.header["step"] == back.weights["generator.adam.step"] == NUM_UPDATES + 10


def test_without_output_the_result_lies_beside_what_is_converted(tmp_path, capsys):
    checkpoint = write_run(tmp_path / "run")
    convert(tmp_path / "run", "--to", "pytorch-state-dict")
    convert(checkpoint, "--to", "orbax")
    assert f"{checkpoint.with_suffix('.pt')}: both networks" in capsys.readouterr().out
    checkpoint = checkpoint.rename(tmp_path / "moved.safetensors")
    folder = tmp_path / "run" / "checkpoints"
    convert(folder / "step_1234.orbax", "--to", "safetensors", "--like", checkpoint)
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "step_1234.orbax",
        "step_1234.orbax.md",
        "step_1234.pt",
        "step_1234.safetensors",
    ]


def test_other_checkpoints_in_the_folder_of_the_result_stay(elsewhere, tmp_path):
    checkpoint, path = elsewhere("torch")
    weights, average, header = load_checkpoint(checkpoint)
    newest = save_checkpoint(checkpoint.parent, weights, average, step=NUM_UPDATES + 1, header=header)
    before = sorted(checkpoint.parent.iterdir())
    back = checkpoint.parent / "step_1.safetensors"
    convert(path, "--to", "safetensors", "--like", newest, "--output", back)
    assert sorted(checkpoint.parent.iterdir()) == sorted([*before, back])


@pytest.mark.parametrize("target", ["pytorch-state-dict", "orbax", "safetensors"])
def test_nothing_that_exists_is_overwritten(target, elsewhere, tmp_path, capsys):
    checkpoint, path = elsewhere("torch")
    output = tmp_path / "kept"
    output.write_text("mine")
    words = [path, "--like", checkpoint] if target == "safetensors" else [checkpoint]
    assert fails(capsys, *words, "--to", target, "--output", output).endswith("with --output, or remove it first")
    assert output.read_text() == "mine"


PLANTED: dict[str, dict[str, tuple[Callable[[dict[str, Any]], object], str]]] = {
    "torch": {
        "a missing weight": (lambda c: c["generator"].pop("3.weight"), "generator: 3.weight is missing"),
        "a missing average": (
            lambda c: c["generator_average"].pop("1.running_mean"),
            "generator_average: 1.running_mean is missing",
        ),
        "an unknown weight": (
            lambda c: c["generator"].update({"0.bias": torch.zeros(16)}),
            "generator: generator/0.bias (16,) is unknown",
        ),
        "a name of two lines": (
            lambda c: c["generator"].update({"0\n1": torch.zeros(1)}),
            "generator: generator/0\\n1 (1,) is unknown",
        ),
        "another shape": (
            lambda c: c["discriminator"].update({"0.weight": torch.zeros(4, 1, 3, 3)}),
            "discriminator/0.weight is float32 (4, 1, 3, 3), but",
        ),
        "another type": (
            lambda c: c["generator"].update({"0.weight": c["generator"]["0.weight"].int()}),
            "generator/0.weight is int32 (16, 16, 4, 4), but",
        ),
        "no tensor": (lambda c: c["generator"].update({"0.weight": 3}), "generator/0.weight is no tensor"),
        "NaN": (lambda c: c["generator"]["1.bias"].fill_(torch.nan), "generator.layers.1.bias holds NaN"),
        "a fresh optimizer": (
            lambda c: c["generator_optimizer"]["state"].clear(),
            "0 of the model/generator_optimizer/state is missing",
        ),
        "AMSGrad": (
            lambda c: c["generator_optimizer"]["state"][0].update(max_exp_avg_sq=torch.zeros(3)),
            "max_exp_avg_sq of the model/generator_optimizer/state/0 is unknown",
        ),
        "one parameter's own step": (
            lambda c: c["generator_optimizer"]["state"][2]["step"].add_(1),
            "generator_optimizer counts its updates as [1234.0, 1235.0], not as one whole number",
        ),
        "half a step": (
            lambda c: [state["step"].add_(0.5) for state in c["generator_optimizer"]["state"].values()],
            "generator_optimizer counts its updates as [1234.5], not as one whole number",
        ),
        "another network's optimizer": (
            lambda c: c.update(generator_optimizer=c["discriminator_optimizer"]),
            "8 of the model/generator_optimizer/state is missing",
        ),
        "an optimizer of something else": (
            lambda c: c.update(generator_optimizer={"lr": 3}),
            "state of the model/generator_optimizer is missing: leave generator_optimizer out of the file, and that of "
            "--like is taken",
        ),
        "a tensor that cannot be copied": (
            lambda c: c["generator"].update({"0.weight": c["generator"]["0.weight"].to("meta")}),
            "is not laid out as `convert` writes it",
        ),
    },
    "jax": {
        "a missing weight": (
            lambda c: c["generator"]["layers"]["3"].pop("kernel"),
            "generator: layers/3/kernel is missing",
        ),
        "a missing average": (
            lambda c: c["generator_average"]["layers"]["1"].pop("mean"),
            "generator_average: layers/1/mean is missing",
        ),
        "an unknown weight": (
            lambda c: c["generator"]["layers"]["0"].update(bias=np.zeros(16, np.float32)),
            "generator: generator/layers/0/bias (16,) is unknown",
        ),
        "another shape": (
            lambda c: c["discriminator"]["layers"]["0"].update(kernel=np.zeros((3, 3, 1, 4), np.float32)),
            "discriminator/layers/0/kernel is float32 (3, 3, 1, 4)",
        ),
        "another rank": (
            lambda c: c["discriminator"]["layers"]["0"].update(kernel=np.zeros((16, 4), np.float32)),
            "discriminator/layers/0/kernel is float32 (16, 4)",
        ),
        "NaN": (
            lambda c: c["generator"]["layers"]["1"]["bias"].fill(np.nan),
            "generator.layers.1.bias holds NaN",
        ),
        "two step counts": (
            lambda c: c["generator_optimizer"].update(step=np.array(7, np.uint32)),
            "generator_optimizer counts its updates as [7.0, 1234.0], not as one whole number",
        ),
        "half a step": (
            lambda c: c["generator_optimizer"].update(step=np.array(7.5)),
            "generator_optimizer/step is float64",
        ),
        "no step": (
            lambda c: (c["generator_optimizer"].pop("step"), c["generator_optimizer"]["opt_state"]["0"].pop("count")),
            "step of the model/generator_optimizer is missing",
        ),
    },
}


@pytest.mark.parametrize(
    ("framework", "case"), [(framework, case) for framework, cases in PLANTED.items() for case in cases]
)
def test_a_tensor_that_is_not_as_it_should_be_is_named(framework, case, elsewhere, tmp_path, capsys):
    checkpoint, path = elsewhere(framework)
    change, said = PLANTED[framework][case]
    rewrite(framework, path, change)
    output = tmp_path / "back.safetensors"
    assert said in fails(capsys, path, "--to", "safetensors", "--like", checkpoint, "--output", output)
    assert not output.exists()


class Exploit:
    """Unpickled, it leaves a file."""

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (Path("exploited"),)


@pytest.fixture(scope="module")
def bad_folder(tmp_path_factory) -> Path:
    """A run, its model, and one of each kind of file and folder that is neither."""
    folder = tmp_path_factory.mktemp("bad")
    write_run(folder / "run")
    convert(folder / "run", "--to", "pytorch-state-dict", "--output", folder / "model.pt")
    (folder / "text.pt").write_text("weights")
    (folder / "empty.pt").touch()
    torch.save([1, 2], folder / "list.pt")
    torch.save(torch.nn.Linear(1, 1), folder / "module.pt")
    torch.save(Exploit(), folder / "exploit.pt")
    torch.save({"generator": {"0.weight": torch.zeros(1)}}, folder / "foreign.pt")
    (folder / "cut.pt").write_bytes((folder / "module.pt").read_bytes()[:500])
    (folder / "folder").mkdir()
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder / "foreign.orbax", {"params": {"kernel": np.zeros(3)}})
        checkpointer.save(folder / "cut.orbax", {"params": {"kernel": np.zeros(300)}})
    for data in (folder / "cut.orbax").rglob("d/*"):
        data.unlink()
    write_run(folder / "other", small_config("dcgan28"))
    write_run(folder / "nan", changes={"generator.layers.1.bias": np.full(16, np.nan, np.float32)})
    write_run(folder / "shape", changes={"generator.layers.1.bias": np.zeros(17, np.float32)})
    write_run(folder / "unknown", changes={"generator.layers.2.bias": np.zeros(17, np.float32)})
    write_run(folder / "steps", changes={"generator.adam.step": np.array(2**24 + 1)})
    return folder


BACK = ["--to=safetensors", "--like=run"]
BAD = {
    "nothing": ([], "PATH and --to {pytorch-state-dict,orbax,onnx,safetensors} are missing"),
    "no target": (["run"], "--to"),
    "an unknown target": (["run", "--to=keras"], "--to"),
    "no --like": (["model.pt", "--to=safetensors"], "--to safetensors and --like CHECKPOINT_OR_RUN go together"),
    "a needless --like": (["run", "--to=orbax", "--like=run"], "go together"),
    "a missing checkpoint": (["missing", "--to=orbax"], "missing does not exist"),
    "a folder without checkpoints": (["folder", "--to=orbax"], "folder holds no checkpoints"),
    "a state dict that is to become one": (["model.pt", "--to=pytorch-state-dict"], "cannot be read as a checkpoint"),
    "NaN in the checkpoint": (["nan", "--to=orbax"], "generator.layers.1.bias holds NaN"),
    "another shape in the checkpoint": (["shape", "--to=orbax"], "generator.layers.1.bias has shape (17,)"),
    "an unknown tensor in the checkpoint": (["unknown", "--to=orbax"], "generator.layers.2.bias is unknown"),
    "more steps than PyTorch counts": (["steps", "--to=pytorch-state-dict"], "generator.adam.step would not come back"),
    "an output in no folder": (["run", "--to=orbax", "--output=missing/out"], "a folder that exists"),
    "an output with too long a name": (["run", "--to=orbax", f"--output={'x' * 300}"], "cannot be read or written"),
    "a missing file": (["missing", *BACK], "missing does not exist"),
    "a missing --like": (["model.pt", "--to=safetensors", "--like=missing"], "missing does not exist"),
    "a device": (["/dev/null", *BACK, "--output=out"], "/dev/null does not exist"),
    "text": (["text.pt", *BACK], "text.pt is refused: it is no file of torch.save"),
    "an empty file": (["empty.pt", *BACK], "empty.pt cannot be read as a file of torch.save"),
    "a list": (["list.pt", *BACK], "list.pt: the model is no dictionary"),
    "a pickled module": (["module.pt", *BACK], "module.pt is refused"),
    "a pickle that runs code": (["exploit.pt", *BACK], "exploit.pt is refused"),
    "half a file": (["cut.pt", *BACK], "cut.pt cannot be read as a file of torch.save"),
    "another model's file": (
        ["foreign.pt", *BACK],
        "generator/0.weight is (1,), but 0.weight of --like is (16, 16, 4, 4)",
    ),
    "a checkpoint of this project": (
        ["run/checkpoints/step_1234.safetensors", *BACK, "--output=out"],
        "use it as it is",
    ),
    "an empty folder": (["folder", *BACK], "folder cannot be read as an Orbax checkpoint"),
    "the folder one is in": ([".", *BACK], ". cannot be read as an Orbax checkpoint"),
    "a run folder": (["run", *BACK], "run cannot be read as an Orbax checkpoint"),
    "another model's folder": (["foreign.orbax", *BACK], "foreign.orbax: it fits neither network of --like"),
    "a folder without its data": (["cut.orbax", *BACK], "cut.orbax cannot be read as an Orbax checkpoint"),
    "a model of another preset": (
        ["model.pt", "--to=safetensors", "--like=other"],
        "is (16, 16, 4, 4), but 0.weight of --like is (16, 8, 7, 7)",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_that_says_what_is_wrong_and_exit_code_2(case, bad_folder, monkeypatch, capfd):
    monkeypatch.chdir(bad_folder)
    before = sorted(bad_folder.rglob("*"))
    words, said = BAD[case]
    assert said in fails(capfd, *words)
    assert sorted(bad_folder.rglob("*")) == before


def test_what_orbax_logs_of_a_foreign_folder_is_not_printed(bad_folder):
    code = "import runpy\nrunpy.run_path('compare.py', run_name='__main__')"
    words = ["convert", bad_folder / "folder", "--to=safetensors", f"--like={bad_folder / 'run'}"]
    result = run_python(code, *map(str, words))  # pytest has the log elsewhere
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1, result.stderr


@pytest.mark.parametrize(
    ("framework", "other"), [("torch", "jax"), pytest.param("jax", "torch", marks=pytest.mark.slow)]
)
def test_one_framework_is_enough_and_a_missing_one_is_named(framework, other, tmp_path):
    checkpoint = write_run(tmp_path / "run", framework=other)
    blocked = {"torch": FRAMEWORK_MODULES["torch"], "jax": (*FRAMEWORK_MODULES["jax"], "orbax")}[other]
    code = BLOCK.format(blocked=blocked) + (
        "import compare\n"
        "from common.errors import UserError, report_errors\n"
        "*words, first, second = sys.argv\n"
        "for target in (first, second):\n"
        "    sys.argv = [*words, target]\n"
        "    print('exit code', report_errors('compare.py', compare.main))\n"
    )
    result = run_python(code, "convert", str(checkpoint), "--to", FORMATS[framework], FORMATS[other])
    assert result.stdout.count("exit code 0") == result.stdout.count("exit code 2") == 1
    assert f"{FORMATS[other]} needs what is not installed" in result.stderr
    assert f"pip install {other}" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def foreign(folder: Path, framework: str = "torch") -> tuple[Path, dict[str, Any]]:
    """A run to be like, and the networks of another training, as convert would write them."""
    write_run(folder / "run")
    architecture = small_architecture(CONFIG)
    weights = trained_weights(architecture, seed=1)
    return folder / "run", EXPORTS[framework].to_native(weights, average_of(weights), architecture, CONFIG)


def with_prefix(state: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {f"{prefix}{name}": value for name, value in state.items()}


def renamed(state: dict[str, Any]) -> dict[str, Any]:
    """As a class with attributes names its layers: conv0, bn1, conv3, ..."""
    norms = {name.split(".")[0] for name in state if name.endswith("running_mean")}
    return {
        f"{'bn' if number in norms else 'conv'}{number}.{leaf}": state[f"{number}.{leaf}"]
        for number, leaf in (name.split(".") for name in state)
    }


def densely_numbered(state: dict[str, Any]) -> dict[str, Any]:
    numbers = list(dict.fromkeys(name.split(".")[0] for name in state))
    return {f"{numbers.index(name.split('.')[0])}.{name.split('.')[1]}": value for name, value in state.items()}


def halved(state: dict[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    return {name: value.to(dtype) if value.is_floating_point() else value for name, value in state.items()}


# What strangers save, what of it is taken, and what is said.
STRANGERS: dict[str, tuple[Callable[[dict[str, Any]], Any], set[str], str]] = {
    "a bare netG": (lambda c: c["generator"], {"generator"}, "By its shapes, it is the generator."),
    "a bare netD": (lambda c: c["discriminator"], {"discriminator"}, "By its shapes, it is the discriminator."),
    "pytorch/examples": (
        lambda c: with_prefix(c["generator"], "main."),
        {"generator"},
        "generator: main.0.weight was taken as 0.weight, and the others so.",
    ),
    "DataParallel": (lambda c: with_prefix(c["discriminator"], "module.main."), {"discriminator"}, "module.main.0"),
    "torch.compile": (lambda c: with_prefix(c["generator"], "_orig_mod."), {"generator"}, "_orig_mod.0.weight was"),
    "both, one in the other": (
        lambda c: with_prefix(c["generator"], "_orig_mod.module.main."),
        {"generator"},
        "_orig_mod.module.main.0.weight was taken as 0.weight",
    ),
    "two networks": (
        lambda c: {"netG": c["generator"], "netD": c["discriminator"], "epoch": 3},
        {"generator", "discriminator"},
        "Not taken: epoch.",
    ),
    "state dicts under their networks' names": (
        lambda c: {"G_state_dict": c["generator"], "D_state_dict": c["discriminator"], "optimizerG": c["generator"]},
        {"generator", "discriminator"},
        "Not taken: optimizerG, an optimizer's state of another program.",
    ),
    "state dicts, optimizers and an epoch": (
        lambda c: {
            "generator_state_dict": c["generator"],
            "discriminator_state_dict": c["discriminator"],
            "optimizerG": c["generator_optimizer"],
            "opt_D": c["discriminator_optimizer"],
            "epoch": 3,
        },
        {"generator", "discriminator"},
        "Not taken: epoch.\nNot taken: opt_D, optimizerG, an optimizer's state of another program.",
    ),
    "an average": (lambda c: {"G_ema": c["generator"]}, {"generator"}, "the generator_average was taken for it"),
    "Lightning": (
        lambda c: {
            "state_dict": with_prefix(c["generator"], "generator.model.")
            | with_prefix(c["discriminator"], "discriminator."),
            "optimizer_states": [c["generator_optimizer"]],
            "hyper_parameters": {"lr": 0.1},
        },
        {"generator", "discriminator"},
        "state_dict/generator.model.0.weight was taken as 0.weight",
    ),
    "a whole checkpoint": (
        lambda c: {"model": c["generator"], "optimizer": c["generator_optimizer"]},
        {"generator"},
        "Not taken: optimizer, an optimizer's state of another program.",
    ),
    "an older PyTorch": (
        lambda c: {name: value for name, value in c["generator"].items() if "num_batches" not in name},
        {"generator"},
        "num_batches_tracked is missing 3 times, and taken from --like",
    ),
    "other names": (lambda c: renamed(c["generator"]), {"generator"}, "conv0 as 0, bn1 as 1, conv3 as 3, bn4 as 4"),
    "layers without activations": (lambda c: densely_numbered(c["generator"]), {"generator"}, "2 as 3, 3 as 4"),
    "half precision": (
        lambda c: halved(c["generator"], torch.float16),
        {"generator"},
        "tensors were widened from float16 to float32",
    ),
    "all tensors in half precision, counters too": (
        lambda c: {name: tensor.half() for name, tensor in c["generator"].items()},
        {"generator"},
        "tensors were turned back from float16 to int64",
    ),
    "bfloat16": (lambda c: halved(c["generator"], torch.bfloat16), {"generator"}, "widened from bfloat16 to float32"),
    "double precision": (lambda c: halved(c["generator"], torch.float64), {"generator"}, "rounded from float64"),
}


@pytest.mark.parametrize("case", STRANGERS)
def test_what_strangers_save_is_taken_with_the_rest_from_like_and_said(case, tmp_path, capsys):
    run, content = foreign(tmp_path)
    make, networks, said = STRANGERS[case]
    torch.save(make(content), tmp_path / "stranger.pt")
    output = tmp_path / "back.safetensors"
    assert convert(tmp_path / "stranger.pt", "--to", "safetensors", "--like", run, "--output", output) == 0
    printed = capsys.readouterr().out
    assert said in printed
    assert "From --like: " in printed
    back, like = load_checkpoint(output), load_checkpoint(run / "checkpoints" / "step_1234.safetensors")
    rtol = {"half precision": 2e-3, "all tensors in half precision, counters too": 2e-3, "bfloat16": 1e-2}.get(case, 0)
    for name, found in back.weights.items():
        network, _, rest = name.partition(".layers.")
        if network in networks and ".adam." not in name:
            np.testing.assert_allclose(found, content[network][rest].numpy(), rtol=rtol, atol=rtol / 1e3, err_msg=name)
        else:
            assert np.array_equal(found, like.weights[name]), name
    if "generator" in networks:  # samples are drawn from the average, which must be of the stranger too
        assert all(np.array_equal(average, back.weights[name]) for name, average in back.average.items())


def test_a_safetensors_file_of_another_program_is_taken_like_a_state_dict(tmp_path):
    run, content = foreign(tmp_path)
    save_file(with_prefix(renamed(content["generator"]), "module."), tmp_path / "netG.safetensors")
    output = tmp_path / "back.safetensors"
    assert convert(tmp_path / "netG.safetensors", "--to", "safetensors", "--like", run, "--output", output) == 0
    found = load_checkpoint(output).weights["generator.layers.3.weight"]
    assert np.array_equal(found, content["generator"]["3.weight"].numpy())


def test_an_orbax_folder_of_one_network_in_half_precision_is_taken(tmp_path, capsys):
    run, content = foreign(tmp_path, "jax")
    halves = jax.tree.map(lambda array: array.astype(np.float16), content["generator"])
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "netG", {"model": halves})
    output = tmp_path / "back.safetensors"
    assert convert(tmp_path / "netG", "--to", "safetensors", "--like", run, "--output", output) == 0
    found = load_checkpoint(output).weights["generator.layers.1.bias"]
    assert np.array_equal(found, halves["layers"][1]["bias"].astype(np.float32))
    assert "widened from float16 to float32" in capsys.readouterr().out


def endless() -> dict[str, Any]:
    content: dict[str, Any] = {"a": torch.zeros(1)}
    for _ in range(40):
        content = {"a": content, "b": content}
    return content


REFUSED: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "another width": (
        lambda c: with_prefix(c["generator"], "main.") | {"main.0.weight": torch.zeros(16, 32, 4, 4)},
        "main.0.weight is float32 (16, 32, 4, 4), but the networks of --like need float32 (16, 16, 4, 4)",
    ),
    "more layers": (
        lambda c: (
            with_prefix(c["generator"], "main.")
            | {"main.0.weight": torch.zeros(16, 32, 4, 4), "main.12.bias": torch.zeros(3)}
        ),
        "main.0.weight is (16, 32, 4, 4), but 0.weight of --like is (16, 16, 4, 4)",
    ),
    "a spectral norm": (
        lambda c: {"netD": with_prefix(c["discriminator"], "main.") | {"main.0.weight_u": torch.zeros(4)}},
        "netD/main.0.weight_u is of a spectral or weight norm: remove it",
    ),
    "two generators": (
        lambda c: {"netG": c["generator"], "generator": c["generator"]},
        "netG and generator could each be the generator",
    ),
    "quantized weights": (
        lambda c: c["generator"] | {"0.weight": c["generator"]["0.weight"].to(torch.int8)},
        "0.weight is int8 (16, 16, 4, 4), but",
    ),
    "more than half precision holds": (
        lambda c: c["generator"] | {"1.bias": torch.full((16,), 1e300, dtype=torch.float64)},
        "generator.layers.1.bias holds NaN or infinity",
    ),
    "no tensors": (lambda _: {"epoch": 3, "loss": 0.1}, "it holds no network: its names are epoch, loss"),
    "a dictionary in itself": (lambda _: endless(), "it holds more than 10,000 names"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_with_its_name_and_both_shapes(case, tmp_path, capsys):
    run, content = foreign(tmp_path)
    make, said = REFUSED[case]
    torch.save(make(content), tmp_path / "stranger.pt")
    output = tmp_path / "back.safetensors"
    assert said in fails(capsys, tmp_path / "stranger.pt", "--to=safetensors", "--like", run, "--output", output)
    assert not output.exists()


def test_two_layers_of_one_shape_under_other_names_are_not_guessed():
    layers = {("a", "weight"): Leaf(np.zeros(3), "a.weight"), ("b", "weight"): Leaf(np.zeros(3), "b.weight")}
    ours = {("0", "weight"): Leaf(np.zeros(3), "0.weight"), ("1", "weight"): Leaf(np.zeros(3), "1.weight")}
    with pytest.raises(WeightsError, match=r"b\.weight \(3,\) has no like of its own"):
        match_network(layers, ours, "generator")


def test_the_pretrained_model_is_converted_by_its_name_or_its_file(tmp_path, capsys):
    output = tmp_path / "pretrained.pt"
    assert convert("pretrained", "--to", "pytorch-state-dict", "--output", output) == 0
    assert "it had none of Adam's state" in capsys.readouterr().out
    halves = load_file(trained_model.FOLDER / trained_model.WEIGHTS_FILE)
    found = torch.load(output, weights_only=True)["generator_average"]["0.weight"]
    assert torch.equal(found, halves["generator.layers.0.weight"].float())


def test_the_pretrained_model_becomes_a_checkpoint_with_adam_of_a_run_like_it(tmp_path, capsys):
    config = TrainConfig(**trained_model.read_pretrained().header["config"])
    weights = trained_weights(build_architecture(config), config)
    (tmp_path / "run").mkdir()
    header = {"config": to_dict(config), "epoch": 1, "framework": "torch"}
    run = save_checkpoint(tmp_path / "run", weights, average_of(weights), step=NUM_UPDATES, header=header)
    output = tmp_path / "back.safetensors"
    assert convert("pretrained", "--to", "safetensors", "--like", run, "--output", output) == 0
    assert "From --like: generator_optimizer, discriminator_optimizer." in capsys.readouterr().out
    back, name = load_checkpoint(output).weights, "discriminator.layers.0.weight"
    assert np.array_equal(back[name], trained_model.read_pretrained().weights[name])
    assert np.array_equal(back[f"{name}.adam.exp_avg"], weights[f"{name}.adam.exp_avg"])


@pytest.mark.parametrize("kind", ["pt", "orbax"])
def test_what_convert_wrote_is_no_checkpoint_and_the_refusal_says_how_to_bring_it_back(kind, bad_folder, tmp_path):
    path = tmp_path / f"model.{kind}"
    convert(bad_folder / "run", "--to", {"pt": "pytorch-state-dict"}.get(kind, kind), "--output", path)
    for read in (load_side, find_origin, lambda path: read_model(ModelOptions(checkpoint=path))):
        with pytest.raises(UserError, match=r"compare\.py convert PATH --to safetensors --like RUN"):
            read(path)


def test_no_run_goes_on_from_the_pretrained_file_and_the_refusal_says_what_it_is():
    with pytest.raises(UserError, match="a model without Adam's state"):
        find_origin(trained_model.FOLDER / trained_model.WEIGHTS_FILE)


@pytest.mark.parametrize("name", ["x[b]", "what?*", os.fsdecode(b"n\xff\n")])
def test_an_orbax_checkpoint_may_lie_in_a_folder_of_any_name(name, tmp_path):
    from jax_impl.export import read_native, write_native

    folder = tmp_path / name
    folder.mkdir()
    write_native(folder / "model.orbax", {"weight": np.arange(3.0)})
    np.testing.assert_array_equal(read_native(folder / "model.orbax")["weight"], np.arange(3.0))
