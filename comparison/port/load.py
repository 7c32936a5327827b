"""What a person hands over: functions in files, inputs, a map of names. Whatever is wrong with it raises UserError."""

import importlib
import importlib.util
import inspect
import json
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
    path = Path(place)
    if path.suffix == ".py" and not path.is_file():
        raise UserError(f"{one_line(place)} is no file: name a Python file and a function in it, as my_torch.py:build")
    sys.path.insert(0, str(path.parent.resolve()) if path.suffix == ".py" else "")
    try:
        if path.suffix == ".py":
            spec: Any = importlib.util.spec_from_file_location(f"ported_{path.stem}", path)
            module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(place)
    except (Exception, SystemExit) as error:
        raise UserError(f"{one_line(place)} cannot be imported ({_where(error)})") from None
    finally:
        sys.path.pop(0)
    function = getattr(module, name, None)
    if not callable(function):
        functions = inspect.getmembers(module, inspect.isfunction)
        known = [each for each, value in functions if value.__module__ == module.__name__]
        raise UserError(f"{one_line(place)} has no function {one_line(name)}: it has {', '.join(known) or 'none'}")
    return function


def build(text: str, kind: type) -> Any:
    """The module that a function returns, drawn from seed 0 where it draws."""
    function = load_function(text)
    torch.manual_seed(0)
    try:
        module = function()
    except (Exception, SystemExit) as error:
        said = f"{one_line(text)} fails ({_where(error)}): it must build its module without arguments"
        raise UserError(said) from None
    if not isinstance(module, kind):
        other = next((wanted for wanted in SIDES if isinstance(module, wanted)), None)
        swapped = ": name PyTorch's function first, then Flax's" if other else ""
        raise UserError(f"{one_line(text)} returns {type(module).__name__}, not {SIDES[kind]}{swapped}")
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
    named = isinstance(modules, dict) and all(isinstance(each, str) for each in modules.values())
    if content or not named or not (isinstance(inputs, dict) and all(isinstance(i, dict) for i in inputs.values())):
        raise UserError(
            f'--map: {one_line(path)} must hold [modules] with "torch.path" = "flax.path", and [inputs.NAME]'
        )
    return Map(modules, inputs)


def as_toml(pairing: Pairing) -> str:
    """What was paired, as a file for --map; each line says how it was found."""
    lines = ["[modules]  # PyTorch's path = Flax's path"]
    for torch_path, flax_path in pairing.modules.items():
        pair = pairing.pairs.get(torch_path)
        quoted = f"{json.dumps(torch_path)} = {json.dumps(flax_path)}"
        lines += [f"{quoted}  # {pair.how if pair else 'by its place'}"] if torch_path else []
    lines += [f"# only in PyTorch: {path}" for path in pairing.unpaired_torch]
    return "\n".join([*lines, *(f"# only in Flax: {path}" for path in pairing.unpaired_flax), ""])


def draw_inputs(module: nn.Module) -> dict[str, np.ndarray]:
    """Normal numbers, or indices, of the shape that the first module with weights takes."""
    draw = np.random.default_rng(0)
    for each in module.modules():
        if isinstance(each, nn.Embedding):
            return {"arr_0": draw.integers(0, each.num_embeddings, (NUM_DRAWN, DRAWN_LENGTH))}
        shape = [each.in_features] if isinstance(each, nn.Linear) else []
        if isinstance(each, nn.modules.conv._ConvNd):
            shape = [each.in_channels, *[DRAWN_SIZE] * len(each.kernel_size)]
        if shape:
            return {"arr_0": draw.standard_normal((NUM_DRAWN, *shape)).astype(np.float32)}
    raise UserError("no inputs can be drawn for this module: pass --inputs FILE.npz")


def arrange(
    inputs: Any, modules: tuple[nn.Module, nnx.Module], by_hand: Mapping[str, Any], *, turn: bool = True
) -> Any:
    """Positional and keyword arguments of each side, as NumPy; images go to Flax channels last if `turn`."""
    if not isinstance(inputs, Mapping):
        inputs = {f"arr_{i}": each for i, each in enumerate(inputs if isinstance(inputs, tuple | list) else (inputs,))}
    deep = any(isinstance(each, nn.Conv1d | nn.ConvTranspose1d | nn.BatchNorm1d) for each in modules[0].modules())
    functions = modules[0].forward, type(modules[1]).__call__
    sides: tuple[Any, Any] = ([], {}), ([], {})
    for name, array in ((name, np.asarray(each)) for name, each in inputs.items()):
        said = f"the input {one_line(name)}"
        if array.dtype.kind not in "biuf":
            raise UserError(f"{said} holds {array.dtype}: pass numbers or truth values")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise UserError(f"{said} holds NaN or infinity, with which nothing can be compared")
        chosen = by_hand.get(name, {})
        axes = chosen.get("axes")
        if axes is None and turn and (array.ndim in (4, 5) or (array.ndim == 3 and deep)):
            axes = [0, *range(2, array.ndim), 1]
        try:
            turned = array if axes is None else array.transpose(axes)
        except (ValueError, TypeError) as error:
            raise UserError(f"--map: axes of {said} do not fit it ({one_line(error)})") from None
        keys, positional = (name, str(chosen.get("flax", name))), name.startswith("arr_") and name[4:].isdigit()
        taken = positional
        for (args, kwargs), function, key, value in zip(sides, functions, keys, (array, turned), strict=True):
            if positional:
                args.append(value)
            elif _takes(function, key):
                kwargs[key], taken = value, True
        if not taken:
            raise UserError(f"neither module takes an input called {one_line(name)}: rename it in --inputs")
    return tuple((tuple(args), kwargs) for args, kwargs in sides)


def _takes(function: Callable[..., Any], name: str) -> bool:
    parameters = inspect.signature(function).parameters
    return name in parameters or any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())


def _where(error: BaseException) -> str:
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {one_line(error)}, line {place.lineno} of {one_line(place.filename)}"
