"""The program of a whole chunk as XLA would be given it for a GPU: lowering for CUDA needs none.

What XLA makes of it there, these tests cannot see. What it asks of a convolution that cuDNN is to compute, its sources
say (openxla/xla, xla/service/gpu/transforms/conv_rewriter.cc and nvptx_compiler.cc).
"""

import re
from collections import Counter

import jax
import pytest
from flax import nnx

import jax_impl.trainer
from common.data.initial_weights import initial_weights
from jax_impl.layers import select
from jax_impl.tuned.steps import FlatChunks
from tests.trainers import chunk_of, real_digits, small_architecture, small_config

RESULT = re.compile(r"^ *(%\w+)(?::\d+)? = (?:stablehlo\.)?(\w+)")
CONVOLUTION = re.compile(
    r"convolution\(%\w+, (?P<kernel>%\w+)\).*stride = \[(?P<stride>\d).*pad = \[\[(?P<padding>-?\d+).*"
    r"lhs_dilate = \[(?P<images_dilated>\d).*rhs_dilate = \[(?P<kernel_dilated>\d).*"
    r"precision (?P<precision>\w+)>\]\} : "
    r"\(tensor<[\dx]*x(?P<left>\w+)>, tensor<[\dx]*x(?P<right>\w+)>\) -> tensor<[\dx]*x(?P<result>\w+)>"
)
TO_THE_HOST = re.compile(r"stablehlo\.(custom_call|infeed|outfeed|send|recv)\b.*")


@pytest.fixture(scope="module")
def lowered():
    """Of a precision, the program and the number of arrays that it replaces."""

    def lower(precision: str) -> tuple[str, int]:
        config = small_config(precision=precision)
        architecture = small_architecture(config)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                jax_impl.trainer,
                "select",
                lambda config, _, execution: select(config, "gpu", execution),
            )
            images = real_digits(config.image_size)
            trainer = jax_impl.trainer.DCGANTrainer(config, architecture, jax.devices("cpu")[0], images, "chunk")
        trainer.load_weights(initial_weights(config, architecture))
        steps = trainer._run_steps
        assert isinstance(steps, FlatChunks)
        with trainer._at_home(), jax.default_matmul_precision("highest"):
            leaves = jax.tree.leaves(nnx.state(trainer._modules))
            chunk = trainer._on_device(*chunk_of(config, num_steps=3))
            traced = steps.compiled_chunk.trace(leaves, trainer.images, *chunk)
            return traced.lower(lowering_platforms=("cuda",)).as_text(), len(leaves)

    programs = {precision: lower(precision) for precision in ("float32", "bfloat16")}
    return programs.__getitem__


def convolutions(program: str) -> list[tuple[re.Match[str], str]]:
    """Each with the operation that its kernel comes from."""
    found, made_by = [], {}
    for line in program.splitlines():
        if match := CONVOLUTION.search(line):
            found.append((match, made_by.get(match["kernel"], "argument")))
        if match := RESULT.match(line):
            made_by[match[1]] = match[2]
    assert len(found) == program.count("stablehlo.convolution("), "this test no longer reads what is printed"
    return found


def kind(convolution: re.Match[str], kernel_made_by: str) -> str:
    """Which of cuDNN's three XLA recognises it as; without one it would pad and multiply zeros."""
    stride, images_dilated, kernel_dilated = map(int, convolution.group("stride", "images_dilated", "kernel_dilated"))
    if (images_dilated, kernel_dilated) == (1, 1):
        return "forward"
    if (stride, kernel_dilated) == (1, 1) and kernel_made_by == "reverse":
        return "backward data"
    if (stride, images_dilated) == (1, 1) and int(convolution["padding"]) >= 0:
        return "backward filter"
    return "none"


def test_a_chunk_is_one_loop_in_which_the_host_has_no_part(lowered):
    program, _ = lowered("float32")
    assert program.count("stablehlo.while") == 1
    assert TO_THE_HOST.findall(program) == []


def test_every_array_of_the_training_is_replaced_where_it_lies(lowered):
    program, num_leaves = lowered("float32")
    assert program.count("tf.aliasing_output") == num_leaves


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_convolution_is_one_of_cudnn_s_three(lowered, precision):
    found = convolutions(lowered(precision)[0])
    kinds = Counter(kind(*each) for each in found)
    assert kinds == {"forward": 12, "backward data": 10, "backward filter": 9}


@pytest.mark.parametrize(("precision", "name"), [("float32", "f32"), ("bfloat16", "bf16")])
def test_what_goes_in_and_what_comes_out_are_of_one_type(lowered, precision, name):
    """Of mixed types, XLA would compute in float32 on a GPU."""
    types = {match.group("left", "right", "result", "precision") for match, _ in convolutions(lowered(precision)[0])}
    assert types == {(name, name, name, "HIGHEST")}


def test_nothing_is_transposed_but_kernels_and_what_their_gradients_sum_over(lowered):
    program, _ = lowered("float32")
    kinds = Counter(kind(*each) for each in convolutions(program))
    of_metrics = 1
    assert program.count("stablehlo.transpose") == kinds["backward data"] + 3 * kinds["backward filter"] + of_metrics
