"""Features of any images by a network that a person brings: `--features FILE.onnx`, run on the CPU by onnxruntime."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

from common.data.datasets import Dataset, resize_images
from common.errors import UserError
from common.evaluation.feature_network import default_threads, open_session
from common.evaluation.training_digits import load_array
from common.safe_read import one_line, read_bounded
from common.stages import in_stage

MAX_FILE_BYTES = 2**31 - 1  # of protobuf
MAX_INPUT = 1_024  # px a side, and images a batch
MIN_FEATURES, MAX_FEATURES = 2, 4_096
BATCH_SIZE = 16  # fixed where the network leaves it open: the last bits may depend on it
NUM_TRIED = 16  # images that a network must tell apart before anything is trained
TOLERANCE = 1e-3  # of features of an image that comes with fewer others
DTYPES = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32}
FLOATS = ("tensor(float)", "tensor(float16)", "tensor(double)")
OUTPUT_NAMES = ("features", "embedding")
ROWS = "floats (N, D) or (N, D, 1, 1), a row an image"
# All of onnx.proto through which a tensor is reached, and what says that its numbers are in another file.
ONNX_FIELDS: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 25: "Function"},
    "Function": {7: "Node"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "SparseTensor", 23: "SparseTensor"},
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Tensor": {13: "bytes", 14: "int32"},  # external_data, and data_location, which is 0 for the tensor itself
}


@dataclass(frozen=True)
class ImageInput:
    """How a network takes images: uint8 from 0 to 255, or float32 from 0 to 1."""

    name: str
    dtype: type[np.generic]
    channels: int
    channel_axis: int | None  # none of (N, S, S)
    side: int | None  # None takes images as they are
    batch_size: int

    @classmethod
    def of(cls, inputs: Sequence[Any]) -> Self:
        """Of what onnxruntime says of the inputs; ValueError unless it is one of images."""
        seen = ", ".join(f"{each.name} {each.type} {each.shape}" for each in inputs)
        wanted = ValueError(
            f"its input is {seen or 'none'}; wanted is one, float32 or uint8, of square images (N, C, S, S), "
            f"(N, S, S, C) or (N, S, S), C being 1 or 3, N and S open or at most {MAX_INPUT:,}"
        )
        if len(inputs) != 1 or inputs[0].type not in DTYPES or len(inputs[0].shape) not in (3, 4):
            raise wanted
        batch_size, *sides = inputs[0].shape
        channel_axis = next((axis for axis in (1, 3) if len(sides) == 3 and sides[axis - 1] in (1, 3)), None)
        channels = 1 if channel_axis is None else sides.pop(channel_axis - 1)
        fixed = {side for side in sides if isinstance(side, int)}
        batch_size = batch_size if isinstance(batch_size, int) else BATCH_SIZE
        if len(sides) != 2 or len(fixed) > 1 or not all(1 <= size <= MAX_INPUT for size in (batch_size, *fixed)):
            raise wanted
        return cls(inputs[0].name, DTYPES[inputs[0].type], channels, channel_axis, next(iter(fixed), None), batch_size)

    def batch(self, images: np.ndarray) -> np.ndarray:
        """At most as many uint8 images (n, S, S[, 3]) as a batch has, as the network takes them; grey ones as RGB."""
        if self.side not in (None, images.shape[1]):
            images = resize_images(images, self.side)
        pixels = images if self.dtype == np.uint8 else images.astype(np.float32) / 255
        if self.channel_axis is None:
            return pixels
        if pixels.ndim == 3:
            pixels = pixels[..., None].repeat(self.channels, axis=3)
        return np.ascontiguousarray(np.moveaxis(pixels, 3, self.channel_axis))


@dataclass(frozen=True)
class OwnNetwork:
    """A feature space; the file was read once, and `sha256` is of the bytes that run."""

    path: Path
    sha256: str
    session: Any
    input: ImageInput
    output: str
    num_features: int = 0  # until it was tried

    @property
    def words(self) -> str:
        """For the protocol."""
        size = "" if self.input.side is None else f", which sees images of {self.input.side} px"
        return f"the {self.num_features:,} features of {self.name} (SHA-256 {self.sha256[:12]}...){size}"

    @property
    def name(self) -> str:
        """Of the file."""
        return one_line(self.path.name)

    def extract(self, images: np.ndarray) -> np.ndarray:
        """float64 (N, D), in batches of one size that black images fill; UserError unless they are finite numbers."""
        try:
            size = self.input.batch_size
            batches = [images[start : start + size] for start in range(0, len(images), size)]
            looking = in_stage(batches, f"showing the network {len(images):,} images", len(batches))
            return np.concatenate([self._features(self.input.batch(batch)) for batch in looking])
        except Exception as error:  # a foreign network can fail in any way
            raise refusal(self.path, error) from None

    def extract_real(self, images: np.ndarray) -> np.ndarray:
        """The same of images that every run on these data needs: computed once."""
        key = hashlib.sha256(self.sha256.encode() + str(images.shape).encode() + images.tobytes()).hexdigest()
        name = f"features_{len(images)}.npy"
        features = load_array(name, key, compute=lambda: self.extract(images).astype(np.float32), is_long=True)
        return features.reshape(len(images), -1).astype(np.float64)

    def _features(self, pixels: np.ndarray) -> np.ndarray:
        num_missing = self.input.batch_size - len(pixels)
        padded = np.pad(pixels, ((0, num_missing), *[(0, 0)] * (pixels.ndim - 1)))
        (features,) = self.session.run([self.output], {self.input.name: padded})
        if len(features) != len(padded) or features.ndim == 1 or features.shape[2:] not in ((), (1, 1)):
            raise ValueError(f"its output {self.output} is {features.shape} for {len(padded)} images; wanted is {ROWS}")
        if not np.isfinite(features[: len(pixels)]).all():
            raise ValueError(f"its output {self.output} has NaN or infinity")
        return features[: len(pixels)].reshape(len(pixels), -1).astype(np.float64)


def load_own_network(path: Path, dataset: Dataset, *, threads: int | None = None) -> OwnNetwork:
    """Opens a network and tries it on images of the dataset; UserError says what it is and what is wanted."""
    try:
        content = read_bounded(path, limit=MAX_FILE_BYTES)
    except UserError as error:
        raise UserError(f"--features: {error}: name the network's file, or where it was moved to") from None
    try:
        refuse_other_files(content)
        session = open_session(content, threads=threads or default_threads())
        taken = ImageInput.of(session.get_inputs())
        if taken.channels == 1 and dataset.image_channels == 3:
            raise ValueError("it takes grey images, but the data are in colour; wanted is an input of 3 channels")
        output = _output_of(session.get_outputs())
    except Exception as error:  # onnxruntime has a dozen kinds of exception
        raise refusal(path, error) from None
    network = OwnNetwork(path.absolute(), hashlib.sha256(content).hexdigest(), session, taken, output)
    some = dataset.train_images[:: max(1, len(dataset.train_images) // NUM_TRIED)][:NUM_TRIED]
    features, in_other_company = network.extract(some), network.extract(some[::2])
    if reason := _why_useless(features, in_other_company):
        raise refusal(path, f"its output {output} {reason}")
    return replace(network, num_features=features.shape[1])


def refusal(path: Path, reason: object) -> UserError:
    """One line, whatever onnxruntime has to say."""
    return UserError(
        f"--features: {one_line(path)} cannot be used: {one_line(reason).removeprefix('[ONNXRuntimeError] : ')}"
    )


def refuse_other_files(content: bytes) -> None:
    """ValueError for a model whose weights are elsewhere, as it could name any file; or for no model at all."""
    model = MODEL()
    try:
        model.ParseFromString(content)
    except DecodeError:
        model.Clear()
    if not model.ListFields():
        raise ValueError("it is no ONNX file")
    if _names_a_file(model):
        raise ValueError("its weights are in another file; export it into one, in PyTorch with external_data=False")


def _output_of(outputs: Sequence[Any]) -> str:
    """The only one, one that is called so, or the first of rows."""
    numbers = [each for each in outputs if each.type in FLOATS]
    named = [each for each in numbers if each.name in OUTPUT_NAMES]
    rows = [each for each in numbers if len(each.shape) == 2]
    chosen = numbers if len(outputs) == 1 else named or rows
    if not chosen:
        seen = ", ".join(f"{each.name} {each.type} {each.shape}" for each in outputs)
        raise ValueError(f"its outputs are {seen}; wanted is {ROWS}, of several the one named {OUTPUT_NAMES[0]}")
    return chosen[0].name


def _why_useless(features: np.ndarray, in_other_company: np.ndarray) -> str:
    """Unless it says something of each image by itself; `in_other_company` are those of every second image."""
    if not MIN_FEATURES <= features.shape[1] <= MAX_FEATURES:
        return f"has {features.shape[1]:,} features; wanted are {MIN_FEATURES} to {MAX_FEATURES:,}"
    if (features == features[:1]).all():
        return "is the same for every image"
    if not np.allclose(features[::2], in_other_company, rtol=TOLERANCE, atol=TOLERANCE * np.abs(features).max()):
        return (
            "of an image depends on chance or on the images beside it; export it in evaluation mode, in PyTorch after "
            "network.eval()"
        )
    return ""


def _names_a_file(message: Message) -> bool:
    return any(
        any(values) if field.message_type is None else any(map(_names_a_file, values))
        for field, values in message.ListFields()
    )


def _model_class() -> type[Message]:
    """Protobuf's own parser for ONNX_FIELDS; each field may be repeated, as a parser merges those that are."""
    kinds = descriptor_pb2.FieldDescriptorProto
    scalars = {"bytes": kinds.TYPE_BYTES, "int32": kinds.TYPE_INT32}
    file = descriptor_pb2.FileDescriptorProto(name="own_network.proto", package="onnx_files")
    for message, fields in ONNX_FIELDS.items():
        described = file.message_type.add(name=message)
        for number, kind in fields.items():
            field = described.field.add(name=f"field_{number}", number=number, label=kinds.LABEL_REPEATED)
            field.type = scalars.get(kind, kinds.TYPE_MESSAGE)
            if kind not in scalars:
                field.type_name = f".onnx_files.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("onnx_files.Model"))


MODEL = _model_class()
