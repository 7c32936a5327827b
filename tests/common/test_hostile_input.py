"""Files that a crash cut, a hand edited or someone sent end in success or in one line: docs/decisions/0017."""

import copy
import html.parser
import io
import json
import math
import os
import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from common import safe_read
from common.config import TrainConfig, to_dict
from common.data.datasets import load_dataset
from common.errors import UserError
from common.evaluation import read_samples
from common.records.folder import read_json
from common.records.folder import write_json as write_record
from common.records.recorded_run import read_run, read_shown_samples
from common.records.schema import check
from common.records.series import read_losses, read_progress
from common.safe_read import one_line, read_bounded, read_npz
from comparison.parity.certificate import parity_of
from comparison.report.figures import Drawn
from comparison.report.write import print_summary, write_report
from tests.certificates import write_certificate
from tests.synthetic_runs import real_digits, write_comparison, write_json, write_run

ROOT = Path(__file__).parents[2]
NUM_INPUTS = 300
SCRIPT = '<script>alert("1|2")</script><img src=x onerror=alert(1)>'
TEXTS = ("", SCRIPT, "line\nbreak\u2028", "\x1b[2Jescape", "../../etc/passwd", "x" * 20_000, "{{ 7 * 7 }}", "[/bold]")
NUMBERS = (0, -1, 1, 2**31, 2**63, 10**25, 0.5, 5e-324, 1e300, 1.0)
VALUES = (None, True, False, [], {}, [[]], [None], {"": {}}, *NUMBERS, *TEXTS)
RAW_VALUES = ("NaN", "Infinity", "1e999", "9" * 5_000, "[" * 5_000, '"\\ud800"', "0x1")
JSON_RECORDS = ("environment", "timing", "metrics", "status", "config")


# Damage


def damaged(source: random.Random, valid: bytes) -> bytes:
    """The bytes cut short, with a bit flipped, with a part missing, or with a part written twice."""
    content, at = bytearray(valid), source.randrange(len(valid))
    match source.randrange(4):
        case 0:
            del content[at:]
        case 1:
            content[at] ^= 1 << source.randrange(8)
        case 2:
            del content[at : at + source.randrange(1, 40)]
        case _:
            content[at:at] = content[at : at + source.randrange(1, 40)]
    return bytes(content)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) within a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield value, key
        yield from places(item)


def places_or_self(value: dict[str, Any]) -> list[tuple[Any, Any]]:
    """The places, of which an empty object is given one."""
    if not value:
        value[""] = None
    return list(places(value))


def edited(source: random.Random, valid: dict[str, Any]) -> bytes:
    """The object with a value replaced, removed or renamed, or with one that JSON does not know."""
    value, raw = copy.deepcopy(valid), "@raw@"
    container, key = source.choice(places_or_self(value))
    match source.randrange(6):
        case 0 if isinstance(container, dict):
            del container[key]
        case 1 if isinstance(container, dict):
            container[source.choice(TEXTS)] = container.pop(key)
        case 2:
            container[key] = raw
        case _:
            container[key] = copy.deepcopy(source.choice(VALUES))
    return json.dumps(value).replace(f'"{raw}"', source.choice(RAW_VALUES)).encode()


def one_line_of(error: Exception) -> str:
    """The message, which is one line that a terminal can show, and no longer than anyone reads."""
    message = str(error)
    assert len(message.splitlines()) == 1, ascii(message)[:500]
    assert message.isprintable(), ascii(message)[:500]
    assert len(message) < 2_000, message[:500]
    return message


def refusal(read: Callable[[], Any]) -> str:
    """What the reader says of the input."""
    with pytest.raises(ValueError) as info:  # noqa: PT011
        read()
    return one_line_of(info.value)


