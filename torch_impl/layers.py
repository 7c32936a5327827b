"""One PyTorch module for each layer spec, in the variant's form. Mirrors jax_impl/layers.py.

What `idiomatic` and `tuned` mean: docs/decisions/0015-idiomatic-and-tuned.md.
BatchNorm and LeakyReLU are PyTorch's own here: theirs are the pinned conventions (docs/decisions/0007), to which JAX's
are brought.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Adam

from common.config import TrainConfig
from common.networks import layers as specs
from torch_impl.chunks import steps_of
from torch_impl.tuned.layers import TunedConv, TunedConvTranspose
from torch_impl.tuned.replay import ReplayedSteps
from torch_impl.tuned.steps import fused_adam, spare_other_gradients


class Form(NamedTuple):
    """All that a variant and its form of execution decide: the other files of this twin see only this."""

    conv: type[nn.Conv2d]
    conv_transpose: type[nn.ConvTranspose2d]
    adam: Callable[..., Adam]
    memory_format: torch.memory_format
    prepare_step: Callable[[Callable[..., Any]], Callable[..., Any]]
    # From a step and the tensors it changes to a function that runs one step for each row of a chunk.
    prepare_steps: Callable[[Callable[..., Tensor], Callable[[], Sequence[Tensor]]], Callable[..., Tensor]]


def select(config: TrainConfig, execution: str = "step") -> Form:
    """The form of `config.variant`: PyTorch's own classes and a plain eager step, or the ones of torch_impl/tuned.

    What is taught is a call for each step: `execution` is of the tuned variant.
    """
    if config.variant == "idiomatic":
        return Form(nn.Conv2d, nn.ConvTranspose2d, Adam, torch.contiguous_format, lambda step: step, _eager_steps)
    replayed = execution == "chunk"
    return Form(
        TunedConv,
        TunedConvTranspose,
        partial(fused_adam, capturable=replayed),
        torch.channels_last,
        spare_other_gradients,
        ReplayedSteps if replayed else _eager_steps,
    )


def build_layers(network: tuple[specs.LayerSpec, ...], form: Form) -> list[nn.Module]:
    """The modules of one network; a bias that BatchNorm follows keeps its initial value.

    BatchNorm subtracts the mean, and the bias with it: the bias's gradient is 0, and what floating point makes of it
    is rounding, of which Adam, dividing a gradient by its own size, would make whole steps.
    """
    layers = [build_layer(spec, form) for spec in network]
    for layer, following in pairwise(layers):
        if isinstance(following, nn.BatchNorm2d) and isinstance(layer.bias, nn.Parameter):
            layer.bias.register_hook(torch.zeros_like)
    return layers


def build_layer(spec: specs.LayerSpec, form: Form) -> nn.Module:
    """The module of one spec, its weights still PyTorch's own: `load_weights` replaces them."""
    match spec:
        case specs.Conv() | specs.ConvTranspose():
            convolution = form.conv if isinstance(spec, specs.Conv) else form.conv_transpose
            return convolution(
                spec.in_channels,
                spec.out_channels,
                spec.kernel_size,
                stride=spec.stride,
                padding=spec.padding,
                bias=spec.bias,
            )
        case specs.Linear():
            return Linear(spec)
        case specs.BatchNorm():
            return nn.BatchNorm2d(spec.num_features, eps=spec.epsilon, momentum=spec.momentum)
        case specs.LeakyReLU():
            return nn.LeakyReLU(spec.negative_slope, inplace=True)
        case specs.ReLU():
            return nn.ReLU(inplace=True)
        case specs.Tanh():
            return nn.Tanh()


class Linear(nn.Linear):
    """`nn.Linear` from one image (N, C, S, S) to another; flattened, the channels come first."""

    def __init__(self, spec: specs.Linear) -> None:
        super().__init__(spec.in_features, spec.out_features, bias=spec.bias)
        self.out_shape = (spec.out_channels, spec.out_size, spec.out_size)

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.flatten(1)).unflatten(1, self.out_shape)


def _eager_steps(step: Callable[..., Tensor], _: Callable[[], Sequence[Tensor]]) -> Callable[..., Tensor]:
    """One call after the other, from Python."""
    return lambda images, *chunk: torch.stack([step(*data) for data in steps_of(images, *chunk)], dim=1)
