"""`compare.py diff` of two functions: files, exit codes, and one line for whatever is wrong with what it is given."""

import json
import re
import textwrap
from pathlib import Path

import numpy as np
import pytest

from common.errors import report_errors
from comparison.commands.dispatch import PROGRAM, run_command

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "port-a-model.md"
TORCH = """
    import torch
    from torch import nn

    class Inner(nn.Module):
        def forward(self, x):
            raise RuntimeError("no such thing")

    class Takes(nn.Module):
        def forward(self, x, *, mask):
            return x * mask

    class NaN(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 2)
        def forward(self, x):
            return torch.log(-self.linear(x).abs() - 1)

    def build(): return nn.Sequential(nn.Linear(3, 2))
    def failing(): return nn.Sequential(nn.Linear(3, 2), Inner())
    def nan(): return NaN()
    def two(): return Takes()
    def nothing(): return None
    def raising(): return 1 / 0
"""
FLAX = """
    from flax import nnx

    class Pair(nnx.Module):
        def __init__(self):
            self.linear = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
        def __call__(self, x):
            return self.linear(x), self.linear(x)

    class Inner(nnx.Module):
        def __call__(self, x):
            raise ValueError("no such thing here")

    def build(): return nnx.Sequential(nnx.Linear(3, 2, rngs=nnx.Rngs(0)))
    def failing(): return nnx.Sequential(nnx.Linear(3, 2, rngs=nnx.Rngs(0)), Inner())
    def pair(): return Pair()
    def other(): return nnx.Sequential(nnx.Linear(3, 2, rngs=nnx.Rngs(0)), nnx.relu)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Two files, inputs good and bad, as the current folder."""
    monkeypatch.chdir(tmp_path)
    for name, code in (("my_torch.py", TORCH), ("my_flax.py", FLAX), ("broken.py", "def build(:")):
        Path(name).write_text(textwrap.dedent(code))
    np.savez("inputs.npz", np.ones((4, 3), np.float32))
    np.savez("wide.npz", np.ones((4, 5), np.float32))
    np.savez("nan.npz", np.full((4, 3), np.nan, np.float32))
    np.savez("unknown.npz", weight=np.ones(3))
    np.savez("pickle.npz", np.array([{}], dtype=object))
    Path("text.npz").write_text("text")
    Path("map.toml").write_text('[modules]\n"0" = "nowhere"\n')
    Path("flat.toml").write_text("modules = 3\n")
    return tmp_path


