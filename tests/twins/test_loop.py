"""The training loop hands both frameworks the same batches and latents."""

from common.data.datasets import fit_images
from tests.common.test_loop import Recorder, run_loop
from tests.trainers import FRAMEWORKS, build, small_config


def test_both_frameworks_are_handed_the_same_bytes(digits, tmp_path):
    config = small_config(epochs=2)
    images = fit_images(digits[:100], config.image_size)
    recorders = {framework: Recorder(build(framework, config)) for framework in FRAMEWORKS}
    for framework, recorder in recorders.items():
        run_loop(recorder, config, images, tmp_path / framework)
    assert recorders["torch"].hashes == recorders["jax"].hashes
    assert (
        len(set(recorders["torch"].hashes)) == len(recorders["torch"].hashes) == 6
    )  # no batch, latent or decay comes twice
