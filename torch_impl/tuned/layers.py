"""The layers in their fastest known form; JAX's are in jax_impl/tuned/."""

import torch.nn.functional as F
from torch import Tensor, nn


class TunedConv(nn.Conv2d):
    """With one output pixel it is one matrix multiply, for which oneDNN's convolution takes several times as long."""

    def forward(self, input: Tensor) -> Tensor:
        kernel_size, stride, padding = self.kernel_size[0], self.stride[0], int(self.padding[0])
        if (input.shape[-1] + 2 * padding - kernel_size) // stride > 0:
            return super().forward(input)
        images = F.pad(input, [padding] * 4)[:, :, :kernel_size, :kernel_size] if padding else input
        outputs = F.linear(_channels_last(images).flatten(1), _channels_last(self.weight).flatten(1), self.bias)
        return outputs[:, :, None, None]  # (N, D, 1, 1)


class TunedConvTranspose(nn.ConvTranspose2d):
    """From an input of one pixel, as the latents are, a transposed convolution is one matrix multiply."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        if input.shape[-1] > 1 or self.padding != (0, 0):
            return super().forward(input, output_size)
        weight = _channels_last(self.weight)  # (D, K, K, C)
        outputs = (input.flatten(1) @ weight.flatten(1)).unflatten(1, weight.shape[1:])  # (N, K, K, C)
        outputs = outputs if self.bias is None else outputs + self.bias.to(outputs.dtype)
        return outputs.permute(0, 3, 1, 2)


def _channels_last(images: Tensor) -> Tensor:
    return images.permute(0, 2, 3, 1)
