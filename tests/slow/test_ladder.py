"""The ladder for the presets that hold it, and every planted bug: `make test-long`."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.config import to_dict
from common.data.datasets import fit_images
from common.networks.build import build_architecture
from common.networks.presets import PRESETS
from comparison.commands.parity import line
from comparison.parity.ladder import climb
from comparison.parity.pair import Pair
from comparison.parity.probes.jax_probe import JaxProbe
from comparison.parity.probes.torch_probe import TorchProbe
from tests.trainers import DISTINCT_PRESETS
from tests.twins.test_equivalence import RECIPES

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def climb_apart(*flags: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("OMP_NUM_THREADS", "PJRT_NPROC")}
    command = [sys.executable, "compare.py", "parity", *flags]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


SIZES = {"preset", "dataset", "train_size", "batch_size", "latent_dim", "epochs", "generator_average"}
IN_COLOUR = "paper64-rgb"  # no colour dataset is bundled
SMALL_BATCH = 16
NUM_COLOUR_STEPS = 20  # what colour changes shows in one; the hundred are seen in grey


def test_every_network_is_climbed_and_what_other_recipes_change_is_tested_by_itself():
    """What else others have, their recipes, is in tests/twins/test_equivalence.py."""
    tested = {name for recipe in RECIPES.values() for name in recipe} | SIZES
    for preset in PRESETS.values():
        climbed = next(PRESETS[name] for name in DISTINCT_PRESETS if PRESETS[name].network == preset.network)
        fields, of_climbed = to_dict(preset.recipe), to_dict(climbed.recipe)
        assert {name for name in fields if fields[name] != of_climbed[name]} <= tested, preset


@pytest.mark.parametrize("preset", DISTINCT_PRESETS)
def test_every_rung_holds_at_an_eighth_of_the_width(preset, tmp_path):
    """On one thread, in small batches."""
    sizes = [f"--width={PRESETS[preset].width // 8}", f"--batch-size={SMALL_BATCH}", "--threads=1", "--quick"]
    climb_apart(f"--preset={preset}", *sizes, f"--json={tmp_path / 'parity.json'}")
    certificate = json.loads((tmp_path / "parity.json").read_text())
    assert certificate["holds"]
    assert {rung["rung"] for rung in certificate["rungs"]} == set(range(14))


def test_every_rung_holds_for_colour_images(digits):
    """Digits in one colour on another, both drawn, at an eighth of the width and in small batches."""
    config = replace(PRESETS[IN_COLOUR].recipe, batch_size=SMALL_BATCH)
    draw = np.random.default_rng(0)
    ink, paper = draw.integers(0, 256, (2, len(digits), 1, 1, 3))
    share = fit_images(digits, config.image_size)[..., None] / 255
    images = np.rint(share * ink + (1 - share) * paper).astype(np.uint8)
    width = PRESETS[IN_COLOUR].width // 8
    architecture = build_architecture(config, image_channels=3, width=width)
    probes = TorchProbe(), JaxProbe()
    for probe in probes:
        probe.configure(num_threads=1)
    measurements = list(climb(Pair(*probes, config, architecture, images, NUM_COLOUR_STEPS)))
    assert {measurement.rung for measurement in measurements} == set(range(14))
    assert [line(measurement) for measurement in measurements if not measurement.holds] == []


def test_every_planted_bug_is_caught_but_those_known_to_be_missed_and_the_clean_code_passes(tmp_path):
    climb_apart("--preset=smoke", "--planted-bugs", f"--json={tmp_path / 'bugs.json'}")
    found = json.loads((tmp_path / "bugs.json").read_text())
    assert found["clean_failures"] == []
    escaped = [each["bug"] for each in found["detections"] if each["rung"] is None and not each["missed_because"]]
    assert escaped == []
    known = [each for each in found["detections"] if each["missed_because"]]
    assert [each["bug"] for each in known if each["rung"] is not None and each["precision"] == "float64"] == []
