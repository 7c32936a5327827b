"""What `--help` says of every command: it fits a screen, leaves nothing out of `--help-all`, and its examples work."""

import importlib
import shlex

import pytest

from common.commands.dispatch import TWIN_COMMANDS, list_commands
from common.networks.presets import PRESETS
from common.options import RunOptions, help_for, parse
from common.options.help import flags_of
from comparison.commands.dispatch import COMMANDS, run_command

PROGRAMS = {"python compare.py": COMMANDS, "python -m torch_impl": TWIN_COMMANDS}
WORDS = [(program, name) for program, commands in PROGRAMS.items() for name in commands]
EXAMPLES = [(program, name, words) for program, name in WORDS for words in PROGRAMS[program][name].examples]


def options_of(program: str, name: str) -> type:
    command = PROGRAMS[program][name]
    return getattr(importlib.import_module(command.module), command.options)


def help_text(program: str, name: str, *words: str) -> str:
    examples = PROGRAMS[program][name].examples
    return help_for(options_of(program, name), words, program=f"{program} {name}", examples=examples)


def fits_a_screen(text: str) -> bool:
    lines = text.splitlines()
    return len(lines) <= 40 and max(map(len, lines)) <= 80


@pytest.mark.parametrize(("program", "name"), WORDS)
def test_help_fits_a_screen_and_help_all_leaves_no_flag_and_no_word_out(program, name):
    assert fits_a_screen(help_text(program, name, "--help"))
    everything = " ".join(help_text(program, name, "--help-all").split())
    for flag in flags_of(options_of(program, name)):
        assert flag.text, f"{flag.name} has no docstring"
        assert flag.typed in everything
        assert flag.text in everything


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_of_a_program_fits_a_screen_and_has_its_commands_and_how_to_begin(program):
    text = list_commands(PROGRAMS[program], arguments=["--help"], program=program, description="What it is.")
    assert fits_a_screen(text)
    for name, command in PROGRAMS[program].items():
        assert any(line.split()[:1] == [name] and command.summary in line for line in text.splitlines())
    assert "--dry-run" in text
    assert f"{program} list" in text


def test_help_of_a_run_has_five_groups_the_presets_and_three_examples():
    lines = help_text("python compare.py", "run", "--help").splitlines()
    headings = [line for line in lines[4:] if line[:1].isupper()]
    assert headings == ["Common", "Model", "Recipe", "Machine", "Output", "Presets", "Examples"]
    assert sum(line.startswith("  python compare.py") for line in lines) == 3
    assert any(line.split()[:1] == ["smoke"] for line in lines)


def test_a_preset_beside_help_changes_the_defaults_that_it_shows():
    text = help_for(RunOptions, ["--preset=smoke", "--help"], program="train", examples={})
    assert "Passes over the training images [1]" in text
    assert "[smoke]" in text


def test_a_switch_that_is_on_is_shown_as_what_turns_it_off():
    lines = help_text("python compare.py", "run", "--help").splitlines()
    assert any(line.startswith("  --no-certify ") and "Skip the parity check" in line for line in lines)


@pytest.mark.parametrize(("program", "name", "words"), EXAMPLES)
def test_an_example_of_help_is_a_command(program, name, words):
    typed = shlex.split(words)
    parse(options_of(program, name), typed[1:] if typed[:1] == [name] else typed, program="")


def test_list_names_every_preset_with_what_it_is(capsys):
    assert run_command(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, preset in PRESETS.items():
        assert any(line.startswith(f"{name} ") and line.endswith(preset.phrase) for line in lines), name
    assert fits_a_screen("\n".join(lines))
