"""The generator that samples come from, as an ONNX file: a node for each layer spec, in float32."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError
from common.networks.layers import Architecture, BatchNorm, Conv, ConvTranspose, LayerSpec, LeakyReLU, Linear, ReLU
from common.safe_read import one_line

OPSET, IR_VERSION = 20, 10  # what onnxruntime 1.22, the oldest that is allowed here, reads
INPUT, OUTPUT = "latents", "images"
NUM_CHECKED = 2  # images that are made of the file before it gets its name


def write_onnx(path: Path, average: Mapping[str, np.ndarray], architecture: Architecture) -> None:
    """Write latents (N, Z) -> images (N, C, S, S) in [-1, 1]; raises UserError where onnx is not installed."""
    try:
        import onnx
    except ImportError as error:
        raise UserError(f"onnx needs what is not installed ({error}): pip install 'dcgan-twins[onnx]'") from None
    weights = {name.removeprefix("generator.layers."): array for name, array in average.items()}
    graph = onnx.helper.make_graph(
        list(_nodes(onnx.helper, architecture)),
        "generator",
        [_tensor(onnx, INPUT, architecture.latent_dim)],
        [_tensor(onnx, OUTPUT, architecture.image_channels, architecture.image_size, architecture.image_size)],
        [onnx.numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()]
        + [onnx.numpy_helper.from_array(np.array(shape, np.int64), name) for name, shape in _shapes(architecture)],
    )
    model = onnx.helper.make_model(
        graph,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="dcgan-twins",
    )
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())


def check_onnx(path: Path, architecture: Architecture) -> None:
    """Raise UserError unless onnxruntime makes images of the file that are within [-1, 1]."""
    latents = np.random.default_rng(0).standard_normal((NUM_CHECKED, architecture.latent_dim)).astype(np.float32)
    images = run_onnx(path, latents)
    size = architecture.image_size
    fits = images.shape == (NUM_CHECKED, architecture.image_channels, size, size)
    if not (fits and (np.abs(images) <= 1).all()):
        raise UserError("onnxruntime makes no images of what was written: nothing was kept")


def run_onnx(path: Path, latents: np.ndarray) -> np.ndarray:
    """Images (N, C, S, S) of the latents (N, Z), by onnxruntime on the CPU."""
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
        return np.asarray(session.run([OUTPUT], {INPUT: latents})[0])
    except Exception as error:  # its own errors have no common class of ours to name
        raise UserError(f"onnxruntime cannot run what was written ({one_line(error)})") from None


def _tensor(onnx: Any, name: str, *shape: int) -> Any:
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", *shape])


def _shapes(architecture: Architecture) -> Iterator[tuple[str, list[int]]]:
    """Of every reshaping: the latents' into images of one pixel, and those around Linear layers."""
    yield "latents.shape", [-1, architecture.latent_dim, 1, 1]
    for index, spec in enumerate(architecture.generator):
        if isinstance(spec, Linear):
            yield f"{index}.shape", [-1, spec.out_channels, spec.out_size, spec.out_size]


def _nodes(helper: Any, architecture: Architecture) -> Iterator[Any]:
    yield helper.make_node("Reshape", [INPUT, "latents.shape"], ["input.0"])
    last = len(architecture.generator) - 1
    for index, spec in enumerate(architecture.generator):
        output = OUTPUT if index == last else f"input.{index + 1}"
        yield from _layer(helper, spec, index, output)


def _layer(helper: Any, spec: LayerSpec, index: int, output: str) -> Iterator[Any]:
    """The nodes of one layer, from `input.INDEX` to `output`; names of weights are those of a plain Sequential."""
    image = f"input.{index}"
    match spec:
        case Conv() | ConvTranspose():
            inputs = [image, f"{index}.weight", *([f"{index}.bias"] if spec.bias else [])]
            geometry = {
                "kernel_shape": 2 * [spec.kernel_size],
                "strides": 2 * [spec.stride],
                "pads": 4 * [spec.padding],
            }
            yield helper.make_node(type(spec).__name__, inputs, [output], **geometry)
        case Linear():
            inputs = [f"{index}.flat", f"{index}.weight", *([f"{index}.bias"] if spec.bias else [])]
            yield helper.make_node("Flatten", [image], [f"{index}.flat"], axis=1)
            yield helper.make_node("Gemm", inputs, [f"{index}.product"], transB=1)
            yield helper.make_node("Reshape", [f"{index}.product", f"{index}.shape"], [output])
        case BatchNorm():
            names = [f"{index}.{name}" for name in ("weight", "bias", "running_mean", "running_var")]
            yield helper.make_node("BatchNormalization", [image, *names], [output], epsilon=spec.epsilon)
        case LeakyReLU():
            yield helper.make_node("LeakyRelu", [image], [output], alpha=spec.negative_slope)
        case ReLU():
            yield helper.make_node("Relu", [image], [output])
        case _:
            yield helper.make_node("Tanh", [image], [output])
