"""How long compilation takes, as either framework tells it."""

import time

import jax
import jax.numpy as jnp
import pytest
import torch

import jax_impl.device
import torch_impl.device

CLOCK_SLACK = 1e-3  # JAX's clock is that of the calendar


def test_jax_says_that_it_compiled_and_for_no_longer_than_it_took():
    @jax.jit
    def inner(values):
        for _ in range(30):
            values = jnp.sin(values)
        return values

    stop = jax_impl.device.watch_compilation()
    started = time.time()
    jax.jit(lambda values: inner(inner(values[:2])))(jnp.ones(3)).block_until_ready()
    wall_seconds = time.time() - started
    assert 0 < stop() <= wall_seconds + CLOCK_SLACK


def test_spans_that_overlap_are_one():
    stop = jax_impl.device.watch_compilation()
    for event, start, end in (
        ("/jax/core/compile/inner", 2.0, 3.0),
        ("/jax/core/compile/outer", 1.0, 4.0),
        ("/jax/core/compile/later", 3.5, 6.0),
        ("/jax/core/compile/apart", 8.0, 9.0),
        ("/jax/other", 0.0, 100.0),
    ):
        jax.monitoring.record_event_time_span(event, start, end)
    assert stop() == pytest.approx(6.0)


def test_a_second_call_of_a_jitted_function_compiles_nothing():
    double = jax.jit(lambda values: 2 * values)
    double(jnp.ones(3))
    stop = jax_impl.device.watch_compilation()
    double(jnp.ones(3))
    assert stop() == 0


def test_pytorch_compiles_what_was_asked_for_and_nothing_else():
    values = torch.ones(3)
    stop = torch_impl.device.watch_compilation()
    torch.sin(values)
    assert stop() == 0
    compiled = torch.compile(lambda values: torch.sin(values) * 2, backend="eager")
    stop = torch_impl.device.watch_compilation()
    compiled(values)
    assert stop() > 0
    stop = torch_impl.device.watch_compilation()
    compiled(values)
    assert stop() == 0


def test_pytorch_s_backward_pass_compiles_when_it_is_first_called():
    values = torch.ones(3, requires_grad=True)
    compiled = torch.compile(lambda values: (torch.sin(values) * 2).sum(), backend="aot_eager")
    stop = torch_impl.device.watch_compilation()
    loss = compiled(values)
    forward_seconds = stop()
    stop = torch_impl.device.watch_compilation()
    loss.backward()
    backward_seconds = stop()
    assert forward_seconds > 0
    assert backward_seconds > 0
    stop = torch_impl.device.watch_compilation()
    compiled(values).backward()
    assert stop() == 0


def test_what_torch_compile_went_on_without_is_counted():
    def with_a_break(values):
        torch._dynamo.graph_break()
        return torch.sin(values)

    before = torch_impl.device.profile(lambda: None, 1)
    torch.compile(with_a_break, backend="eager")(torch.ones(3))
    after = torch_impl.device.profile(lambda: None, 1)
    assert after["graph_breaks"] == before.get("graph_breaks", 0) + 1
