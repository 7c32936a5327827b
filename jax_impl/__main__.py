"""python -m jax_impl: train in this framework alone, or look at a model. Mirrors torch_impl/__main__.py."""

import sys
from typing import TYPE_CHECKING

from common.commands.dispatch import standalone

if TYPE_CHECKING:
    from common.contract import Framework


def load_framework() -> "Framework":
    """Import JAX only once the flags are known to be right, so that the clock sees it and errors come fast."""
    from common.contract import Framework
    from jax_impl import device, trainer

    return Framework(
        configure=device.configure,
        select_device=device.select_device,
        choose_execution=device.choose_execution,
        device_name=device.device_name,
        peak_memory=device.peak_memory,
        create_trainer=trainer.create_trainer,
        matrix_multiplication=device.matrix_multiplication,
        watch_compilation=device.watch_compilation,
        profile=device.profile,
    )


if __name__ == "__main__":
    sys.exit(standalone("jax", load_framework, sys.argv[1:]))
