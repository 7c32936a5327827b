"""What excites a channel of the discriminator, by guided backpropagation. Mirrors torch_impl/features.py."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from jax_impl.conventions import LeakyReLU
from jax_impl.model import Discriminator


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def guided_leaky_relu(inputs: Array, negative_slope: float) -> Array:
    """Springenberg et al. 2015, section 3.4: a gradient passes where it and the input are both positive."""
    return LeakyReLU(negative_slope)(inputs)


def _forward(inputs: Array, negative_slope: float) -> tuple[Array, Array]:
    return LeakyReLU(negative_slope)(inputs), inputs


def _backward(negative_slope: float, inputs: Array, gradient: Array) -> tuple[Array]:
    return (jnp.maximum(gradient, 0) * (inputs > 0),)


guided_leaky_relu.defvjp(_forward, _backward)


def guided_maps(discriminator: Discriminator, images: Array, layer: int) -> Array:
    """What LeakyReLU `layer`, counted from 0, returns for images (N, S, S, C); its gradients are guided."""
    num_passed = 0
    for module in discriminator.layers:
        if isinstance(module, LeakyReLU):
            images = guided_leaky_relu(images, module.negative_slope)
            if num_passed == layer:
                return images
            num_passed += 1
        else:
            images = module(images)
    raise IndexError(f"layer is {layer}, but the discriminator has only {num_passed} LeakyReLU layers")


def guided_gradients(discriminator: Discriminator, images: Array, layer: int, channels: Array) -> Array:
    """Images (N, S, S, C): the gradient of channel `channels[n]` of LeakyReLU `layer` where image n excites it most."""

    def strongest(images: Array) -> Array:
        maps = guided_maps(discriminator, images, layer)
        maps = maps[jnp.arange(len(maps)), ..., channels].reshape(len(maps), -1)  # (N, H * W)
        # Over an even background many places are equal but for rounding: in float32 they tie, and the first is taken.
        places = jax.lax.stop_gradient(maps).astype(jnp.float32).argmax(axis=1)
        return maps[jnp.arange(len(maps)), places].sum()

    return jax.grad(strongest)(images)