def read_or_refused(path: Path, make: Callable[[random.Random], bytes], read: Callable[[], Any]) -> None:
    """Every input is read or refused in one line; of each kind there must be some, or the test would say nothing."""
    source, num_accepted, messages = random.Random(0), 0, set()
    for _ in range(NUM_INPUTS):
        content = make(source)
        path.write_bytes(content)
        try:
            read()
            num_accepted += 1
        except ValueError as error:
            messages.add(one_line_of(error))
        except BaseException as error:
            raise AssertionError(f"{content[:1_000]!r} ended in {error!r}") from error
    assert num_accepted > 0
    assert len(messages) > 3, messages


# Readers


@pytest.mark.parametrize("name", JSON_RECORDS)
def test_the_json_records_of_a_run_are_read_or_refused(name: str, tmp_path: Path):
    write_run(tmp_path / "torch", "torch", epochs=1)
    path = tmp_path / "torch" / f"{name}.json"
    valid = json.loads(path.read_text())
    read = partial(TrainConfig.from_json if name == "config" else read_json, path)
    read_or_refused(path, lambda source: edited(source, valid), read)
    content = json.dumps(valid).encode()
    read_or_refused(path, lambda source: damaged(source, content), read)


def test_a_certificate_is_read_or_refused(tmp_path: Path):
    write_comparison(tmp_path, epochs=1)
    write_certificate(tmp_path)
    runs = {name: run for name in ("torch", "jax") if (run := read_run(tmp_path / name, name)) is not None}
    path = tmp_path / "parity.json"
    valid = json.loads(path.read_text())
    read_or_refused(path, lambda source: edited(source, valid), lambda: parity_of(tmp_path, runs))


def test_losses_are_read_or_refused(tmp_path: Path):
    write_run(tmp_path / "torch", "torch", epochs=1)
    path = tmp_path / "torch" / "losses.csv"
    valid = b"".join(path.read_bytes().splitlines(keepends=True)[:8])
    read_or_refused(path, lambda source: damaged(source, valid), lambda: read_losses(path))


