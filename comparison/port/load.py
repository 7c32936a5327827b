"""What a person hands over: functions in files, inputs, a map of names. Whatever is wrong with it raises UserError."""

import importlib
import importlib.util
import inspect
import sys
import tomllib
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from flax import nnx
from torch import nn

from common.errors import UserError
from common.safe_read import MAX_NPZ_BYTES, one_line, open_bounded, read_bounded
from comparison.port.pairing import Pairing

NUM_DRAWN, DRAWN_SIZE, DRAWN_LENGTH = 4, 32, 12
MAX_MAP_BYTES = 2**20
SIDES = {nn.Module: "a torch.nn.Module", nnx.Module: "a flax.nnx.Module"}


class Map(NamedTuple):
    """Pairs named by hand: PyTorch's path to Flax's; and how Flax takes inputs, by PyTorch's name of each."""

    modules: Mapping[str, str] = MappingProxyType({})
    inputs: Mapping[str, Mapping[str, Any]] = MappingProxyType({})


def load_function(text: str) -> Callable[..., Any]:
    """`FILE.py:NAME`, or `package.module:NAME` as Python imports it."""
    place, _, name = text.rpartition(":")
    try:
        if place.endswith(".py"):
            path = Path(place)
            if not path.is_file():
                raise UserError(
                    f"{one_line(place)} is no file: name a Python file and a function in it, as my_torch.py:build"
                )
            sys.path.insert(0, str(path.parent.resolve()))
            spec = importlib.util.spec_from_file_location(f"ported_{path.stem}", path)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module
            spec.loader.exec_module(module)
        else:
            sys.path.insert(0, "")
            module = importlib.import_module(place)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{one_line(place)} cannot be imported ({_where(error)})") from None
    finally:
        sys.path.pop(0)
    function = getattr(module, name, None)
    if not callable(function):
        known = [
            each
            for each, value in vars(module).items()
            if inspect.isfunction(value) and value.__module__ == module.__name__
        ]
        raise UserError(f"{one_line(place)} has no function {one_line(name)}: it has {', '.join(known) or 'none'}")
    return function


def build(text: str, kind: type) -> Any:
    """The module that a function returns, drawn from seed 0 where it draws."""
    function = load_function(text)
    torch.manual_seed(0)
    try:
        module = function()
    except Exception as error:
        raise UserError(
            f"{one_line(text)} fails ({_where(error)}): it must build its module without arguments"
        ) from None
    if not isinstance(module, kind):
        raise UserError(f"{one_line(text)} returns {type(module).__name__}, not {SIDES[kind]}")
    return module


