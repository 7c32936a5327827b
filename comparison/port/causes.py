"""The likely cause of a fault, found by trying: each known fix is applied to one side, and the first that brings
agreement is named.
"""

import copy
import functools
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
import torch.nn.functional as F
from flax import nnx
from torch import nn

from comparison.port.arrays import distance, leaves, nearest
from comparison.port.forward import Check, Pass, Sides, arrays, compare_alone, fed
from comparison.port.pairing import Pairing

# What a person may have meant in either framework.
NUMBERS = {
    "negative_slope": (0.01, 0.1, 0.2, 0.3),
    "eps": (1e-5, 1e-6, 1e-3, 1e-8, 1e-12),
    "momentum": (0.1, 0.01, 0.9, 0.99),
    "alpha": (1.0,),
    "num_groups": (1, 2, 4, 8, 16, 32),
}
WORDS = {
    "approximate": ("none", "tanh"),
    "mode": ("nearest", "bilinear", "bicubic"),
    "padding_mode": ("zeros", "reflect"),
}
FUNCTIONS = (F.gelu, functools.partial(F.gelu, approximate="tanh"), F.relu, F.silu)
ACTIVATIONS = (nn.Identity, nn.ReLU, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.ELU, nn.Tanh, nn.Sigmoid, nn.Softplus)


class Fix(NamedTuple):
    """A change of one side, and what is said if it brings agreement."""

    words: str
    flax: Callable[[Any], None] | None = None
    torch: Any = None  # a changed copy of PyTorch's module


def likely_cause(sides: Sides, pairing: Pairing, found: Pass, check: Check) -> str | None:
    """The first fix that brings outputs and running statistics together; None if none does."""
    torch_module, flax_module = sides[0].at(check.torch.path), sides[1].at(check.flax.path)
    for fix in itertools.chain(
        _flax_fixes(torch_module, flax_module), _torch_fixes(torch_module, pairing, check.torch.path)
    ):
        try:
            given = sides[0].alone(check.torch, module=fix.torch) if fix.torch is not None else None
            change = {"change": fix.flax} if fix.flax else {}
            errors = compare_alone(sides, pairing, check.torch, check.flax, found.grids, given, **change)
        except Exception:  # a change may fit neither module's shapes
            continue
        if (max(errors) if check.statistics else errors[0]) <= check.allowed:
            return fix.words
    return _of_statistics(sides, pairing, check) if check.statistics else _of_outputs(sides, found, check)


def _flax_fixes(torch_module: nn.Module, flax_module: Any) -> Iterator[Fix]:
    """Flax's module with PyTorch's settings, one at a time, and its kernel in other orders."""
    for name, value in _settings(torch_module).items():
        own = getattr(flax_module, name, None)
        if hasattr(flax_module, name) and own != value:
            words = f"`{name}` is {own} in Flax, where PyTorch's module has what Flax calls {value}"
            yield Fix(words, lambda module, name=name, value=value: setattr(module, name, value))
    for name in ("use_running_average", "deterministic"):
        if isinstance(own := getattr(flax_module, name, None), bool):
            mode = "training" if own else "eval"
            yield Fix(f"in {mode} mode Flax's module agrees", lambda m, name=name, own=own: setattr(m, name, not own))
    kernel = getattr(flax_module, "kernel", None)
    if isinstance(kernel, nnx.Param):
        axes = tuple(range(kernel[...].ndim - 2))
        orders: list[tuple[str, Callable[[Any], Any]]] = []
        if axes:
            orders.append(("flipping the kernel's axes makes it agree", lambda k: np.flip(k, axes)))
        if len(axes) == 2:
            orders.append(("swapping the kernel's rows and columns makes it agree", lambda k: k.swapaxes(0, 1)))
        orders.append(("transposing the kernel's input and output makes it agree", lambda k: k.swapaxes(-1, -2)))
        for words, order in orders:
            yield Fix(
                words, lambda m, order=order: m.kernel.set_value(jax.numpy.asarray(order(np.asarray(m.kernel[...]))))
            )


def _settings(module: nn.Module) -> dict[str, Any]:
    """What PyTorch's module is set to, in Flax's words."""
    found: dict[str, Any] = {
        name: value for name, value in vars(module).items() if isinstance(value, int | float) and name != "training"
    }
    if hasattr(module, "eps"):
        found["epsilon"] = module.eps
    if isinstance(momentum := getattr(module, "momentum", None), float):
        found["momentum"] = round(1 - momentum, 12)  # Flax weighs the old statistics, PyTorch the new batch
    if isinstance(module, nn.modules.conv._ConvNd):
        found |= {"strides": module.stride, "kernel_dilation": module.dilation}
        padding = module.padding if isinstance(module.padding, tuple) else ()
        found["padding"] = [(p, p) for p in padding] or str(module.padding).upper()
        if module.transposed:
            reach = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
            borders = zip(reach, padding, module.output_padding, strict=True)
            found["padding"] = [(r - p, r - p + extra) for r, p, extra in borders]
    return found | {"dtype": None, "precision": jax.lax.Precision.HIGHEST, "use_fast_variance": False}


