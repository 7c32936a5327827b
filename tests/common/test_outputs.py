"""What a checkpoint shows, as far as no framework is needed: the words, and refusals of one line."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.commands.arithmetic import compute, to_known_length
from common.commands.dispatch import standalone
from common.commands.equation import Term, parse_equation, written
from common.commands.picture_files import there_and_back
from common.config import TrainConfig, to_dict
from common.contract import Framework, Weights, expected_shapes
from common.errors import UserError
from common.records.checkpoint import save_checkpoint
from tests.common.test_resume import average_of, drawn_weights
from tests.trainers import small_architecture, small_config

CONFIG = small_config()
WAY = ["--from-class=6", "--to-class=9"]


def write_run(
    folder: Path, config: TrainConfig = CONFIG, *, image_channels: int = 1, changes: Weights | None = None
) -> None:
    """A run folder with one checkpoint."""
    shapes = expected_shapes(small_architecture(config, image_channels=image_channels))
    weights = drawn_weights(shapes, 0) | (changes or {})
    (folder / "checkpoints").mkdir(parents=True)
    header = {"config": to_dict(config), "epoch": 1, "framework": "torch"}
    save_checkpoint(folder / "checkpoints", weights, average_of(weights), step=7, header=header)


def test_the_animation_goes_there_and_back_and_repeats():
    frames = [np.full((8, 8), 8 * number, np.uint8) for number in range(30)]
    with Image.open(io.BytesIO(there_and_back(frames))) as animation:
        assert animation.info["loop"] == 0
        levels, rests = [], []
        for index in range(getattr(animation, "n_frames", 1)):
            animation.seek(index)
            levels.append(np.asarray(animation.convert("L"))[0, 0] // 8)
            rests.append(animation.info["duration"] > 500)
    assert levels == [*range(30), *range(28, 0, -1)]
    assert [place for place, rest in enumerate(rests) if rest] == [0, 29]


def test_arithmetic_adds_and_subtracts_directions_and_keeps_the_length_of_latents():
    draw = np.random.default_rng(0)
    means = {digit: draw.normal(size=100) / 3**0.5 for digit in (4, 6, 9)}
    result = compute(parse_equation("9 - 4 + 6"), means)
    wanted = means[9] - means[4] + means[6]
    assert np.linalg.norm(result) == pytest.approx(10)
    assert result @ wanted == pytest.approx(10 * np.linalg.norm(wanted))
    assert np.linalg.norm(to_known_length(means[4])) == pytest.approx(10)


@pytest.mark.parametrize("text", ["9 - 4 + 6", "9-4+6", " 9 -4+  6 ", "9 \N{MINUS SIGN} 4 + 6"])
def test_an_equation_is_read_whatever_its_spaces(text):
    terms = parse_equation(text)
    assert terms == [Term(1, 9), Term(-1, 4), Term(1, 6)]
    assert written(terms, minus="-") == "9 - 4 + 6"


def test_one_to_eight_terms_are_enough():
    assert parse_equation("7") == [Term(1, 7)]
    assert len(parse_equation("1+1+1+1+1+1+1+1")) == 8


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("9 -", "no sum or difference"),
        ("a + b", "no sum or difference"),
        ("", "no sum or difference"),
        ("9 9", "no sum or difference"),
        ("- 9", "no sum or difference"),
        ("+9", "no sum or difference"),
        ("9 -- 4", "no sum or difference"),
        ("9 * 4", "no sum or difference"),
        ("9\n\x1b[2J", "no sum or difference"),
        ("٣ + 4", "no sum or difference"),
        ("10", "is 10: choose a digit, 0 to 9"),
        ("9 + 4711", "is 4711: choose a digit, 0 to 9"),
        ("1+1+1+1+1+1+1+1+1", "8 digits at most"),
        ("1+1+1+1+1+1+1+1+", "8 digits at most"),
        (" " * 1000 + "1", "8 digits at most"),
        ("9 - 9", "cancels out"),
        ("9 - 4 - 9 + 4", "cancels out"),
    ],
)
def test_what_is_no_equation_is_refused_in_one_line(text, said):
    with pytest.raises(UserError, match=said) as error:
        parse_equation(text)
    assert str(error.value).isprintable()


def refusal(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """The one line of a command that must end with exit code 2, before a framework is loaded."""

    def load() -> Framework:
        raise AssertionError("a framework was loaded")

    assert standalone("torch", load, [str(word) for word in words]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1, printed.err
    return printed.err.strip()


BAD = {
    "sample": {
        "no --out": (["run"], "--out"),
        "no checkpoint": (["--out=o.png"], "or pass --pretrained"),
        "a checkpoint and --pretrained": (["run", "--pretrained", "--out=o.png"], "are two models"),
        "a missing checkpoint": (["missing", "--out=o.png"], "missing does not exist"),
        "a folder without checkpoints": (["empty", "--out=o.png"], "empty holds no checkpoints"),
        "a file that is no checkpoint": (["text.txt", "--out=o.png"], "cannot be read as a checkpoint"),
        "a checkpoint of another architecture": (["other", "--out=o.png"], "is no model of preset dcgan32"),
        "an unknown suffix": (["run", "--out=o.jpg"], "o.jpg must end in .png or .npz"),
        "an empty --out": (["run", "--out="], "--out is empty"),
        "no suffix": (["run", "--out=o"], "o must end in .png or .npz"),
        "an --out in no folder": (["run", "--out=no/o.png"], "there is no folder no"),
        "an --out that is a folder": (["run", "--out=folder.png"], "folder.png is a folder"),
        "an --out with too long a name": (["run", f"--out={'x' * 300}.png"], "cannot be written"),
        "no images": (["run", "--num=0", "--out=o.png"], "--num is 0: pass 1 to 10,000"),
        "too many images": (["run", "--num=10001", "--out=o.png"], "--num is 10001: pass 1 to 10,000"),
        "no columns": (["run", "--num-columns=0", "--out=o.png"], "--num-columns is 0: pass 1 to 100"),
        "columns of no grid": (["run", "--num-columns=5", "--out=o.npz"], "--num-columns is of a grid"),
        "a number that is none": (["run", "--num=ten", "--out=o.png"], "--num"),
        "two sources of latents": (["run", "--seed=1", "--latents=l.npy", "--out=o.png"], "pass one of the two"),
        "missing latents": (["run", "--latents=no.npy", "--out=o.png"], "--latents: no.npy cannot be read"),
        "latents of another length": (
            ["run", "--latents=wide.npy", "--out=o.png"],
            "wide.npy holds float64 (3, 17), but",
        ),
        "latents beyond float32": (["run", "--latents=huge.npy", "--out=o.png"], "holds NaN or infinity"),
        "latents that are text": (["run", "--latents=text.txt", "--out=o.png"], "damaged or foreign"),
        "fewer latents than images": (["run", "--latents=l.npy", "--num=5", "--out=o.png"], "pass --num, 1 to 3"),
        "latents from a device": (["run", "--latents=/dev/zero", "--out=o.png"], "not a regular file"),
    },
    "interpolate": {
        "an unknown digit": (["run", "--from-class=10", "--to-class=9", "--out=o.png"], "--from-class is 10: choose"),
        "a digit below 0": (["run", "--from-class=6", "--to-class=-1", "--out=o.png"], "--to-class is -1: choose"),
        "one digit twice": (["run", "--from-class=6", "--to-class=6", "--out=o.png"], "are both 6"),
        "one frame": (["run", *WAY, "--num-frames=1", "--out=o.png"], "--num-frames is 1: pass 2 to 100"),
        "too many frames": (["run", *WAY, "--num-frames=101", "--out=o.png"], "--num-frames is 101"),
        "an unknown suffix": (["run", *WAY, "--out=o.gif"], "o.gif must end in .png"),
        "a folder where the animation goes": (["run", *WAY, "--out=taken.png"], "taken.gif is a folder"),
        "a model in colour": (["colours", *WAY, "--out=o.png"], "the model makes colours"),
        "a model of another dataset": (["fashion", *WAY, "--out=o.png"], "the model makes fashion_mnist"),
    },
    "arithmetic": {
        "no equation": (["run", "--out=o.png"], "there is no arithmetic"),
        "half an equation": (["run", "9 -", "--out=o.png"], '"9 -" is no sum or difference'),
        "an empty equation": (["run", "", "--out=o.png"], "an argument is empty"),
        "a leading sign": (["run", "-4 + 6", "--out=o.png"], '"-4 + 6" is no sum or difference'),
        "an unknown digit": (["run", "9 + 10", "--out=o.png"], "is 10: choose a digit"),
        "an unknown suffix": (["run", "9", "--out=o.npz"], "o.npz must end in .png"),
        "a model in colour": (["colours", "9", "--out=o.png"], "the model makes colours"),
        "two models": (["run", "9", "--pretrained", "--out=o.png"], "are two models"),
    },
    "features": {},
}

for command, words in {"interpolate": WAY, "arithmetic": ["9"], "features": []}.items():
    BAD[command] |= {
        "a missing checkpoint": (["missing", *words], "missing does not exist"),
        "a name that is no line": (["two\nlines", *words], "two\\nlines does not exist"),
        "a folder without checkpoints": (["empty", *words], "empty holds no checkpoints"),
        "a file that is no checkpoint": (["text.txt", *words], "cannot be read as a checkpoint"),
        "a checkpoint of another architecture": (["other", *words], "is no model of preset dcgan32"),
    }


@pytest.fixture(scope="module")
def bad_folder(tmp_path_factory) -> Path:
    """A run, and one of each kind of thing that a command refuses."""
    folder = tmp_path_factory.mktemp("bad")
    write_run(folder / "run")
    write_run(folder / "colours", image_channels=3)
    write_run(folder / "fashion", small_config(dataset="fashion_mnist"))
    write_run(folder / "other", changes={"generator.layers.1.bias": np.zeros(17, np.float32)})
    for name in ("empty", "folder.png", "taken.gif"):
        (folder / name).mkdir()
    (folder / "text.txt").write_text("latents")
    np.save(folder / "l.npy", np.zeros((3, 16), np.float32))
    np.save(folder / "wide.npy", np.zeros((3, 17)))
    np.save(folder / "huge.npy", np.full((3, 16), 1e300))
    return folder


@pytest.mark.parametrize(("command", "case"), [(command, case) for command, cases in BAD.items() for case in cases])
def test_bad_input_is_one_line_before_a_framework_is_loaded(command, case, bad_folder, monkeypatch, capsys):
    monkeypatch.chdir(bad_folder)
    before = sorted(bad_folder.rglob("*"))
    words, said = BAD[command][case]
    assert said in refusal(capsys, command, *words)
    assert sorted(bad_folder.rglob("*")) == before
