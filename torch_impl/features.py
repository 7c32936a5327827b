"""What excites a channel of the discriminator, by guided backpropagation. Mirrors jax_impl/features.py."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torch_impl.model import Discriminator


def guided_leaky_relu(inputs: Tensor, negative_slope: float) -> Tensor:
    """Springenberg et al. 2015, section 3.4: a gradient passes where it and the input are both positive."""
    outputs = F.leaky_relu(inputs, negative_slope)
    # The hook runs before LeakyReLU's derivative, which is 1 wherever anything passes.
    outputs.register_hook(lambda gradient: gradient.clamp(min=0) * (inputs > 0))
    return outputs


def guided_maps(discriminator: Discriminator, images: Tensor, layer: int) -> Tensor:
    """What LeakyReLU `layer`, counted from 0, returns for images (N, C, S, S); its gradients are guided."""
    num_passed = 0
    for module in discriminator:
        if isinstance(module, nn.LeakyReLU):
            images = guided_leaky_relu(images, module.negative_slope)
            if num_passed == layer:
                return images
            num_passed += 1
        else:
            images = module(images)
    raise IndexError(f"layer is {layer}, but the discriminator has only {num_passed} LeakyReLU layers")


def guided_gradients(discriminator: Discriminator, images: Tensor, layer: int, channels: Tensor) -> Tensor:
    """Images (N, C, S, S): the gradient of channel `channels[n]` of LeakyReLU `layer` where image n excites it most."""
    images = images.detach().requires_grad_()
    maps = guided_maps(discriminator, images, layer)
    maps = maps[torch.arange(len(maps)), channels].flatten(1)  # (N, H * W)
    # Over an even background many places are equal but for rounding: in float32 they tie, and the first is taken.
    places = maps.detach().float().argmax(dim=1)
    strongest = maps[torch.arange(len(maps)), places]
    (gradients,) = torch.autograd.grad(strongest.sum(), images)
    return gradients
