"""One PyTorch module for each layer spec. Mirrors jax_impl/layers.py."""

from torch import Tensor, nn

from common import layers as specs


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
