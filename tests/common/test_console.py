"""What a run prints to may go away, fill up or not know a letter, and what it prints may hold any name."""

import io
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from common.commands.train import RunOptions
from common.console import LastingFile, make_console, shell_word, storable, stored_path
from common.errors import UserError
from common.evaluation.__main__ import Arguments
from common.options import parse
from common.records.folder import read_json
from tests.counting import FLAGS, CountingTrainer, run

ROOT = Path(__file__).parents[2]
HOSTILE = os.fsdecode(b"n\xff [b]x :smile: 'q' \"$(id)\" \\ \n\x1b")
PROGRAM = """
import sys
from common.errors import report_errors
def command():
    for number in range(300):
        print("Fr\\u00e9chet \\udcff", number, flush=True)
    open(sys.argv[1], "w").write("finished")
    return 0
sys.exit(report_errors("x", command))
"""


@pytest.mark.parametrize(
    ("redirection", "errors"),
    [
        ("| head -1 >first", ""),
        (">&-", ""),
        (">&- 2>&- <&-", ""),
        (">/dev/full", "x: not everything that was printed could be written (No space left on device)\n"),
        (">/dev/full 2>/dev/full", ""),
    ],
)
def test_a_command_goes_on_whatever_becomes_of_its_output(redirection, errors, tmp_path):
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "status")]
    words = " ".join(map(shell_word, command))
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    ended = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{words} {redirection}"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stderr) == (0, errors)
    assert (tmp_path / "status").read_text() == "finished"
    if (first := tmp_path / "first").exists():
        assert first.read_text() == "Fr\\xe9chet \\udcff 0\n"


def test_a_terminal_that_is_gone_takes_everything():
    ours, theirs = os.openpty()
    os.close(ours)
    with io.TextIOWrapper(io.BufferedWriter(LastingFile(theirs))) as stream:
        print("x" * 100_000, file=stream, flush=True)
    os.close(theirs)


def test_a_path_of_any_bytes_is_found_again_from_what_is_stored():
    path = os.fsdecode(b"/data/d\xe9 [b] x\\n")
    assert storable(path).isprintable()
    assert str(stored_path(storable(path))) == path


def test_a_word_for_the_shell_is_one_line_that_it_reads_as_it_was():
    word = shell_word(HOSTILE)
    assert word.isprintable()
    read = subprocess.run(["bash", "-c", f"printf %s {word}"], capture_output=True).stdout
    assert read == os.fsencode(HOSTILE)
    assert shell_word("runs/it's [b]") == "'runs/it'\"'\"'s [b]'"


class Stopped(CountingTrainer):
    """Is told to stop while it generates the samples that are scored."""

    def generate(self, latents):
        if len(latents) == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().generate(latents)


def test_a_run_is_recorded_and_resumed_under_any_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["torch_impl", f"--output={HOSTILE}"])
    assert run("torch", *FLAGS, "--epochs=1", f"--output={HOSTILE}") == 0
    folder = Path(HOSTILE) / "torch"
    assert "[b]x" in read_json(folder / "environment.json")["command"][-1]
    assert run("jax", f"--resume={folder}", "--output=other") == 0
    assert read_json(Path("other/jax/environment.json"))["resumed_from"]
    capsys.readouterr()
    assert run("torch", f"--resume={folder}", "--epochs=2", trainer=Stopped) == 143
    [command] = re.findall(r"go on with .*-m torch_impl --resume (.*)", capsys.readouterr().out)
    read = subprocess.run(["bash", "-c", f"printf %s {command}"], capture_output=True).stdout
    assert read == os.fsencode(folder.absolute())


def test_no_name_is_read_as_markup_or_emoji(capsys):
    make_console().print("a [b]x :smile: [/bold]")
    assert capsys.readouterr().out == "a [b]x :smile: [/bold]\n"


def test_every_console_is_made_in_one_place():
    sources = [path for place in ("common", "comparison") for path in (ROOT / place).rglob("*.py")]
    making = [path.name for path in sources if re.search(r"(?<!\w)Console\(", path.read_text())]
    assert making == ["console.py"]


@pytest.mark.parametrize(
    ("options", "words", "named"),
    [
        (RunOptions, ["--output", ""], "--output"),
        (RunOptions, ["--data-dir="], "--data-dir"),
        (RunOptions, ["--resume="], "--resume"),
        (Arguments, ["samples.npz", "--json", ""], "--json"),
        (Arguments, [""], "an argument"),
    ],
)
def test_an_empty_name_is_not_the_current_folder(options, words, named):
    with pytest.raises(UserError, match=f"^{named} is empty: give it a value, or leave it out$"):
        parse(options, words, program="x")
