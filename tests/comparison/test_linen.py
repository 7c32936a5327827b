"""A model of Flax Linen is no model of Flax NNX: `convert` names it and says what to do."""

import re
from typing import Any

import flax.linen
import flax.serialization
import flax.traverse_util
import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from safetensors.numpy import save_file

from common.contract import WeightsError
from comparison.checkpoints.linen import is_msgpack, refuse_linen
from tests.comparison.test_convert import fails, foreign


class LinenGenerator(flax.linen.Module):
    """As a Linen tutorial writes one."""

    @flax.linen.compact
    def __call__(self, latents: jax.Array) -> jax.Array:
        hidden = flax.linen.ConvTranspose(4, (4, 4), padding="VALID")(latents)
        return flax.linen.ConvTranspose(1, (4, 4), (2, 2))(flax.linen.BatchNorm(use_running_average=True)(hidden))


def test_a_model_of_flax_linen_is_named_and_what_to_do_said_whatever_file_it_is_in(tmp_path, capsys):
    run, _ = foreign(tmp_path, "jax")
    drawn = LinenGenerator().init(jax.random.key(0), np.zeros((1, 1, 1, 8), np.float32))
    variables = jax.tree.map(np.asarray, dict(drawn))
    (tmp_path / "linen.msgpack").write_bytes(flax.serialization.to_bytes(variables))
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "linen", {"generator": variables})
    for separator in "./":
        flat: Any = flax.traverse_util.flatten_dict(variables, sep=separator)
        save_file(flat, tmp_path / f"linen{ord(separator)}.safetensors")
    for name in ("linen.msgpack", "linen", "linen46.safetensors", "linen47.safetensors"):
        output = tmp_path / "back.safetensors"
        said = fails(capsys, tmp_path / name, "--to=safetensors", "--like", run, "--output", output)
        assert "Flax Linen" in said, name
        assert name == "linen.msgpack" or re.search(r"(BatchNorm|ConvTranspose)_\d/", said), name
        assert "set the same arrays in Flax NNX modules" in said, name


@pytest.mark.parametrize(
    "name",
    [
        ("params", "Dense_0", "kernel"),
        ("params.ConvTranspose_0.kernel",),
        ("a/Conv_12/kernel",),
        ("BatchNorm_3", "scale"),
    ],
)
def test_a_layer_of_linen_is_known_by_its_name_in_any_spelling(name):
    with pytest.raises(WeightsError, match="Flax Linen"):
        refuse_linen([("epoch",), name])


def test_names_of_pytorch_and_of_flax_nnx_are_not_taken_for_linens():
    refuse_linen(
        [("layers", "0", "kernel"), ("main.0.weight",), ("Conv_0", "weight"), ("params", "kernel"), ("conv_1.bias",)]
    )


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x02}q\x00X\x06params", b'{"params"', b"\x82\xa1a"])
def test_what_is_no_msgpack_of_variables_is_left_to_other_readers(content, tmp_path):
    (tmp_path / "file").write_bytes(content)
    assert not is_msgpack(tmp_path / "file")