BAD = {
    "no such file": (["none.py:build", "my_flax.py:build"], "none.py is no file"),
    "no such function": (["my_torch.py:biuld", "my_flax.py:build"], "has no function biuld: it has build"),
    "a file that is no Python": (["broken.py:build", "my_flax.py:build"], "broken.py cannot be imported (SyntaxError"),
    "a function that fails": (["my_torch.py:raising", "my_flax.py:build"], "fails (ZeroDivisionError"),
    "no module": (["my_torch.py:nothing", "my_flax.py:build"], "returns NoneType, not a torch.nn.Module"),
    "the wrong way round": (["my_flax.py:build", "my_torch.py:build"], "returns Sequential, not a torch.nn.Module"),
    "a function and a checkpoint": (["my_torch.py:build", "pretrained"], "two functions or two checkpoints"),
    "PyTorch fails inside": (["my_torch.py:failing", "my_flax.py:build"], "PyTorch's `1` (Inner) fails"),
    "Flax fails inside": (["my_torch.py:build", "my_flax.py:failing"], "Flax's `layers.1` (Inner) fails"),
    "other inputs": (["my_torch.py:build", "my_flax.py:build", "--inputs=wide.npz"], "PyTorch's `0` (Linear) fails"),
    "an input too few": (["my_torch.py:two", "my_flax.py:build"], "PyTorch's module (Takes) fails"),
    "an unknown input": (
        ["my_torch.py:build", "my_flax.py:build", "--inputs=unknown.npz"],
        "PyTorch's module (Sequential) fails",
    ),
    "inputs of NaN": (["my_torch.py:build", "my_flax.py:build", "--inputs=nan.npz"], "holds NaN"),
    "a pickle": (["my_torch.py:build", "my_flax.py:build", "--inputs=pickle.npz"], "is no .npz of plain arrays"),
    "text for inputs": (["my_torch.py:build", "my_flax.py:build", "--inputs=text.npz"], "is no .npz of plain arrays"),
    "NaN inside": (["my_torch.py:nan", "my_flax.py:build"], "returns NaN"),
    "unequal outputs": (["my_torch.py:build", "my_flax.py:pair"], "the outputs cannot be compared"),
    "a map to nowhere": (["my_torch.py:build", "my_flax.py:build", "--map=map.toml"], "names `nowhere`"),
    "a map of another form": (["my_torch.py:build", "my_flax.py:build", "--map=flat.toml"], "must hold [modules]"),
    "a loss that is none": (["my_torch.py:build", "my_flax.py:build", "--loss=my_flax.py:no"], "has no function no"),
    "latents": (["my_torch.py:build", "my_flax.py:build", "--latents=3"], "pass --inputs"),
    "a flag of modules for checkpoints": (["pretrained", "pretrained", "--html=page.html"], "two functions or two"),
    "JSON into no folder": (["my_torch.py:build", "my_flax.py:build", "--json=missing/a.json"], "a folder that exists"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_that_says_what_is_wrong_and_exit_code_2(case, folder, capsys):
    words, said = BAD[case]
    if len(words) == 2 and "fails inside" not in case:
        words = [*words, "--inputs=inputs.npz"]
    if words[0] == "pretrained":
        words = words[:3]
    assert report_errors(PROGRAM, lambda: run_command(["diff", *words])) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert len(printed.err.splitlines()) == 1


def test_modules_that_agree_end_with_0_and_those_that_do_not_with_1_and_the_files_say_why(folder, capsys):
    files = ["--json=a.json", "--html=a.html", "--write-map=map.toml"]
    assert run_command(["diff", "my_torch.py:build", "my_flax.py:build", "--inputs=inputs.npz", *files]) == 0
    assert capsys.readouterr().out.startswith("They agree")
    found = json.loads(Path("a.json").read_text())
    assert found["agrees"]
    assert found["first_divergence"] is None
    assert '"0" = "layers.0"' in Path("map.toml").read_text()
    assert run_command(["diff", "my_torch.py:build", "my_flax.py:other", *files, "--map=map.toml"]) == 1
    found = json.loads(Path("a.json").read_text())
    assert set(found["first_divergence"]) >= {
        "torch",
        "flax",
        "stage",
        "measured",
        "explained_by_rounding",
        "likely_cause",
    }
    page = Path("a.html").read_text()
    assert not re.search(r"(src|href)=|url\(|@import", page), "it must need no network"
    assert "new uPlot(" in page
    assert "The first module that differs" in page


def test_a_loss_of_ones_own_and_one_precision(folder, capsys):
    Path("loss.py").write_text("def mean(x): return x.mean()\ndef twice(x): return 2 * x.mean()\n")
    words = ["diff", "my_torch.py:build", "my_flax.py:build", "--inputs=inputs.npz", "--precision=float32"]
    assert run_command([*words, "--loss=loss.py:mean"]) == 0
    assert run_command([*words, "--loss=loss.py:mean,twice"]) == 1
    assert "the loss of equal outputs" in capsys.readouterr().out


def test_the_commands_of_the_page_say_what_it_says_they_say(tmp_path, monkeypatch, capsys):
    """Every block of the page is written where it says, and each command is run as it stands there."""
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text(encoding="utf-8")
    torch_file, flax_file, inputs = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    Path("my_torch.py").write_text(torch_file)
    Path("my_flax.py").write_text(flax_file)
    padded = flax_file.replace("strides=2,", "strides=2, padding=1,")
    Path("mended.py").write_text(padded.replace("self.norm(self.conv(x)))", "self.norm(self.conv(x)), 0.2)"))
    exec(inputs, {})
    commands = re.findall(r"^    python compare\.py (diff my_torch.*)$", text, re.MULTILINE)
    assert len(commands) == 5
    for command in commands:
        code = run_command(command.split())
        said = " ".join(capsys.readouterr().out.split())
        assert code == (0 if "mended" in command else 1), said
        if "mended" not in command:
            assert re.findall(r"^    (Likely cause, found by trying: `padding`.*)$", text, re.MULTILINE)[0] in said
    Path("padded.py").write_text(padded)
    run_command(["diff", "my_torch.py:build", "padded.py:build", "--inputs=inputs.npz"])
    said = capsys.readouterr().out
    for line in re.findall(r"^    (What reaches.*|Likely cause.*negative_slope.*)$", text, re.MULTILINE):
        assert line in said
