"""python -m comparison.publish.parting: where the twins part, as pictures, into docs/results/parity.md.

Both train the default preset for 1,000 steps from equal weights, batches and latents: minutes on one core. The
pictures are of one latent, by the weights themselves and not their average, which would hide the first differences.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from common.config import TrainConfig, to_dict
from common.data.datasets import to_uint8
from common.data.randomness import fixed_latents
from common.pictures.captions import run_words
from common.pictures.drawing import add_caption, figure_png
from common.records.folder import write_atomically
from common.records.series import NUM_PICTURES
from common.stages import in_stage
from comparison.parity.options import ParityOptions
from comparison.parity.pair import Pair, Trajectory
from comparison.parity.probes.probe import Probe
from comparison.parity.setup import make_pair
from comparison.publish.page import RESULTS, replace_parts, run_publisher
from comparison.report.palette import LIGHT, STYLE
from comparison.text import number

STEPS = (0, 10, 22, 100, 1_000)
NUM_THREADS = 1  # so that sums are split the same way on any machine
LATENT = 0  # of the 64 fixed ones: the first, not chosen by looks
PAGE, FIGURE = RESULTS / "parity.md", "parity/parting.png"
VISIBLE = 16  # grey levels of 256, from which a reader sees a difference
CAPTION = "One latent through both generators at steps of one training, and the difference"


def publish(_: list[Path]) -> None:
    """Train, draw, and replace the part of the page."""
    config = TrainConfig()
    pair = make_pair(ParityOptions(config=config, quick=True), num_threads=NUM_THREADS)
    training = in_stage(pair.probes, f"training each for {STEPS[-1]:,} steps", len(pair.probes))
    images = {probe.name: pictures(pair, probe) for probe in training}
    (RESULTS / "parity").mkdir(exist_ok=True)
    write_atomically(RESULTS / FIGURE, figure_png(draw(images, run_words(to_dict(config)))))
    replace_parts(PAGE, {"parting": page_part(differences(images))})


def pictures(pair: Pair, probe: Probe) -> np.ndarray:
    """What the fixed latents give after each of STEPS: uint8 (5, 64, S, S)."""
    latents = fixed_latents(pair.config.seed, num=NUM_PICTURES, latent_dim=pair.config.latent_dim)
    run = Trajectory(pair, probe, "float32", pair.initial_weights("float32"))
    found = []
    for step in STEPS:
        weights = run.at(step).weights if step else run.state
        trainer = pair.trainer(probe, "float32", weights=weights)
        found.append(to_uint8(trainer.generate(latents)))
    return np.stack(found)


def differences(images: Mapping[str, np.ndarray]) -> np.ndarray:
    """Grey levels between the two at each pixel, at each of STEPS."""
    first, second = (found.astype(int) for found in images.values())
    return np.abs(first - second)


def conclusion(apart: np.ndarray) -> str:
    """Until when no pixel of any latent differs visibly."""
    alike = [step for step, levels in zip(STEPS, apart, strict=True) if levels.max() < VISIBLE]
    parted = [step for step in STEPS if step not in alike]
    if not parted:
        return f"The twins draw the same until step {STEPS[-1]:,}"
    return f"The twins draw the same until step {max(alike):,}, and differ at step {min(parted):,}"


def page_part(apart: np.ndarray) -> str:
    """The conclusion, the numbers of all 64 latents, and the picture."""
    phrases = [f"{levels.max()} at step {step:,}" for step, levels in zip(STEPS, apart, strict=True)]
    return (
        f"**{conclusion(apart)}.** The largest difference of any pixel of 64 latents, in 255 grey levels: "
        f"{', '.join(phrases)}. Both trained once (n = 1) from equal weights, batches and latents in float32, "
        f"on one thread.\n\n![{CAPTION}]({FIGURE})"
    )


def draw(images: Mapping[str, np.ndarray], model: str) -> Figure:
    """Rows: both frameworks and their difference; columns: steps."""
    apart = differences(images)
    rows = {name: found[:, LATENT] for name, found in zip(("PyTorch", "JAX"), images.values(), strict=True)}
    rows["difference"] = 255 - apart[:, LATENT]  # white where both are equal
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.8, 4.3), layout="constrained")
        grid = figure.subplots(len(rows), len(STEPS))
        for line, (name, shown) in zip(grid, rows.items(), strict=True):
            for axes, picture, step, levels in zip(line, shown, STEPS, apart[:, LATENT], strict=True):
                axes.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
                axes.set(xticks=[], yticks=[])
                axes.grid(visible=False)
                axes.spines[:].set(visible=True, color=LIGHT["line"])
                if line is grid[0]:
                    axes.set_title(f"step {step:,}", loc="center", fontsize=10)
                if name == "difference":
                    axes.set_xlabel(f"at most {number(int(levels.max()))}", fontsize=9.5)
            line[0].set_ylabel(name, fontsize=10)
        figure.suptitle(conclusion(apart), weight="bold", x=0.01, ha="left", fontsize=11)
        add_caption(figure, f"{model}: one latent. Difference: white is none, black 255 grey levels.")
        return figure


if __name__ == "__main__":
    sys.exit(run_publisher(__doc__, publish, num_paths=range(1)))
