"""What excites the discriminator's filters: the same in both frameworks, and what a reference in NumPy finds."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import jax_impl.features
import torch_impl.features
from common.config import TrainConfig
from common.contract import InspectableTrainer, Trainer, Weights
from common.data.datasets import fit_images
from common.networks.layers import Architecture, BatchNorm, Conv, LeakyReLU, Linear
from tests.trainers import FRAMEWORKS, build, chunk_of, real_digits, small_architecture, small_config

STEP = 1e-6  # of a finite difference: D is piecewise linear in eval mode, and nearly never bends within it


def trained(framework: str, config: TrainConfig, digits: np.ndarray, *, image_channels: int = 1) -> InspectableTrainer:
    """A trainer after two steps in PyTorch, so that no BatchNorm is the identity."""
    images = real_digits(config.image_size)
    if image_channels == 3:
        images = np.stack([images, images // 2, 255 - images], axis=-1)
    teacher, pupil = (
        build(name, config, image_channels=image_channels, images=images) for name in ("torch", framework)
    )
    teacher.train_chunk(*chunk_of(config, num_steps=2))
    pupil.load_weights(teacher.export_weights())
    return pupil


def gradients_in_float64(framework: str, trainer: Any, images: np.ndarray, layer: int, channels: np.ndarray):
    """What the framework computes before it is rounded to float32, as (N, C, S, S)."""
    trainer.discriminator.eval()
    scaled = images / 127.5 - 1
    if framework == "torch":
        inputs = torch.from_numpy(scaled)[:, None]
        return torch_impl.features.guided_gradients(
            trainer.discriminator, inputs, layer, torch.from_numpy(channels)
        ).numpy()
    with jax.enable_x64():
        inputs, on_device = jnp.asarray(scaled[..., None]), jnp.asarray(channels)
        gradients = jax_impl.features.guided_gradients(trainer.discriminator, inputs, layer, on_device)
    return np.moveaxis(np.asarray(gradients), -1, 1)


class Reference:
    """D up to one LeakyReLU, for one image (C, S, S), in NumPy: forward, and backward with or without guidance."""

    def __init__(self, architecture: Architecture, weights: Weights, layer: int) -> None:
        leaky = [index for index, spec in enumerate(architecture.discriminator) if isinstance(spec, LeakyReLU)]
        self.layers = [
            (spec, {name: weights.get(f"discriminator.layers.{index}.{name}") for name in NAMES})
            for index, spec in enumerate(architecture.discriminator[: leaky[layer] + 1])
        ]

    def forward(self, image: np.ndarray) -> list[np.ndarray]:
        """The input of every layer, and the last one's output."""
        maps = [image]
        for spec, own in self.layers:
            maps.append(self._apply(spec, own, maps[-1]))
        return maps

    def gradient(self, image: np.ndarray, channel: int, *, guided: bool) -> np.ndarray:
        *inputs, output = self.forward(image)
        gradient = np.zeros_like(output)
        gradient[channel].flat[output[channel].astype(np.float32).argmax()] = 1
        for (spec, own), values in zip(self.layers[::-1], inputs[::-1], strict=True):
            gradient = self._back(spec, own, values, gradient, guided=guided)
        return gradient

    def _apply(self, spec: Any, own: dict[str, Any], values: np.ndarray) -> np.ndarray:
        match spec:
            case Conv():
                padded = np.pad(values, ((0, 0), *[(spec.padding, spec.padding)] * 2))
                windows = np.lib.stride_tricks.sliding_window_view(padded, (spec.kernel_size,) * 2, (1, 2))
                outputs = np.einsum("cijkl,dckl->dij", windows[:, :: spec.stride, :: spec.stride], own["weight"])
                return outputs if own["bias"] is None else outputs + own["bias"][:, None, None]
            case Linear():
                return (own["weight"] @ values.ravel() + own["bias"]).reshape(-1, spec.out_size, spec.out_size)
            case BatchNorm():
                scale = own["weight"] / np.sqrt(own["running_var"] + spec.epsilon)
                return scale[:, None, None] * (values - own["running_mean"][:, None, None]) + own["bias"][:, None, None]
            case _:
                return np.where(values > 0, values, spec.negative_slope * values)

    def _back(
        self, spec: Any, own: dict[str, Any], values: np.ndarray, gradient: np.ndarray, *, guided: bool
    ) -> np.ndarray:
        match spec:
            case Conv():
                padded = np.zeros((values.shape[0], *(size + 2 * spec.padding for size in values.shape[1:])))
                for row, column in np.ndindex(*gradient.shape[1:]):
                    top, left = row * spec.stride, column * spec.stride
                    spread = np.einsum("d,dckl->ckl", gradient[:, row, column], own["weight"])
                    padded[:, top : top + spec.kernel_size, left : left + spec.kernel_size] += spread
                inside = slice(spec.padding, -spec.padding or None)
                return padded[:, inside, inside]
            case Linear():
                return (gradient.ravel() @ own["weight"]).reshape(values.shape)
            case BatchNorm():
                return gradient * (own["weight"] / np.sqrt(own["running_var"] + spec.epsilon))[:, None, None]
            case _ if guided:
                return gradient * (gradient > 0) * (values > 0)
            case _:
                return gradient * np.where(values > 0, 1, spec.negative_slope)