def read_inputs(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file, in order, in PyTorch's layout; arr_0, arr_1, ... are positional."""
    try:
        with open_bounded(path, limit=MAX_NPZ_BYTES) as file, np.load(file, allow_pickle=False) as archive:
            if sum(info.file_size for info in archive.zip.infolist()) > MAX_NPZ_BYTES:
                raise ValueError(f"it unpacks to more than {MAX_NPZ_BYTES:,} bytes")
            return {name: archive[name] for name in archive.files}
    except UserError:
        raise
    except Exception as error:  # a damaged zip archive ends in a dozen kinds of exception
        raise UserError(
            f"--inputs: {one_line(path)} is no .npz of plain arrays ({one_line(error)}): write it with np.savez"
        ) from None


def read_map(path: Path) -> Map:
    """`[modules]` and `[inputs]` of a TOML file, as `--write-map` writes it."""
    try:
        content = tomllib.loads(read_bounded(path, limit=MAX_MAP_BYTES).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"--map: {one_line(path)} is no TOML file ({one_line(error)})") from None
    modules, inputs = content.pop("modules", {}), content.pop("inputs", {})
    flat = isinstance(modules, dict) and all(isinstance(value, str) for value in modules.values())
    if (
        content
        or not flat
        or not isinstance(inputs, dict)
        or not all(isinstance(each, dict) for each in inputs.values())
    ):
        raise UserError(
            f'--map: {one_line(path)} must hold [modules] with "torch.path" = "flax.path", and [inputs.NAME]'
        )
    return Map(modules, inputs)


def as_toml(pairing: Pairing) -> str:
    """What was paired, as a file for --map; each line says how it was found."""
    how = {pair.torch: pair.how for pair in pairing.pairs}
    lines = [
        f'"{torch}" = "{flax}"  # {how.get(torch, "by its place")}' for torch, flax in pairing.modules.items() if torch
    ]
    alone = [f"# only in PyTorch: {path}" for path in pairing.unpaired_torch]
    alone += [f"# only in Flax: {path}" for path in pairing.unpaired_flax]
    return "\n".join(["[modules]  # PyTorch's path = Flax's path", *lines, *alone, ""])


def draw_inputs(module: nn.Module) -> dict[str, np.ndarray]:
    """Normal numbers, or indices, of the shape that the first module with weights takes."""
    draw = np.random.default_rng(0)
    for each in module.modules():
        if isinstance(each, nn.modules.conv._ConvNd):
            sizes = [DRAWN_SIZE] * len(each.kernel_size)
            return {"arr_0": draw.standard_normal((NUM_DRAWN, each.in_channels, *sizes)).astype(np.float32)}
        if isinstance(each, nn.Linear):
            return {"arr_0": draw.standard_normal((NUM_DRAWN, each.in_features)).astype(np.float32)}
        if isinstance(each, nn.Embedding):
            return {"arr_0": draw.integers(0, each.num_embeddings, (NUM_DRAWN, DRAWN_LENGTH))}
    raise UserError("no inputs can be drawn for this module: pass --inputs FILE.npz")


def arrange(
    inputs: Any, modules: tuple[nn.Module, nnx.Module], by_hand: Mapping[str, Mapping[str, Any]], *, turn: bool = True
) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Positional and keyword arguments of each side, as NumPy; images go to Flax channels last if `turn`."""
    if not isinstance(inputs, Mapping):
        inputs = {f"arr_{i}": each for i, each in enumerate(inputs if isinstance(inputs, tuple | list) else (inputs,))}
    arrays = {name: np.asarray(array) for name, array in inputs.items()}
    for name, array in arrays.items():
        if array.dtype.kind not in "biuf":
            raise UserError(f"the input {one_line(name)} holds {array.dtype}: pass numbers or truth values")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise UserError(f"the input {one_line(name)} holds NaN or infinity, with which nothing can be compared")
    deep = any(isinstance(each, nn.Conv1d | nn.ConvTranspose1d | nn.BatchNorm1d) for each in modules[0].modules())
    sides: list[tuple[list[Any], dict[str, Any]]] = [([], {}), ([], {})]
    for name, array in arrays.items():
        chosen = by_hand.get(name, {})
        axes = chosen.get("axes")
        if axes is None and turn and (array.ndim in (4, 5) or (array.ndim == 3 and deep)):
            axes = [0, *range(2, array.ndim), 1]
        try:
            turned = array if axes is None else array.transpose(axes)
        except (ValueError, TypeError) as error:
            raise UserError(f"--map: axes of the input {one_line(name)} do not fit it ({one_line(error)})") from None
        for (args, kwargs), key, value in ((sides[0], name, array), (sides[1], chosen.get("flax", name), turned)):
            if name.startswith("arr_") and name[4:].isdigit():
                args.append(value)
            else:
                kwargs[str(key)] = value
    for (_, kwargs), function in zip(sides, (modules[0].forward, type(modules[1]).__call__), strict=True):
        for name in [name for name in kwargs if not _takes(function, name)]:
            if not any(_takes(other, name) for other in (modules[0].forward, type(modules[1]).__call__)):
                raise UserError(f"neither module takes an input called {one_line(name)}: rename it in --inputs")
            del kwargs[name]
    return (tuple(sides[0][0]), sides[0][1]), (tuple(sides[1][0]), sides[1][1])


def _takes(function: Callable[..., Any], name: str) -> bool:
    parameters = inspect.signature(function).parameters
    return name in parameters or any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())


def _where(error: Exception) -> str:
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {one_line(error)}, line {place.lineno} of {one_line(place.filename)}"
