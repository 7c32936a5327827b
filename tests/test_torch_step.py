"""What PyTorch's step computes, and what its tuned variant does not."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from common.layers import Conv, ConvTranspose
from tests.trainers import build, chunk_of, small_architecture, small_config


class WeightGradients(TorchDispatchMode):
    """Counts the convolutions whose weight gradient is computed."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.convolution_backward.default:
            _, weight, _ = args[-1]  # output_mask: input, weight, bias
            self.count += weight
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("variant", "num_wasted"), [("tuned", 0), ("idiomatic", 1)])
def test_only_the_tuned_generator_update_spares_the_discriminators_weight_gradients(variant, num_wasted, digits):
    config = small_config(variant=variant)
    architecture = small_architecture(config)
    trainer = build("torch", config)
    with WeightGradients() as gradients:
        trainer.train_chunk(*chunk_of(config, digits, num_steps=1))
    num_generator = sum(isinstance(spec, ConvTranspose) for spec in architecture.generator)
    num_discriminator = sum(isinstance(spec, Conv) for spec in architecture.discriminator)
    # The discriminator sees two batches in its own update, and one more in the generator's.
    assert gradients.count == num_generator + (2 + num_wasted) * num_discriminator
