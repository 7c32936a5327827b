"""What PyTorch's step computes, and what its tuned variant does not."""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from common.networks.layers import Conv, ConvTranspose
from tests.trainers import build, chunk_of, small_architecture, small_config
from torch_impl.tuned.layers import TunedConv, TunedConvTranspose


class WeightGradients(TorchDispatchMode):
    """Counts the convolutions whose weight gradient is computed."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.convolution_backward.default:
            _, weight, _ = args[-1]  # output_mask: input, weight, bias
            self.count += weight
        return func(*args, **(kwargs or {}))


class Convolutions(TorchDispatchMode):
    """Counts the convolutions that are run."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten.convolution.default
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("variant", "num_wasted"), [("tuned", 0), ("idiomatic", 1)])
def test_only_the_tuned_generator_update_spares_the_discriminators_weight_gradients(variant, num_wasted, digits):
    config = small_config(variant=variant)
    architecture = small_architecture(config)
    trainer = build("torch", config)
    with WeightGradients() as gradients:
        trainer.train_chunk(*chunk_of(config, num_steps=1))
    # The tuned first layer of the one and the last of the other are matrix multiplies.
    num_multiplied = int(variant == "tuned")
    num_generator = sum(isinstance(spec, ConvTranspose) for spec in architecture.generator) - num_multiplied
    num_discriminator = sum(isinstance(spec, Conv) for spec in architecture.discriminator) - num_multiplied
    # The discriminator sees two batches in its own update, and one more in the generator's.
    assert gradients.count == num_generator + (2 + num_wasted) * num_discriminator


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("tuned", "plain", "spec", "size"),
    [
        (TunedConv, nn.Conv2d, (3, 2, 4), 4),
        (TunedConv, nn.Conv2d, (3, 2, 4), 7),  # more than one output pixel: a convolution
        (TunedConv, nn.Conv2d, (3, 2, 4, 2, 1), 4),
        (TunedConv, nn.Conv2d, (3, 2, 4, 2, 1), 3),  # one output pixel, that sees padding and not all of it
        (TunedConvTranspose, nn.ConvTranspose2d, (3, 2, 4), 1),
        (TunedConvTranspose, nn.ConvTranspose2d, (3, 2, 4), 2),
        (TunedConvTranspose, nn.ConvTranspose2d, (3, 2, 4, 2, 1), 1),
    ],
)
def test_tuned_convolutions_are_pytorch_s_own(tuned, plain, spec, size, bias):
    torch.manual_seed(0)
    layers = [layer(*spec, bias=bias).double().to(memory_format=torch.channels_last) for layer in (tuned, plain)]
    layers[1].load_state_dict(layers[0].state_dict())
    images = torch.randn(5, 3, size, size, dtype=torch.float64, requires_grad=True)
    results = []
    for layer in layers:
        outputs = layer(images)
        gradients = torch.autograd.grad(outputs.square().sum(), (images, *layer.parameters()))
        results.append([outputs, *gradients])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("tuned", "plain", "size"), [(TunedConv, nn.Conv2d, 4), (TunedConvTranspose, nn.ConvTranspose2d, 1)]
)
def test_tuned_convolutions_stay_in_bfloat16_where_pytorch_s_own_do(tuned, plain, size):
    images = torch.randn(5, 3, size, size)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        kinds = {layer(3, 2, 4, bias=True)(images).dtype for layer in (tuned, plain)}
    assert kinds == {torch.bfloat16}


def test_tuned_convolutions_with_one_pixel_are_no_convolutions():
    for layer, size in ((TunedConv(3, 2, 4), 4), (TunedConvTranspose(3, 2, 4), 1)):
        with Convolutions() as convolutions:
            layer(torch.randn(5, 3, size, size))
        assert convolutions.count == 0
        with Convolutions() as convolutions:
            layer(torch.randn(5, 3, 6, 6))
        assert convolutions.count == 1
