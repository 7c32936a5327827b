"""The steps of others: each one trains, and what was measured of them becomes a ratio within rounds."""

import io
import itertools
import math
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from common.networks.build import build_architecture
from common.networks.presets import PRESETS
from common.records.environment import describe_environment
from common.records.folder import read_json
from comparison.bench.flops import forward_flops
from comparison.peers import block, flax_nnx, measure, pytorch_gan
from comparison.peers.catalogue import ARMS
from comparison.publish import peers
from comparison.publish.page import part

ROOT = Path(__file__).parents[2]
PEERS = [name for name, arm in ARMS.items() if arm.module]


def measured(seconds):
    blocks = {name: [0.01, 0.02, 0.04] for name in ARMS} | seconds
    return {
        "batch_size": 64,
        "steps_per_block": 8,
        "num_threads": 2,
        "block_seconds_per_step": blocks,
        "sources": "0123456789abcdef",
        "environment": describe_environment(),
    }


@pytest.mark.parametrize("name", PEERS)
def test_the_step_of_each_peer_trains_and_its_losses_are_finite(name, monkeypatch):
    monkeypatch.setattr(flax_nnx, "NUM_FEATURES", 2)  # which compiles sooner
    images = np.random.default_rng(0).integers(0, 256, (12, 28, 28), dtype=np.uint8)
    losses = block.peer_block(ARMS[name], images, batch_size=4)(4)
    assert np.isfinite(losses).all()
    assert len({*losses}) == 4  # more than an epoch, and no two steps the same


def test_pytorch_gans_networks_take_thirteen_times_the_arithmetic_of_dcgan32():
    generator, discriminator = pytorch_gan.networks()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        discriminator(generator(torch.zeros(2, pytorch_gan.NUM_LATENTS)))
    ours = build_architecture(PRESETS["dcgan32"].recipe)
    flops = sum(forward_flops(ours.generator, size=1) + forward_flops(ours.discriminator, size=ours.image_size))
    assert round(counter.get_total_flops() / 2 / flops) == 13
    assert "13 times the arithmetic of `dcgan32`" in ARMS["pytorch-gan"].differs


def test_a_process_says_when_it_is_built_and_then_the_seconds_of_each_block(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["block", "seed004"])
    monkeypatch.setattr("sys.stdin", io.StringIO("1\n1\n"))
    assert block.main() == 0
    ready, *seconds = capsys.readouterr().out.split()
    assert ready == "ready"
    assert len(seconds) == 2
    assert all(float(each) > 0 for each in seconds)


def test_each_arm_is_measured_once_a_round_and_the_first_rounds_do_not_count(monkeypatch):
    children: Any = SimpleNamespace(check=lambda: None)
    asked = []

    class Worker:
        def __init__(self, name, *_):
            self.name, self.process = name, nullcontext()

        def seconds(self, num_steps):
            asked.append(self.name)
            return float(num_steps * len(asked))

    monkeypatch.setattr(measure, "Worker", Worker)
    found = measure.measure(children, lambda words: None)["block_seconds_per_step"]
    num_warm_up = len(ARMS) * (1 + measure.NUM_WARM_UP_ROUNDS)
    assert {name: len(blocks) for name, blocks in found.items()} == dict.fromkeys(ARMS, measure.NUM_ROUNDS)
    assert sorted(itertools.chain(*found.values())) == list(range(num_warm_up + 1, len(asked) + 1))


def test_a_ratio_is_taken_within_rounds_to_ours_of_the_same_networks():
    result = measured({"examples": [0.02, 0.04, 0.08], "seed004": [0.015, 0.03, 0.06]})
    text = peers.page_part(result)
    assert "**A step of pytorch/examples takes 2.00 (2.00 to 2.00) times as long as ours in PyTorch** (n = " in text
    assert "**A step of seed 004 takes 1.50 (1.50 to 1.50) times as long as ours in PyTorch** (n = " in text
    assert "A step of PyTorch-GAN takes 1.00 (1.00 to 1.00) times as long as ours in PyTorch, with networks of" in text
    assert "| pytorch/examples | `dcgan32` | 1,600 (1,200 to 2,400) | 40 | 2.00 (2.00 to 2.00) |" in text
    assert "n = 3 rounds" in text
    assert b"Peers' steps take 1 to 2 times as long as ours in PyTorch" in peers.draw(result)


def test_the_speed_page_has_the_words_and_table_of_the_kept_measurement():
    page = (ROOT / "docs" / "results" / "speed.md").read_text(encoding="utf-8")
    assert part(page, "peers")[2] == peers.page_part(read_json(peers.RECORD))
    assert (ROOT / "docs" / "results" / peers.FIGURE).exists()
    assert all(math.isfinite(value) for found in peers.ratios(read_json(peers.RECORD)).values() for value in found)
