"""Pictures of runs and of discriminators: what is on them, equal bytes, and one line for what is wrong."""

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import common.commands.filters
from common.commands.dispatch import standalone
from common.commands.filters import FRAME, NOTHING, ROW_WIDTH, Filter
from common.contract import Framework
from common.data.initial_weights import initial_weights
from common.pictures.animation import FRAME_MILLISECONDS, LAST_MILLISECONDS, MAX_FRAMES, animate
from common.pictures.captions import run_words, shortened, wrap
from common.pictures.compose import MARGIN, beside, captioned, enlarged, gif, paragraph, png, stacked, text
from common.pictures.loss_curves import draw_losses
from common.records.checkpoint import checkpoint_header, save_checkpoint
from common.records.series import NUM_PICTURES, Progress
from tests.counting import FLAGS, run
from tests.trainers import small_architecture, small_config

PICTURES = ("samples_100.png", "real_and_generated.png", "losses.png", "progress.gif")


def frames_of(content: bytes) -> list[np.ndarray]:
    with Image.open(io.BytesIO(content)) as image:
        frames = []
        for index in range(getattr(image, "n_frames", 1)):
            image.seek(index)
            frames.append(np.asarray(image.convert("RGB")))
    return frames


def below_caption(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """What a captioned picture shows, of which the size is known."""
    return picture[-height - MARGIN : -MARGIN, MARGIN : MARGIN + width]


def durations_of(content: bytes) -> list[int]:
    with Image.open(io.BytesIO(content)) as image:
        durations = []
        for index in range(getattr(image, "n_frames", 1)):
            image.seek(index)
            durations.append(image.info["duration"])
    return durations


def progress_of(levels: list[int], *, first_epoch: int = 0, channels: tuple[int, ...] = ()) -> Progress:
    """One even level an epoch."""
    images = np.array(levels, np.uint8).reshape(-1, 1, 1, 1, *channels and (1,))
    shape = (len(levels), NUM_PICTURES, 28, 28, *channels)
    return Progress(np.arange(first_epoch, first_epoch + len(levels)), np.broadcast_to(images, shape))


def write_progress(folder: Path, progress: Progress) -> Path:
    folder.mkdir(parents=True)
    np.savez(folder / "progress.npz", epochs=progress.epochs, images=progress.images)
    return folder


def no_framework() -> Framework:
    raise AssertionError("it needs no framework")


def animate_command(*arguments: object) -> int:
    return standalone("torch", no_framework, ["animate", *map(str, arguments)])


def features_without_framework(*arguments: object) -> int:
    return standalone("torch", no_framework, ["features", *map(str, arguments)])


def test_parts_of_other_sizes_and_colours_are_joined_on_white():
    grey, colour = np.zeros((2, 3), np.uint8), np.full((4, 1, 3), 7, np.uint8)
    joined = stacked(grey, colour, gap=1)
    assert joined.shape == (7, 3, 3)
    assert (joined[:2] == 0).all()
    assert (joined[2] == 255).all()
    assert (joined[3:, 0] == 7).all()
    assert (joined[3:, 1:] == 255).all()
    np.testing.assert_array_equal(beside(grey, colour, gap=1)[:4, 4], colour[:, 0])


def test_small_pictures_are_enlarged_by_whole_pixels_and_large_ones_left_alone():
    small = np.arange(6, dtype=np.uint8).reshape(2, 3)
    np.testing.assert_array_equal(enlarged(small, up_to=8), np.kron(small, np.ones((2, 2), np.uint8)))
    np.testing.assert_array_equal(enlarged(small, up_to=2), small)


def test_a_text_is_dark_on_white_and_as_wide_as_it_is_long():
    short, long = text("epoch 1"), text("epoch 1 of a run that goes on and on")
    assert short.min() < 60
    assert (short[0] == 255).all()
    assert long.shape[1] > 3 * short.shape[1]


def test_a_caption_stands_above_the_picture_in_letters_for_a_phone_and_leaves_the_picture_as_it_is(digits):
    for width in (300, 700, 1400):
        picture = np.tile(digits[0], (2, width // 28))
        shown = captioned(picture, "100 samples of dcgan32 on mnist, step 9,370, trained in PyTorch, seed 0.", "")
        assert shown.shape[1] == picture.shape[1] + 2 * MARGIN
        np.testing.assert_array_equal(below_caption(shown, *picture.shape), picture)
        words = shown[MARGIN : -MARGIN - len(picture)]
        rows = "".join("x" if row.any() else " " for row in words < 128)
        assert max(map(len, rows.split())) * 390 / width > 7  # with what goes below the line
        assert not (shown[:, -MARGIN // 2 :] < 128).any()  # nothing is cut off


def test_a_long_text_takes_as_many_lines_as_it_needs_and_keeps_a_number_and_its_percent_together():
    assert wrap("100 % of them (0 %). All", lambda line: len(line) <= 6) == ["100 %", "of", "them", "(0 %).", "All"]
    lines = [paragraph("word " * num, width=100, size=12).shape for num in (1, 2, 40)]
    assert lines[0][0] == lines[1][0] < lines[2][0] / 5
    assert max(width for _, width in lines) <= 101


def test_a_long_name_loses_its_middle_and_a_name_on_two_lines_its_break():
    assert shortened("mnist") == "mnist"
    assert shortened("a" * 20 + "b" * 20) == "a" * 14 + "..." + "b" * 15
    assert shortened("two\nlines") == "two\\nlines"
    assert run_words({"preset": "smoke", "dataset": "d" * 99, "seed": 3}, "PyTorch") == (
        f"smoke on {shortened('d' * 99)}, PyTorch, seed 3"
    )
    assert run_words({}) == ""


def test_an_animation_shows_each_epoch_in_order_and_holds_the_last():
    levels = [0, 128, 255]
    content = animate({"": progress_of(levels)})
    assert content == animate({"": progress_of(levels)})
    assert durations_of(content) == [FRAME_MILLISECONDS, FRAME_MILLISECONDS, LAST_MILLISECONDS]
    frames = frames_of(content)
    for frame, level in zip(frames, levels, strict=True):
        assert abs(int(frame[-30, 30, 0]) - level) <= 1
    headings = {frame[:30].tobytes() for frame in frames}
    assert len(headings) == 3  # each has its epoch written on it


def test_an_animation_of_two_runs_has_the_epochs_both_have_under_their_names():
    content = animate({"PyTorch": progress_of([0, 64, 128]), "JAX": progress_of([255, 192], first_epoch=1)})
    frames = frames_of(content)
    assert len(frames) == 2
    assert frames[0][-30, 30, 0] == pytest.approx(64, abs=8)
    assert frames[0][-30, -30, 0] == 255
    alone = frames_of(animate({"": progress_of([0])}))[0]
    assert frames[0].shape[0] > alone.shape[0]  # the line of names
    assert frames[0].shape[1] > 1.9 * alone.shape[1]


def test_an_animation_in_colour_keeps_the_colours():
    images = np.zeros((2, NUM_PICTURES, 28, 28, 3), np.uint8)
    images[0, ..., 0], images[1, ..., 2] = 255, 255
    frames = frames_of(animate({"": Progress(np.arange(2), images)}))
    np.testing.assert_allclose(frames[0][-30, 30], [255, 0, 0], atol=12)
    np.testing.assert_allclose(frames[1][-30, 30], [0, 0, 255], atol=12)


def test_a_long_animation_is_thinned_out_but_keeps_both_ends():
    content = animate({"": progress_of([index % 2 * 255 for index in range(MAX_FRAMES + 50)])})
    frames = frames_of(content)
    assert len(frames) == MAX_FRAMES
    last = frames_of(animate({"": progress_of([255], first_epoch=MAX_FRAMES + 49)}))[0]
    np.testing.assert_array_equal(frames[-1], last)


def test_real_digits_of_eleven_epochs_stay_below_400_kilobytes(digits):
    images = np.stack([digits[start : start + NUM_PICTURES] for start in range(11)])
    assert len(animate({"": Progress(np.arange(11), images)})) < 400_000


def test_equal_pictures_have_equal_bytes(digits):
    picture = digits[0]
    assert png(picture) == png(picture.copy())
    assert gif([picture, picture.T], milliseconds=[1, 2]) == gif([picture, picture.T], milliseconds=[1, 2])
    np.testing.assert_array_equal(frames_of(png(picture))[0][..., 0], picture)


def test_loss_curves_change_with_the_losses_and_with_nothing_else():
    rows = [(step, 1 + (step > 50), 1.0, 2.0 + step / 100, 0.5, 0.5) for step in range(1, 101)]
    drawn = draw_losses(rows, "losses")
    assert drawn == draw_losses(rows, "losses")
    assert drawn != draw_losses([*rows[:-1], (*rows[-1][:3], 5.0, 0.5, 0.5)], "losses")
    with Image.open(io.BytesIO(drawn)) as image:
        assert image.size == (1050, 570)


@pytest.mark.parametrize(
    "rows", [[(1, 1, 0.0, 0.0, 0.5, 0.5)], [(7, 2, 1.0, 1e9, 0.5, 0.5), (8, 2, 1.0, 1.0, 0.5, 0.5)]]
)
def test_loss_curves_of_a_short_run_are_drawn_too(rows):
    assert draw_losses(rows, r"short: $\frac").startswith(b"\x89PNG")


def test_animate_writes_the_gif_into_the_run_or_where_it_is_told(tmp_path, capsys):
    folder = write_progress(tmp_path / "runs" / "torch", progress_of([0, 255]))
    assert animate_command(folder) == 0
    assert animate_command(folder, "--out", tmp_path / "elsewhere.gif") == 0
    assert f"wrote {tmp_path / 'elsewhere.gif'}" in capsys.readouterr().out
    content = (folder / "progress.gif").read_bytes()
    assert content == (tmp_path / "elsewhere.gif").read_bytes() == animate({"": progress_of([0, 255])})


def test_animate_of_a_comparison_shows_both_halves_with_their_names(tmp_path):
    write_progress(tmp_path / "torch", progress_of([0, 64]))
    write_progress(tmp_path / "jax", progress_of([255, 192]))
    assert animate_command(tmp_path) == 0
    expected = animate({"PyTorch": progress_of([0, 64]), "JAX / Flax NNX": progress_of([255, 192])})
    assert (tmp_path / "progress.gif").read_bytes() == expected


def test_what_is_wrong_with_an_animation_is_one_line(tmp_path, capsys):
    folder = write_progress(tmp_path / "run", progress_of([0, 255]))
    (tmp_path / "empty").mkdir()
    (damaged := tmp_path / "damaged").mkdir()
    (damaged / "progress.npz").write_bytes(b"PK no archive")
    write_progress(tmp_path / "disjoint" / "torch", progress_of([0]))
    write_progress(tmp_path / "disjoint" / "jax", progress_of([0], first_epoch=3))
    wrong: dict[tuple[object, ...], str] = {
        (): "name a run folder",
        (tmp_path / "absent",): "there is no",
        (tmp_path / "empty",): "holds no progress.npz",
        (folder / "progress.npz",): "holds no progress.npz",
        (damaged,): "cannot be read",
        (tmp_path / "disjoint",): "no epoch to show",
        (folder, "--out", tmp_path / "x.png"): "must end in .gif",
        (folder, "--out", tmp_path / "nowhere" / "x.gif"): "there is no folder",
        (folder, "--out", tmp_path / ("x" * 300) / "x.gif"): "cannot be written",
        (folder, "--speed", 3): "--speed",
    }
    for arguments, reason in wrong.items():
        assert animate_command(*arguments) == 2, arguments
        message = capsys.readouterr().err
        assert reason in message
        assert len(message.splitlines()) == 1
    assert not list(tmp_path.rglob("*.gif"))


def test_a_finished_run_has_its_pictures_and_a_resumed_one_the_same(tmp_path):
    whole, begun = tmp_path / "whole", tmp_path / "begun"
    assert run("torch", *FLAGS, "--epochs=2", f"--output={whole}", draws=True) == 0
    assert run("torch", *FLAGS, "--epochs=1", f"--output={begun}", draws=True) == 0
    one_epoch = {name: (begun / "torch" / name).read_bytes() for name in PICTURES}
    assert run("torch", f"--resume={begun / 'torch'}", "--epochs=2", draws=True) == 0
    for name in PICTURES:
        content = (whole / "torch" / name).read_bytes()
        assert content == (begun / "torch" / name).read_bytes(), name
        if name in ("losses.png", "progress.gif"):
            assert content != one_epoch[name], name
    assert len(frames_of((whole / "torch" / "progress.gif").read_bytes())) == 3
    generated_images_stand_beside_real_ones(whole / "torch")


def generated_images_stand_beside_real_ones(folder: Path) -> None:
    (picture,) = frames_of((folder / "real_and_generated.png").read_bytes())
    side = 8 * (32 + 2) * 2 + 4
    both = below_caption(picture, side, 2 * (side + MARGIN))
    with np.load(folder / "samples.npz") as samples:
        level = samples["images"][0, 0, 0, 0]
    left = side + 2 * MARGIN
    assert (both[10:60, left + 20 : left + 60] == level).all(axis=-1).mean() > 0.5  # the stub's samples are even
    assert len(np.unique(both[10:60, 20:60])) > 100  # its real images are noise


class Looking:
    """A discriminator whose only layer is four pixels: filter c is the brightness of pixel (c, c)."""

    def discriminator_activations(self, images: np.ndarray) -> list[np.ndarray]:
        return [np.stack([images[:, c, c] for c in range(4)], axis=1)[:, :, None, None].astype(np.float32)]

    def discriminator_gradients(self, images: np.ndarray, *, layer: int, channels: np.ndarray) -> np.ndarray:
        gradients = np.zeros(images.shape, np.float32)
        gradients[np.arange(len(images)), channels, channels] = 1
        return gradients


def test_the_filters_shown_vary_most_and_their_images_come_strongest_first():
    images = np.zeros((6, 28, 28), np.uint8)
    images[:, 0, 0] = 200  # as high as any, but for every image alike
    images[:, 1, 1] = [5, 4, 3, 2, 1, 0]
    images[:, 3, 3] = [10, 60, 20, 50, 30, 40]
    model: Any = SimpleNamespace(trainer=Looking())
    (responses,) = common.commands.filters._strongest_responses(model, images)
    options = common.commands.filters.FeaturesOptions(out=Path("unused"), num_filters=2, num_images=3)
    first, second = common.commands.filters._find_filters(model, images, responses, 0, options)
    assert (first.channel, second.channel) == (3, 1)
    assert first.responses.tolist() == [60, 50, 40]
    np.testing.assert_array_equal(first.images, images[[1, 3, 5]])
    assert first.gradients[:, 3, 3].tolist() == [1, 1, 1]
    assert second.responses.tolist() == [5, 4, 3]


def test_a_frame_goes_around_what_has_a_gradient():
    gradient = np.zeros((8, 8), np.float32)
    assert common.commands.filters._box(gradient) is None
    gradient[3, 2:4] = -0.5
    assert common.commands.filters._box(gradient) == (3, 4, 2, 4)
    image = np.zeros((8, 8), np.uint8)
    common.commands.filters._frame(image, 3, 2, 2)
    framed = np.zeros((8, 8), np.uint8)
    framed[2:6, 1:5] = FRAME
    framed[3:5, 2:4] = 0
    np.testing.assert_array_equal(image, framed)


def test_the_part_that_is_enlarged_stays_within_the_image():
    start = common.commands.filters._start
    assert start(10, 14, side=4, size=32) == 10
    assert start(10, 14, side=8, size=32) == 8
    assert start(0, 2, side=8, size=32) == 0
    assert start(30, 32, side=8, size=32) == 24


def test_a_speck_of_a_gradient_is_drawn_as_large_as_its_image_and_to_one_scale_with_all_others():
    gradients = np.zeros((2, 28, 28), np.float32)
    gradients[0, 3:7, 5:9], gradients[1, 20:24, 0:4] = 0.5, -0.25
    shown = [Filter(c, np.array([1.0]), np.zeros((1, 28, 28), np.uint8), gradients[c][None]) for c in range(2)]
    picture = common.commands.filters._draw(shown, "title")
    block = picture.shape[0]
    side = ROW_WIDTH // 28 * 28
    white, dark = (picture == 255).sum(axis=1), (picture == round(NOTHING - 127 / 2)).sum(axis=1)
    assert (white[: block // 2] >= side).any()
    assert dark.max() >= side
    assert (dark >= side).sum() == side


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [
        (0.334, 0.321, "responses 0.33 to 0.32"),
        (0.2531, 0.2512, "responses 0.253 to 0.251"),
        (0.25312, 0.25302, "responses 0.2531 to 0.2530"),
        (0.25, 0.25, "response 0.25"),
        (0.2500001, 0.25, "response 0.25"),
    ],
)
def test_two_ends_of_a_range_that_are_printed_are_never_equal(first, last, said):
    assert common.commands.filters._range(first, last) == said


def test_what_is_wrong_with_the_flags_of_features_is_found_before_a_framework_is_loaded(tmp_path, capsys):
    config = small_config("dcgan28")
    weights = initial_weights(config, small_architecture(config))
    header = checkpoint_header(config, framework="torch", epoch=1)
    checkpoint = save_checkpoint(tmp_path, weights, {}, step=2, header=header)
    (tmp_path / "file").write_text("")
    out = ("--out", tmp_path / "new")
    wrong: dict[tuple[object, ...], str] = {
        (checkpoint, "--out", tmp_path / "new.png"): "name a folder, for one picture a layer",
        (checkpoint, "--out", tmp_path / "file" / "below"): "is a file",
        (checkpoint, "--out", tmp_path / ("x" * 300)): "cannot be read",
        (checkpoint, *out, "--num-filters", 0): "--num-filters is 0: pass 1 to 64",
        (checkpoint, *out, "--num-images", 33): "--num-images is 33: pass 1 to 32",
        (tmp_path / "absent", *out): "does not exist",
        (tmp_path / "file", *out): "cannot be read as a checkpoint",
        out: "name a checkpoint",
    }
    for arguments, reason in wrong.items():
        assert features_without_framework(*arguments) == 2, arguments
        message = capsys.readouterr().err
        assert reason in message
        assert len(message.splitlines()) == 1
    assert not (tmp_path / "new").exists()