def npz_bytes(**arrays: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.savez(content, **arrays)  # pyright: ignore[reportArgumentType]
    return content.getvalue()


READERS: dict[str, Callable[[Path], Any]] = {
    "sample grids": read_progress,
    "samples to score": read_samples,
    "samples to show": lambda path: read_shown_samples(path, {"nearest_neighbours": [{"sample": 3}]}),
}


@pytest.mark.parametrize("reader", READERS)
def test_an_archive_of_arrays_is_read_or_refused(reader: str, tmp_path: Path):
    images = np.zeros((1, 64, 2, 2), np.uint8) if reader == "sample grids" else real_digits(1_000)[:, :8, 10:18]
    valid = npz_bytes(images=images, epochs=np.arange(1))
    path = tmp_path / "arrays.npz"
    read_or_refused(path, lambda source: damaged(source, valid), lambda: READERS[reader](path))


# What is sent may neither run code, nor fill the memory, nor hang the reader


def test_an_array_of_python_objects_is_not_unpickled(tmp_path: Path):
    (tmp_path / "samples.npz").write_bytes(npz_bytes(images=np.array([{}], dtype=object)))
    assert "allow_pickle" in refusal(lambda: read_samples(tmp_path / "samples.npz"))


def test_an_archive_that_expands_beyond_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(safe_read, "MAX_NPZ_BYTES", 10_000)
    np.savez_compressed(tmp_path / "samples.npz", images=np.zeros(20_000, np.uint8))
    assert (tmp_path / "samples.npz").stat().st_size < 10_000
    assert "more than 10,000" in refusal(lambda: read_npz(tmp_path / "samples.npz", {"images": np.uint8}))


def test_a_file_beyond_the_limit_is_refused(tmp_path: Path):
    (tmp_path / "config.json").write_bytes(b" " * 101)
    assert "larger than the 100 bytes" in refusal(lambda: read_bounded(tmp_path / "config.json", limit=100))


@pytest.mark.parametrize(
    "name", ["config.json", "status.json", "losses.csv", "progress.npz", "timing.json", "metrics.json", "samples.npz"]
)
def test_a_pipe_a_device_or_a_folder_among_the_records_is_refused(name: str, tmp_path: Path):
    write_run(tmp_path / "torch", "torch", epochs=1)
    path = tmp_path / "torch" / name
    for make in (os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")):
        path.unlink() if not path.is_dir() else path.rmdir()
        make(path)
        assert "not a regular file" in refusal(lambda: read_run(tmp_path / "torch", "torch"))


@pytest.mark.parametrize(
    "name",
    ["../../etc", "/etc", "os.path:join", "os.path:join/1.0.0", "huggingface:mnist", "gs://x/y", "a\0b", "", "x" * 999],
)
def test_a_dataset_in_a_config_is_a_name_and_neither_a_path_nor_a_module(name: str, tmp_path: Path):
    assert "TFDS knows no such dataset" in refusal(lambda: load_dataset(name, tmp_path))


@pytest.mark.parametrize(
    "content",
    ["[" * 100_000, "[]", "{}", '{"a": NaN}', '{"a": "\\ud800"}', "\ufeff{}", '{"a": ' + "9" * 5_000 + "}"],
    ids=lambda content: content[-20:],
)
def test_what_is_no_config_is_refused(content: str, tmp_path: Path):
    path = tmp_path / "config.json"
    path.write_text(content)
    assert "config.json" in refusal(lambda: TrainConfig.from_json(path))


@pytest.mark.parametrize(
    "change",
    [{"line\nbreak": 1}, {"seed": True}, {"preset": []}, {"variant": {}}, {"beta1": "0.5"}, {"image_size": 2**40}],
    ids=repr,
)
def test_a_config_with_a_field_that_cannot_be_is_refused_by_the_name_of_it(change: dict[str, Any], tmp_path: Path):
    write_json(tmp_path / "config.json", to_dict(TrainConfig()) | change)
    assert one_line(next(iter(change))) in refusal(lambda: TrainConfig.from_json(tmp_path / "config.json"))


def test_a_config_without_a_field_is_refused_by_the_name_of_it(tmp_path: Path):
    fields = to_dict(TrainConfig())
    del fields["beta1"]
    write_json(tmp_path / "config.json", fields)
    assert "beta1 is missing" in refusal(lambda: TrainConfig.from_json(tmp_path / "config.json"))


@pytest.mark.parametrize("value", [math.nan, math.inf, 1, 1.5, -0.1, True, "0.5"])
def test_a_decay_that_is_none_is_refused(value: Any):
    assert "beta1 is" in refusal(lambda: TrainConfig(beta1=value))


# Records


def test_a_status_without_a_run_is_checked_too(tmp_path: Path):
    write_run(tmp_path / "torch", "torch", epochs=1)
    (tmp_path / "jax").mkdir()
    write_json(tmp_path / "jax" / "status.json", {"status": "failed"})
    assert "status.json is damaged (message is missing)" in refusal(lambda: write_report(tmp_path, real_digits(64)))


@pytest.mark.usefixtures("no_figures")
def test_a_rung_that_holds_without_a_number_is_refused(tmp_path: Path):
    write_comparison(tmp_path, epochs=1)
    rung = {"rung": 1, "kind": "x", "name": "x", "precision": "float64", "tolerance": 1.0, "where": ""}
    write_certificate(tmp_path, rungs=[{**rung, "measured": None, "holds": True}])
    assert "a rung holds without a number" in refusal(lambda: write_report(tmp_path, real_digits(64)))


@pytest.mark.parametrize("change", [{"steady_images_per_second": None}, {"chunk_size": None}])
def test_chunks_without_a_speed_or_a_size_are_refused(change: dict[str, Any], tmp_path: Path):
    write_run(tmp_path / "torch", "torch", epochs=1)
    path = tmp_path / "torch" / "timing.json"
    timing = json.loads(path.read_text())
    write_json(path, {**timing, **change})
    assert "timing.json is damaged (it has chunks" in refusal(lambda: read_run(tmp_path / "torch", "torch"))


def test_fields_that_no_schema_declares_are_passed_over_and_never_written(tmp_path: Path):
    write_run(tmp_path / "torch", "torch", epochs=1)
    path = tmp_path / "torch" / "metrics.json"
    known, newer = json.loads(path.read_text()), json.loads(path.read_text())
    newer["metrics"]["kid"]["valeu"] = newer["nearest_neighbours"][0]["closest"] = 1.0
    write_json(path, newer)
    assert read_json(path) == known
    refused = refusal(lambda: write_record(path, newer))
    assert "metrics.kid.valeu, nearest_neighbours.0.closest of metrics.json is declared nowhere" in refused


@pytest.mark.parametrize("name", ["default", "wide"])
def test_the_published_benchmarks_are_what_bench_writes(name: str):
    published = ROOT / "docs" / "results" / "speed" / f"{name}.json"
    check("bench.json", json.loads(published.read_text()), complete=True)


def test_the_published_comparison_is_what_the_report_writes():
    published = ROOT / "docs" / "results" / "default" / "comparison.json"
    check("comparison.json", json.loads(published.read_text()), complete=True)


# The report


class Tags(html.parser.HTMLParser):
    """The kinds of tags in a page, each with the names of its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: set[tuple[str, ...]] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """One more kind, or one that is known."""
        self.found.add((tag, *(name for name, _ in attrs)))


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes nearly all of a report's time."""
    monkeypatch.setattr("comparison.report.write.draw_figures", lambda *_: Drawn())


def with_script(value: Any, keep: tuple[str, ...] = ()) -> Any:
    """The same value with a script in every string and every name that the reader does not look for."""
    if isinstance(value, dict):
        return {name: item if name in keep else with_script(item, keep) for name, item in value.items()} | {
            SCRIPT: SCRIPT
        }
    if isinstance(value, list):
        return [with_script(item, keep) for item in value]
    return f"{value}{SCRIPT}" if isinstance(value, str) else value


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("certified", [False, True])
def test_no_text_of_a_run_becomes_a_tag_of_the_report(certified: bool, tmp_path: Path):
    plain, hostile = (write_comparison(tmp_path / name, epochs=1) for name in ("plain", SCRIPT.replace("/", "")))
    kept = (
        "precision",
        "variant",
        "initialization",
        "generator_latents",
        "num_parameters",
        "metrics",
        "class_histogram",
        "status",
        "rungs",
        "accuracy",
    )
    for framework in ("torch", "jax"):
        for record in ("config", "environment", "status", "metrics", "timing"):
            path = hostile / framework / f"{record}.json"
            write_json(path, with_script(json.loads(path.read_text()), kept))
        status = {"status": "failed", "message": SCRIPT, "step": 1, "epoch": 1}
        for folder in (plain, hostile):
            write_json(folder / framework / "status.json", status if folder == hostile else {**status, "message": "so"})
    metrics = hostile / "torch" / "metrics.json"
    content = json.loads(metrics.read_text())
    content["metrics"][SCRIPT] = {"value": 1.0, "spread": 1.0, "floor": 1.0}
    write_json(metrics, content)
    if certified:
        for folder, script in ((plain, ""), (hostile, SCRIPT)):
            rung = {"rung": 1, "kind": f"x{script}", "name": f"x{script}", "precision": "float64", "measured": 1.0}
            write_certificate(
                folder, holds=False, rungs=[{**rung, "tolerance": 0.5, "where": f"x{script}", "holds": False}]
            )
    pages = {}
    for folder in (plain, hostile):
        write_report(folder, real_digits(64))
        pages[folder] = (folder / "report.html").read_text()
    assert Tags(pages[hostile]).found == Tags(pages[plain]).found
    assert pages[hostile].count("&lt;script&gt;") > 10
    assert "<script" not in outside_fences((hostile / "report.md").read_text())


def outside_fences(markdown: str) -> str:
    """The text of a Markdown file without its code blocks, which end at the first line with a fence as long."""
    lines, fence = [], ""
    for line in markdown.splitlines():
        ticks = line.lstrip(" ")[: len(line.lstrip(" ")) - len(line.lstrip(" ").lstrip("`"))]
        if not fence and len(ticks) >= 3:
            fence = ticks
        elif fence and len(ticks) >= len(fence) and line.strip(" `") == "":
            fence = ""
        elif not fence:
            lines.append(line)
    return "\n".join(lines)


@pytest.mark.usefixtures("no_figures")
def test_a_command_cannot_leave_its_code_block_in_markdown(tmp_path: Path):
    write_comparison(tmp_path, epochs=1)
    path = tmp_path / "torch" / "environment.json"
    write_json(path, {**json.loads(path.read_text()), "command": ["python", "\n```\n\n<script>x</script>\n"]})
    write_report(tmp_path, real_digits(64))
    markdown = (tmp_path / "report.md").read_text()
    assert "<script>" in markdown
    assert "<script>" not in outside_fences(markdown)


@pytest.mark.usefixtures("no_figures")
def test_a_report_of_a_run_edited_by_hand_is_written_or_refused(tmp_path: Path):
    write_comparison(tmp_path, epochs=1)
    write_certificate(tmp_path)
    names = [f"torch/{name}.json" for name in JSON_RECORDS if name != "config"] + ["parity.json"]
    digits, console, source = real_digits(64), Console(file=io.StringIO(), width=100), random.Random(0)
    outcomes = {True: 0, False: 0}
    write_report(tmp_path, digits)
    num_own_scripts = (tmp_path / "report.html").read_text().count("<script")
    for index in range(40):
        path = tmp_path / names[index % len(names)]
        valid = path.read_bytes()
        path.write_bytes(edited(source, json.loads(valid)))
        try:
            print_summary(write_report(tmp_path, digits), console)
            outcomes[True] += 1
            assert (tmp_path / "report.html").read_text().count("<script") <= num_own_scripts
        except UserError as error:
            one_line_of(error)
            outcomes[False] += 1
        path.write_bytes(valid)
    assert min(outcomes.values()) > 5


@pytest.mark.parametrize("cell", ["nan", "-1e308"])
def test_figures_are_drawn_of_losses_of_any_size(cell: str, tmp_path: Path):
    write_comparison(tmp_path, epochs=1, steps_per_epoch=60)
    for framework in ("torch", "jax"):
        for pictured in ("progress.npz", "metrics.json"):  # no other figures
            (tmp_path / framework / pictured).unlink()
        path = tmp_path / framework / "losses.csv"
        lines = path.read_text().splitlines()
        for row in (1, 30) if framework == "torch" else range(1, 61):
            lines[row] = f"{row},1,{cell},{cell},0.5,{cell}"
        path.write_text("\n".join(lines) + "\n")
    write_report(tmp_path, real_digits(64))
    assert (tmp_path / "report.html").exists()


def test_a_run_without_any_finite_loss_is_reported(tmp_path: Path):
    write_comparison(tmp_path, epochs=1, steps_per_epoch=60)
    for framework in ("torch", "jax"):
        for pictured in ("progress.npz", "metrics.json"):  # no other figures
            (tmp_path / framework / pictured).unlink()
        path = tmp_path / framework / "losses.csv"
        header = path.read_text().splitlines()[0]
        path.write_text(f"{header}\n1,1,nan,nan,nan,nan\n2,1,nan,nan,0.5,0.5\n")
    write_report(tmp_path, real_digits(64))
    assert (tmp_path / "report.html").exists()
