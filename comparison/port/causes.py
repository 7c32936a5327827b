"""The likely cause of a fault, found by trying: each known fix is applied to one side, and the first that brings
agreement is named.
"""

import functools
import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np
import torch.nn.functional as F
from flax import nnx
from torch import nn

from comparison.port.arrays import distance, is_float, leaves, likeness, mapped, nearest
from comparison.port.forward import Check, Pass, compare_alone, fed
from comparison.port.side import Change, Nudge

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
COARSE = {"TF32": 10, "bfloat16": 7}  # bits of mantissa
MAX_FACTOR = 10_000  # by which a sum may differ from a mean


class Fix(NamedTuple):
    """A change of one side, and what is said if it brings agreement."""

    words: str
    flax: Change | None = None
    torch: Change | None = None
    inputs: Nudge | None = None  # of PyTorch's module
    nudge: Nudge | None = None  # of its inputs and weights


def likely_cause(found: Pass, check: Check) -> str | None:
    """The first fix that brings outputs and running statistics together; None if none does."""
    torch_side, flax_side = found.pairing.sides
    torch_module, flax_module = torch_side.at(check.torch.path), flax_side.at(check.flax.path)
    for fix in itertools.chain(_flax_fixes(torch_module, flax_module), _torch_fixes(found, check), _roundings(found)):
        try:
            call = check.torch
            if fix.inputs:
                moved = lambda each, change=fix.inputs: torch_side.native(change(torch_side.array(each)))  # noqa: E731
                call = replace(call, args=mapped(call.args, moved), kwargs=mapped(call.kwargs, moved))
            given = None if fix.flax else torch_side.alone(call, fix.torch, fix.nudge)
            errors = compare_alone(found, check.torch, check.flax, given, fix.flax)
        except Exception:  # a change may fit neither module's shapes
            continue
        if (max(errors) if check.statistics else errors[0]) <= check.allowed:
            return fix.words
    return _of_statistics(found, check) if check.statistics else _of_outputs(found, check)


def _flax_fixes(torch_module: nn.Module, flax_module: Any) -> Iterator[Fix]:
    """Flax's module with PyTorch's settings, one at a time, and its kernel in other orders."""
    for name, value in _settings(torch_module).items():
        own = getattr(flax_module, name, value)
        if own != value:
            words = f"`{name}` is {own} in Flax, where PyTorch's module has what Flax calls {value}"
            yield Fix(words, lambda module, name=name, value=value: setattr(module, name, value))
    for name in ("use_running_average", "deterministic"):
        if isinstance(own := getattr(flax_module, name, None), bool):
            mode = "training" if own else "eval"
            yield Fix(f"in {mode} mode Flax's module agrees", lambda m, name=name, own=own: setattr(m, name, not own))
    if isinstance(kernel := getattr(flax_module, "kernel", None), nnx.Param):
        axes = tuple(range(kernel[...].ndim - 2))
        orders: dict[str, Any] = {"flipping the kernel's axes": lambda k: np.flip(k, axes)} if axes else {}
        if len(axes) == 2:
            orders["swapping the kernel's rows and columns"] = lambda k: k.swapaxes(0, 1)
        orders["transposing the kernel's input and output"] = lambda k: k.swapaxes(-1, -2)
        for words, order in orders.items():
            turned = jax.numpy.asarray(order(np.asarray(kernel[...])))
            yield Fix(f"{words} makes it agree", lambda m, turned=turned: m.kernel.set_value(turned))


def _settings(module: nn.Module) -> dict[str, Any]:
    """What PyTorch's module is set to, in Flax's words."""
    plain = {name: value for name, value in vars(module).items() if isinstance(value, int | float)}
    found: dict[str, Any] = {name: value for name, value in plain.items() if name != "training"}
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