NAMES = ("weight", "bias", "running_mean", "running_var")


def reference_of(config: TrainConfig, trainer: Trainer, layer: int) -> Reference:
    return Reference(small_architecture(config), trainer.export_weights(), layer)


@pytest.mark.parametrize("preset", ["dcgan32", "seed004-mlp"])
def test_without_guidance_the_reference_is_the_slope_of_the_activation(preset, digits):
    config = small_config(preset, precision="float64")
    image = fit_images(digits[:1], config.image_size) / 127.5 - 1
    for layer in range(3):
        reference = reference_of(config, trained("torch", config, digits), layer)
        gradient = reference.gradient(image, 2, guided=False)
        place = reference.forward(image)[-1][2].astype(np.float32).argmax()
        assert (gradient != 0).sum() > 10
        for pixel in np.argsort(-abs(gradient).ravel())[:20]:
            moved = np.zeros(image.size)
            moved[pixel] = STEP
            above, below = (
                reference.forward(image + sign * moved.reshape(image.shape))[-1][2].flat[place] for sign in (1, -1)
            )
            assert (above - below) / (2 * STEP) == pytest.approx(gradient.flat[pixel], rel=1e-5)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("preset", ["seed001", "seed003", "seed004-mlp"])
def test_each_framework_finds_the_guided_gradient_of_the_reference(framework, preset, digits):
    config = small_config(preset, precision="float64")
    trainer = trained(framework, config, digits)
    images, channels = fit_images(digits[:3], config.image_size).copy(), np.array([0, 2, 3])
    num_layers = sum(isinstance(spec, LeakyReLU) for spec in small_architecture(config).discriminator)
    expected = np.empty(0)
    for layer in range(num_layers):
        reference = reference_of(config, trainer, layer)
        pairs = [(image[None] / 127.5 - 1, channel) for image, channel in zip(images, channels, strict=True)]
        expected = np.stack([reference.gradient(*pair, guided=True) for pair in pairs])
        plain = np.stack([reference.gradient(*pair, guided=False) for pair in pairs])
        assert expected.any()
        if layer > 0:  # else there is nothing between the activation and the image
            assert abs(plain - expected).max() > 1e-4
        np.testing.assert_allclose(
            gradients_in_float64(framework, trainer, images, layer, channels), expected, rtol=0, atol=1e-10
        )
    rounded = trainer.discriminator_gradients(images, layer=num_layers - 1, channels=channels)
    assert rounded.dtype == np.float32
    np.testing.assert_allclose(rounded, expected[:, 0], rtol=0, atol=1e-7)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_gradients_of_a_colour_model_are_colour_images(framework, digits):
    config = small_config(precision="float64")
    images = np.stack([fit_images(digits[:2], 32), fit_images(digits[2:4], 32), fit_images(digits[4:6], 32)], axis=-1)
    channels = np.array([1, 3])
    gradients, expected = (
        trained(name, config, digits, image_channels=3).discriminator_gradients(images, layer=1, channels=channels)
        for name in (framework, "torch")
    )
    assert gradients.shape == (2, 32, 32, 3)
    assert gradients.dtype == np.float32
    assert len({gradients[..., channel].tobytes() for channel in range(3)}) == 3
    np.testing.assert_allclose(gradients, expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_looking_at_gradients_leaves_training_as_it_was(framework, digits):
    config = small_config()
    chunk = chunk_of(config, num_steps=1)
    looked, plain = build(framework, config), build(framework, config)
    images = fit_images(digits[:4], config.image_size)
    looked.discriminator_gradients(images, layer=1, channels=np.array([0, 1, 2, 3]))
    np.testing.assert_array_equal(looked.train_chunk(*chunk), plain.train_chunk(*chunk))
    for name, array in looked.export_weights().items():
        assert array.tobytes() == plain.export_weights()[name].tobytes(), name


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_layer_that_is_not_there_is_named(framework, digits):
    trainer = build(framework, small_config())
    with pytest.raises(IndexError, match="layer is 3, but the discriminator has only 3 LeakyReLU layers"):
        trainer.discriminator_gradients(fit_images(digits[:1], 32), layer=3, channels=np.array([0]))
