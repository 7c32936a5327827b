"""One PyTorch module for each layer spec. Mirrors jax_impl/layers.py."""

from torch import nn

from common import architectures as specs


def build_layer(spec: specs.LayerSpec) -> nn.Module:
    """The module of one spec, its weights still PyTorch's own: `load_weights` replaces them."""
    match spec:
        case specs.Conv():
            return nn.Conv2d(
                spec.in_channels,
                spec.out_channels,
                spec.kernel_size,
                stride=spec.stride,
                padding=spec.padding,
                bias=spec.bias,
            )
        case specs.ConvTranspose():
            return nn.ConvTranspose2d(
                spec.in_channels,
                spec.out_channels,
                spec.kernel_size,
                stride=spec.stride,
                padding=spec.padding,
                bias=spec.bias,
            )
        case specs.BatchNorm():
            return nn.BatchNorm2d(spec.num_features, eps=spec.epsilon, momentum=spec.momentum)
        case specs.LeakyReLU():
            return nn.LeakyReLU(spec.negative_slope, inplace=True)
        case specs.ReLU():
            return nn.ReLU(inplace=True)
        case specs.Tanh():
            return nn.Tanh()
