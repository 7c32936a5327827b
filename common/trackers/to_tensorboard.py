"""TensorBoard: an event file a framework, in one log folder, so that both curves share each chart."""

import json
import math
from pathlib import Path

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from common.pictures.compose import png
from common.trackers import Logged


def write(place: Path, run: Logged) -> None:
    """Scalars and grids by the step; the config and the final metrics as text and as scalars below `final/`."""
    writer = EventFileWriter(str(place / run.framework))

    def add(step: int, *values: Summary.Value) -> None:
        writer.add_event(Event(step=step, summary=Summary(value=values)))

    for row in run.scalars:
        found = {_tag(name): value for name, value in row.items() if name != "step" and math.isfinite(value)}
        add(int(row["step"]), *(Summary.Value(tag=tag, simple_value=value) for tag, value in found.items()))
    last = int(run.scalars[-1]["step"]) if run.scalars else 0
    add(last, *(Summary.Value(tag=f"final/{name}", simple_value=value) for name, value in run.metrics.items()))
    for step, picture in run.grids.items():
        add(step, Summary.Value(tag="samples", image=_image(picture)))
    add(0, _text("config", json.dumps(run.config, indent=2)))
    writer.close()


def _tag(name: str) -> str:
    """What belongs together stands in one section."""
    section = "loss" if name.endswith("_loss") else "score" if name.endswith("_score") else "quality"
    return f"speed/{name}" if name == "images_per_second" else f"{section}/{name}"


def _image(picture: np.ndarray) -> Summary.Image:
    height, width = picture.shape[:2]
    return Summary.Image(height=height, width=width, colorspace=picture[0, 0].size, encoded_image_string=png(picture))


def _text(tag: str, text: str) -> Summary.Value:
    plugin = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
    content = TensorProto(dtype=DT_STRING, string_val=[f"```json\n{text}\n```".encode()], tensor_shape=shape)
    return Summary.Value(tag=tag, metadata=plugin, tensor=content)
