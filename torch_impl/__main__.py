"""python -m torch_impl: train in this framework alone, or look at a model. Mirrors jax_impl/__main__.py."""

import sys
from typing import TYPE_CHECKING

from common.commands.dispatch import standalone

if TYPE_CHECKING:
    from common.contract import Framework


def load_framework() -> "Framework":
    """Import PyTorch only once the flags are known to be right, so that the clock sees it and errors come fast."""
    from common.contract import Framework
    from torch_impl import device, trainer

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
        create_compiled_trainer=trainer.create_compiled_trainer,
    )


if __name__ == "__main__":
    sys.exit(standalone("torch", load_framework, sys.argv[1:]))