def _torch_fixes(found: Pass, check: Check) -> Iterator[Fix]:
    """PyTorch's module with one setting of its own, or of what below it has no partner in Flax, changed."""
    path, module = check.torch.path, found.pairing.sides[0].at(check.torch.path)
    for name, part in module.named_modules():
        whole = f"{path}.{name}".strip(".")
        if name and whole in found.pairing.modules:
            continue
        where = f"`{whole}`" if name else "the module"
        for attribute, value in vars(part).items():
            if isinstance(value, bool):
                others: tuple[Any, ...] = (not value,) if attribute != "training" else ()
            elif isinstance(value, int | float):
                others = NUMBERS.get(attribute, ())
            elif isinstance(value, str):
                others = WORDS.get(attribute, ())
            else:
                others = FUNCTIONS if callable(value) and value in FUNCTIONS else ()
            for other in others:
                change = lambda m, n=name, a=attribute, o=other: setattr(m.get_submodule(n), a, o)  # noqa: E731
                if other != value:
                    words = f"{attribute} {_said(other)} for {where}; it has {_said(value)}"
                    yield Fix(f"Flax's does what PyTorch's would with {words}", torch=change)
        if isinstance(part, ACTIVATIONS) or type(part).__module__.endswith(("activation", "pooling", "normalization")):
            for kind in ACTIVATIONS:
                if kind is not type(part):
                    words = f"{kind.__name__} for {where}, a {type(part).__name__}"
                    change = lambda m, n=name, k=kind: m.set_submodule(n, k()) if n else k()  # noqa: E731
                    yield Fix(f"Flax's does what PyTorch's would with {words}", torch=change)
    if isinstance(bias := getattr(module, "bias", None), nn.Parameter):
        zeros = nn.Parameter(0 * bias.detach())
        yield Fix("Flax's module lacks PyTorch's bias", torch=lambda m: setattr(m, "bias", zeros))


def _roundings(found: Pass) -> Iterator[Fix]:
    for name, bits in COARSE.items() if found.precision == "float32" else ():
        nudge = functools.partial(_rounded, bits)
        words = f"Flax's does what PyTorch's would with {{}} rounded to {bits} bits of mantissa, as {name} does"
        yield Fix(words.format("its inputs"), inputs=nudge)
        yield Fix(words.format("its inputs and weights"), nudge=nudge)


def _rounded(bits: int, array: np.ndarray) -> np.ndarray:
    if not is_float(array):
        return array
    fraction, exponent = np.frexp(array)
    return np.ldexp(np.round(fraction * 2.0 ** (bits + 1)) / 2.0 ** (bits + 1), exponent).astype(array.dtype)


def _said(value: Any) -> str:
    if isinstance(value, functools.partial):
        return f"{value.func.__name__}({', '.join(f'{name}={each!r}' for name, each in value.keywords.items())})"
    return getattr(value, "__name__", repr(value))


def _of_outputs(found: Pass, check: Check) -> str | None:
    """What turns the first output of Flax's that differs into PyTorch's."""
    torch_side, flax_side = found.pairing.sides
    try:
        outputs = flax_side.alone(fed(found.pairing, check.torch, check.flax, found.grids))[0]
    except Exception:
        return None
    references, every = torch_side.arrays(check.torch.outputs), flax_side.arrays(outputs)
    for place, measured in enumerate(every):
        same_place = references[place : place + 1] if len(every) == len(references) else references
        match = nearest(measured, same_place, found.grids)
        if match is None or match.error <= check.allowed:
            continue
        wanted = match.layout(same_place[match.place])
        said = likeness(measured, wanted, check.allowed)
        if wanted.size == 1 and measured.all() and wanted.all():  # a sum for a mean
            factor = (wanted / measured).item()
            whole = round(max(factor, 1 / factor))
            if 1 < whole <= MAX_FACTOR and abs(max(factor, 1 / factor) / whole - 1) <= 10 * check.allowed:
                said = f"PyTorch's is {whole if factor > 1 else f'1/{whole}'} times Flax's"
        return f"of output {place + 1}, {said}" if said and len(every) > 1 else said
    return None


def _of_statistics(found: Pass, check: Check) -> str | None:
    """Whether Flax keeps the biased variance, which it does by itself."""
    torch_side, flax_side = found.pairing.sides
    module: Any = torch_side.at(check.torch.path)
    if "running_var" not in check.torch.after or module.momentum is None:
        return None
    inputs = torch_side.array(leaves(check.torch.args)[0])
    count = inputs.size // inputs.shape[1]
    old, new = (torch_side.array(state["running_var"]) for state in (check.torch.before, check.torch.after))
    biased = (1 - module.momentum) * old + (new - (1 - module.momentum) * old) * (count - 1) / max(count, 2)
    measured = flax_side.alone(fed(found.pairing, check.torch, check.flax, found.grids))[1]["var"]
    if distance(flax_side.array(measured), biased) <= check.allowed:
        return "Flax's BatchNorm keeps the biased running variance; PyTorch's is n / (n - 1) times as large"
    return None
