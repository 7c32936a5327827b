"""One count of a training step's arithmetic, for both frameworks: multiplications and additions of the layers.

XLA's own count leaves out what falls on padding (7 to 14 % of these networks), PyTorch's does not: shares of the roof,
the best matrix multiplication, would differ by that alone. BatchNorm, activations and Adam are bandwidth, not
arithmetic, and are not counted. The count is of direct convolutions, whatever form computes them: Winograd's, in
`jax_impl`, takes 9 of 16 multiplications.
"""

from collections.abc import Iterable

from common.config import TrainConfig
from common.networks.layers import Architecture, Conv, ConvTranspose, LayerSpec, Linear


def forward_flops(specs: Iterable[LayerSpec], *, size: int) -> list[int]:
    """Of each layer with a kernel, for one image of side `size`: twice its multiplications."""
    counts = []
    for spec in specs:
        match spec:
            case Conv():
                size = (size + 2 * spec.padding - spec.kernel_size) // spec.stride + 1
                counts.append(2 * size**2 * spec.kernel_size**2 * spec.in_channels * spec.out_channels)
            case ConvTranspose():
                counts.append(2 * size**2 * spec.kernel_size**2 * spec.in_channels * spec.out_channels)
                size = (size - 1) * spec.stride - 2 * spec.padding + spec.kernel_size
            case Linear():
                size = spec.out_size
                counts.append(2 * spec.in_features * spec.out_features)
            case _:
                pass
    return counts


def flops_per_step(architecture: Architecture, config: TrainConfig) -> int:
    """Of one training step; a layer's two gradients cost what its forward pass does.

    D's update: two forward passes, two gradients of each kernel, and of each input but the first layer's. A generator's
    update: D forward and its inputs' gradients, G forward unless D's update has done it, and both of G's gradients,
    but that of the latents.
    """
    generator = forward_flops(architecture.generator, size=1)
    discriminator = forward_flops(architecture.discriminator, size=architecture.image_size)
    forward_passes = config.latent_batches
    updates = config.generator_updates
    of_generator = (forward_passes + 2 * updates) * sum(generator) - updates * generator[0]
    of_discriminator = (6 + 2 * updates) * sum(discriminator) - 2 * discriminator[0]
    return config.batch_size * (of_generator + of_discriminator)