def _torch_fixes(module: nn.Module, pairing: Pairing, path: str) -> Iterator[Fix]:
    """PyTorch's module with one setting of its own, or of what below it has no partner in Flax, changed."""
    for name, part in module.named_modules():
        if name and (f"{path}.{name}".strip(".") in pairing.modules):
            continue
        where = f"`{path}.{name}`".replace("`.", "`") if name else "the module"
        for attribute, value in vars(part).items():
            others: tuple[Any, ...] = NUMBERS.get(attribute, ()) if isinstance(value, int | float) else ()
            others = WORDS.get(attribute, ()) if isinstance(value, str) else others
            if isinstance(value, bool) and attribute != "training":
                others = (not value,)
            if value in FUNCTIONS:
                others = FUNCTIONS
            for other in others:
                if other != value:
                    changed = copy.deepcopy(module)
                    setattr(changed.get_submodule(name), attribute, other)
                    words = (
                        f"Flax's does what PyTorch's would with {attribute} {_said(other)} for {where}; "
                        f"it has {_said(value)}"
                    )
                    yield Fix(words, torch=changed)
        if isinstance(part, ACTIVATIONS) or type(part).__module__.endswith(("activation", "pooling", "normalization")):
            for kind in ACTIVATIONS:
                changed = copy.deepcopy(module)
                if name:
                    parent, _, last = name.rpartition(".")
                    setattr(changed.get_submodule(parent), last, kind())
                else:
                    changed = kind()
                if kind is not type(part):
                    yield Fix(
                        f"Flax's does what PyTorch's would with {kind.__name__} for {where}, a {type(part).__name__}",
                        torch=changed,
                    )
    if isinstance(bias := getattr(module, "bias", None), nn.Parameter):
        changed: Any = copy.deepcopy(module)
        changed.bias = nn.Parameter(0 * bias)
        yield Fix("Flax's module lacks PyTorch's bias", torch=changed)


def _said(value: Any) -> str:
    if isinstance(value, functools.partial):
        return f"{value.func.__name__}({', '.join(f'{name}={each!r}' for name, each in value.keywords.items())})"
    return getattr(value, "__name__", repr(value))


def _of_outputs(sides: Sides, found: Pass, check: Check) -> str | None:
    """What turns Flax's output into PyTorch's: a factor, a shift, another order of its axes."""
    args, kwargs = fed(sides, check.torch, check.flax, found.grids)
    try:
        measured = arrays(sides[1], sides[1].alone(check.flax, args=args, kwargs=kwargs)[0])
    except Exception:
        return None
    references = arrays(sides[0], check.torch.outputs)
    if len(measured) != 1 or not np.isfinite(measured[0]).all():
        return None
    output, match = measured[0], nearest(measured[0], references, found.grids)
    if match is None:
        return None
    reference = match.layout(references[match.place])
    flat, wanted = output.ravel().astype(np.float64), reference.ravel().astype(np.float64)
    if flat.size > 2 and np.ptp(flat) > 0:
        factor, shift = np.polyfit(flat, wanted, 1)
        if distance(factor * flat + shift, wanted) <= 10 * check.allowed:
            if abs(factor - 1) < 1e-8 and abs(shift) <= 1e-8 * np.abs(wanted).max():
                return None
            negligible = abs(shift) <= 10 * check.allowed * np.abs(wanted).max()
            return f"PyTorch's output is {factor:.9g} times Flax's" + ("" if negligible else f" plus {shift:.6g}")
    elif flat.size and (flat != 0).all() and np.ptp(wanted / flat) <= 10 * check.allowed * abs(wanted / flat).max():
        return f"PyTorch's output is {wanted[0] / flat[0]:.9g} times Flax's"
    gap = wanted.reshape(output.shape) - flat.reshape(output.shape)
    if (
        output.ndim > 1
        and np.ptp(gap, axis=tuple(range(output.ndim - 1))).max() <= 10 * check.allowed * np.abs(wanted).max()
    ):
        return "the two differ by one number per channel, as with another bias"
    for order in itertools.permutations(range(1, output.ndim)):
        turned = output.transpose(0, *order)
        if order != tuple(range(1, output.ndim)) and distance(turned, reference) <= check.allowed:
            return f"with its axes in the order {(0, *order)} Flax's output agrees"
    for axis in range(1, output.ndim):
        if distance(np.flip(output, axis), reference) <= check.allowed:
            return f"with axis {axis} reversed Flax's output agrees"
    return None


def _of_statistics(sides: Sides, pairing: Pairing, check: Check) -> str | None:
    """Whether Flax keeps the biased variance, which it does by itself."""
    module: Any = sides[0].at(check.torch.path)
    if "running_var" not in check.torch.after or module.momentum is None:
        return None
    inputs = sides[0].array(leaves(check.torch.args)[0])
    count = inputs.size // inputs.shape[1]
    old, new = (sides[0].array(state["running_var"]) for state in (check.torch.before, check.torch.after))
    biased = (1 - module.momentum) * old + (new - (1 - module.momentum) * old) * (count - 1) / max(count, 2)
    measured = sides[1].array(check.flax.after["var"])
    if distance(measured, biased) <= max(
        10 * check.allowed, math.sqrt(check.allowed) if check.accumulated > check.allowed else 0
    ):
        return "Flax's BatchNorm keeps the biased running variance; PyTorch's is n / (n - 1) times as large"
    return None
