"""The training step in its fastest known form; JAX's are in jax_impl/tuned/."""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.optim import Adam

fused_adam = partial(Adam, fused=True)  # one kernel updates every parameter


def spare_other_gradients(step: Callable[..., Any]) -> Callable[..., Any]:
    """The step with an update that computes no gradients of the other network, as JAX never does."""
    return partial(step, update_network=update_sparingly)


def update_sparingly(network: nn.Module, optimizer: Adam, loss: Tensor) -> None:
    """One Adam update of `network`, whose gradients alone are computed.

    A plain `backward()` computes the discriminator's weight gradients in the generator's update too, only for the next
    `zero_grad` to drop them.
    """
    optimizer.zero_grad()
    loss.backward(inputs=list(network.parameters()))
    optimizer.step()
