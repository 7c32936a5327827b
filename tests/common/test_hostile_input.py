"""Whatever the user hands us ends in success or in one line that says what is wrong: never a traceback or a bomb."""

import copy
import gzip
import hashlib
import html.parser
import io
import json
import math
import os
import random
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
from rich.console import Console

from common.config import TrainConfig, to_dict
from common.contract import WeightsError, is_averaged
from common.data.datasets import load_dataset, read_idx
from common.data.initial_weights import initial_weights
from common.errors import UserError
from common.evaluation import read_samples
from common.networks.build import build_architecture
from common.records.checkpoint import save_checkpoint
from common.records.origin import check_same_config, find_origin
from common.records.recorded_run import read_run, read_shown_samples
from common.records.series import read_losses, read_progress
from common.safe_read import one_line, parse_json
from common.training.start import start_of
from comparison.parity.certificate import parity_of
from comparison.report.write import print_summary, write_report
from tests.comparison.test_report import write_certificate
from tests.synthetic_runs import NUM_SAMPLES, real_digits, write_comparison, write_json, write_run

SECONDS = 120  # of a subprocess
LARGE_INTEGERS = (0, 1, 255, 2**15, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**60, 2**63 - 1, 2**63, 2**64 - 1)
SCRIPT = '<script>alert("1|2")</script><img src=x onerror=alert(1)>'
TEXTS = (
    "",
    SCRIPT,
    "line\nbreak\r\n\u2028",
    "\x1b[2Jescape",
    "nul\0",
    "\ud800",
    "\U0001f600" * 50,
    "../../../etc/passwd",
    "/etc/passwd",
    "os.path:join",
    "huggingface:mnist",
    "gs://bucket/x",
    "1" * 5_000,
    "```\n\n<script>x</script>\n```",
    "x" * 20_000,
    "{{ 7 * 7 }}",
    "[/bold]",
    "NaN",
    "1e999",
)
NUMBERS = (0, -1, 1, 2**31, 2**60, 2**63, 2**64, -(2**70), 10**25, 10**400, 0.5, -0.0, 5e-324, 1e-300, 1e300, 1.0)
VALUES = (None, True, False, math.nan, math.inf, -math.inf, [], {}, [[]], [None], {"": {}}, *NUMBERS, *TEXTS)
RAW_VALUES = (
    "1e999",
    "-1e999",
    "NaN",
    "Infinity",
    "9" * 5_000,
    "[" * 5_000,
    '{"a":' * 3_000,
    "[" * 40 + "]" * 40,
    "0x1",
)

Make = Callable[[random.Random], bytes]


# Damage


def damaged(source: random.Random, valid: bytes) -> bytes:
    """The bytes with one to four mutations, or random bytes instead."""
    if source.random() < 0.05:
        return source.randbytes(source.randrange(200))
    content = bytearray(valid)
    for _ in range(source.randint(1, 4)):
        at = source.randrange(len(content) + 1)
        length = source.randrange(1, 40)
        match source.randrange(7):
            case 0:
                if content:
                    content[at % len(content)] ^= 1 << source.randrange(8)
            case 1:
                del content[at:]
            case 2:
                del content[at : at + length]
            case 3:
                content[at:at] = content[at : at + length]
            case 4:
                start = source.randrange(len(content) + 1)
                content[at : at + length] = content[start : start + length]
            case 5:
                number = source.choice(LARGE_INTEGERS).to_bytes(8, source.choice(("little", "big")))
                width = source.choice((1, 2, 4, 8))
                content[at : at + width] = number[:width] if source.random() < 0.5 else number[-width:]
            case _:
                content[at:at] = source.randbytes(length) if source.random() < 0.8 else b"\0" * 1_000
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


def damaged_json(source: random.Random, valid: dict[str, Any], *, num_raw: float = 0.2) -> bytes:
    """The object with values replaced, removed, renamed or added; now and then with its text damaged too."""
    value = json.loads(json.dumps(valid))
    marker = "@raw@"
    for _ in range(source.choice((1, 1, 1, 2, 5))):
        container, key = source.choice(places_or_self(value))
        match source.randrange(8):
            case 0 if isinstance(container, dict):
                container.pop(key, None)
            case 1 if isinstance(container, dict):
                container[source.choice(TEXTS)] = container.pop(key, None)
            case 2 if isinstance(container, dict):
                container[source.choice(TEXTS)] = copy.deepcopy(source.choice(VALUES))
            case 3:
                container[key] = marker
            case 4:
                other_container, other_key = source.choice(places_or_self(value))
                container[key] = copy.deepcopy(other_container[other_key])
            case _:
                container[key] = copy.deepcopy(source.choice(VALUES))
    text = json.dumps(value, ensure_ascii=source.random() < 0.9).replace(f'"{marker}"', source.choice(RAW_VALUES))
    content = text.encode("utf-8", "surrogatepass")
    return damaged(source, content) if source.random() < num_raw else content


def damaged_npz(source: random.Random, arrays: dict[str, np.ndarray]) -> bytes:
    """An archive of which an array's header, an array's bytes or the archive itself is damaged."""
    content = io.BytesIO()
    level = source.randrange(5)
    compression = (
        zipfile.ZIP_DEFLATED if source.random() < 0.9 else source.choice((zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    )
    with zipfile.ZipFile(content, "w", compression if level == 0 else zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = npy(source, array) if level in (1, 2) else npy(None, array)
            member = damaged(source, member) if level == 3 else member
            archive.writestr(f"{name}.npy" if source.random() < 0.99 else f"../{name}", member)
    return damaged(source, content.getvalue()) if level == 4 else content.getvalue()


def npy(source: random.Random | None, array: np.ndarray) -> bytes:
    """An array as np.save writes it, or under a header that lies."""
    if source is None:
        content = io.BytesIO()
        np.save(content, array)
        return content.getvalue()
    shape = source.choice(
        (
            f"({2**60},)",
            f"({2**60}, 0, 0)",
            f"(0, {2**32}, {2**32})",
            "(-1, 8, 8)",
            "(1000, 8, 8",
            "(1000L, 8L, 8L)",
            "(True, 8, 8)",
            "1000",
            "()",
            "(1.5,)",
            "(" + "1, " * 100 + ")",
            "(" * 180 + ")" * 180,
            f"({'9' * 5_000},)",
            str(array.shape),
            str(tuple(reversed(array.shape))),
        )
    )
    descr = source.choice(("'|u1'", "'|O'", "'<f8'", "'<U9999999'", "'|V0'", "[('a', 'O')]", "'x'", "''", "0", "'>u2'"))
    order = source.choice(("False", "False", "True", "None"))
    extra = (
        ""
        if source.random() < 0.9
        else source.choice(("'extra': 1, ", "-" * 3_000 + "1: 0, ", "__import__('os'): 0, "))
    )
    header = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, {extra}}}\n".encode()
    version = source.choice(((1, 0), (1, 0), (2, 0), (3, 0), (9, 9)))
    length = len(header) if source.random() < 0.9 else source.choice((0, 1, 65_535, 20_000))
    packed = struct.pack("<H" if version == (1, 0) else "<I", length)
    return b"\x93NUMPY" + bytes(version) + packed + header + array.tobytes()[: source.choice((0, 100, None))]


# The rule


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, if there is one: tens of thousands of files are written."""
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK):
        yield tmp_path
        return
    import tempfile

    with tempfile.TemporaryDirectory(dir=shared) as name:
        yield Path(name)


def one_line_of(error: Exception, *, strict: bool = True) -> str:
    """The message, which is one line that a terminal can show, and no longer than anyone reads."""
    message = str(error)
    assert len(message.splitlines()) == 1, ascii(message)[:500]
    if strict:  # safetensors quotes what it does not understand
        assert message.isprintable(), ascii(message)[:500]
        assert len(message) < 2_000, message[:500]
    return message


class Fuzz(Protocol):
    """Every input is read or refused; of each kind there must be some, or the test would say nothing."""

    def __call__(self, path: Path, make: Make, read: Callable[[], Any], *, share: int = 1, strict: bool = True) -> None:
        """`make` content of `path`, `read` it, one in `share` times as often as others do."""
        ...


@pytest.fixture(params=[1_000, pytest.param(10_000, marks=pytest.mark.slow)])
def fuzz(request: pytest.FixtureRequest) -> Fuzz:
    """Ten thousand inputs are what a reader must stand; the first thousand of them find most of what they find."""

    def run(path: Path, make: Make, read: Callable[[], Any], *, share: int = 1, strict: bool = True) -> None:
        num_inputs = max(500, request.param // share)
        source = random.Random(0)
        num_accepted = 0
        messages = set()
        for index in range(num_inputs):
            content = make(source)
            path.write_bytes(content)
            try:
                read()
                num_accepted += 1
            except (UserError, WeightsError) as error:
                messages.add(one_line_of(error, strict=strict))
            except BaseException as error:
                raise AssertionError(f"input {index}, {content[:1_000]!r}, ended in {error!r}") from error
        assert num_accepted > num_inputs // 1_000, "hardly any input was accepted"
        assert len(messages) > 5, messages

    return run


# Readers


def test_an_idx_file_is_read_or_refused(folder: Path, fuzz: Fuzz):
    header = struct.pack(">I3I", 0x0803, 6, 4, 4)
    path = folder / "images.gz"

    def make(source: random.Random) -> bytes:
        match source.randrange(3):
            case 0:
                dimensions = [source.choice((*LARGE_INTEGERS[:8], 4, 6)) for _ in range(source.randrange(5))]
                lying = struct.pack(f">HBB{len(dimensions)}I", 0, 8, len(dimensions), *dimensions)
                return gzip.compress(lying + bytes(source.choice((0, 16, 96))), 1, mtime=0)
            case 1:
                return gzip.compress(damaged(source, header + bytes(96)), 1, mtime=0)
            case _:
                return damaged(source, gzip.compress(header + source.randbytes(96), 1, mtime=0))

    fuzz(path, make, lambda: read_idx(path))


HOSTILE_TENSORS: tuple[dict[str, Any], ...] = (
    {"dtype": "BF16", "shape": [2, 6]},
    {"dtype": "F8_E4M3", "shape": [24]},
    {"dtype": "F4", "shape": [48]},
    {"dtype": "BOOL", "shape": [24]},
    {"dtype": "X"},
    {"shape": [2**60]},
    {"shape": [2**32, 2**32, 0]},
    {"shape": [-1]},
    {"data_offsets": [0, 2**63]},
    {"data_offsets": [24, 0]},
    {},
)


def signed(content: bytes) -> bytes:
    """A checkpoint whose checksum is right, if it has room for one: anyone can calculate it."""
    return content.replace(b"0" * 64, hashlib.sha256(content).hexdigest().encode(), 1)


def test_a_checkpoint_is_read_or_refused(folder: Path, fuzz: Fuzz):
    config = TrainConfig(preset="smoke", latent_dim=1)
    architecture = build_architecture(config, width=1)
    weights = initial_weights(config, architecture)
    average = {name: array for name, array in weights.items() if is_averaged(name)}
    path = save_checkpoint(folder, weights, average, step=0, header={"config": to_dict(config), "epoch": 0})
    valid = path.read_bytes()
    length = int.from_bytes(valid[:8], "little")
    outer, tensors = json.loads(valid[8 : 8 + length]), valid[8 + length :]
    (key,) = outer["__metadata__"]
    inner = {**json.loads(outer["__metadata__"][key]), "sha256": "0" * 64}

    def make(source: random.Random) -> bytes:
        kind = source.randrange(4)
        if kind == 0:
            return damaged(source, valid) if source.random() < 0.9 else valid
        text = json.dumps(inner) if kind != 1 else damaged_json(source, inner).decode("utf-8", "replace")
        header = {**outer, "__metadata__": {key: text}}
        if kind == 2:
            name = source.choice([name for name in outer if name != "__metadata__"])
            header[name] = {**outer[name], **source.choice(HOSTILE_TENSORS)}
        packed = json.dumps(header).encode() if kind != 3 else damaged_json(source, header)
        claimed = len(packed) if source.random() < 0.95 else source.choice(LARGE_INTEGERS)
        return signed(claimed.to_bytes(8, "little") + packed + tensors)

    def read() -> None:
        origin = find_origin(path)
        check_same_config(config, origin)
        begun = start_of(origin, config, architecture, steps_per_epoch=3)[0]
        assert begun.step == 0
        assert begun.average is not None
        assert begun.average.keys() == average.keys()

    fuzz(path, make, read, strict=False)


def test_a_config_is_read_or_refused(folder: Path, fuzz: Fuzz):
    path = folder / "config.json"
    fuzz(path, lambda source: damaged_json(source, to_dict(TrainConfig())), lambda: TrainConfig.from_json(path))


def test_a_config_without_a_field_is_refused_by_the_name_of_it(tmp_path: Path):
    fields = to_dict(TrainConfig())
    del fields["beta1"]
    write_json(tmp_path / "config.json", fields)
    with pytest.raises(UserError, match="beta1 is missing"):
        TrainConfig.from_json(tmp_path / "config.json")


def test_the_losses_of_a_run_are_read_or_refused(folder: Path, fuzz: Fuzz):
    write_run(folder / "torch", "torch", epochs=1, steps_per_epoch=60)
    path = folder / "torch" / "losses.csv"
    valid = b"".join(path.read_bytes().splitlines(keepends=True)[:8])
    cells = ("", "nan", "inf", "-inf", "1e308", "9" * 5_000, "1" * 140_000, '"', '"a\nb"', "\0", "٣", "1_0", "x", "1,2")

    def make(source: random.Random) -> bytes:
        if source.random() < 0.5:
            return damaged(source, valid)
        rows = [line.split(",") for line in valid.decode().splitlines()]
        for _ in range(source.choice((1, 1, 3))):
            row = source.choice(rows) if rows else []
            match source.randrange(6):
                case 0:
                    rows.insert(source.randrange(len(rows) + 1), list(row))
                case 1:
                    rows.remove(row) if row in rows else rows.append([])
                case 2:
                    row.append("1")
                case _:
                    row[source.randrange(len(row) or 1) :][:1] = [source.choice(cells)]
                    if row:
                        row[source.randrange(len(row))] = source.choice(cells)
        return source.choice(("\n", "\n", "\r\n", "\r")).join(map(",".join, rows)).encode()

    def read() -> None:
        columns = read_run(folder / "torch", "torch")
        assert columns is not None
        assert len({len(column) for column in columns.losses.values()}) <= 1

    fuzz(path, make, lambda: guarded_losses(path))
    path.write_bytes(valid)
    fuzz(path, make, read, share=20)


def guarded_losses(path: Path) -> None:
    """`read_losses` as `read_run` calls it, which makes a UserError of a ValueError."""
    try:
        losses = read_losses(path)
    except ValueError as error:
        raise UserError(one_line(error)) from None
    assert np.isfinite(losses.get("step", np.zeros(0))).all()


@pytest.mark.parametrize("name", ["environment", "timing", "metrics", "status", "config"])
def test_the_json_records_of_a_run_are_read_or_refused(name: str, folder: Path, fuzz: Fuzz):
    write_run(folder / "torch", "torch", epochs=1, steps_per_epoch=60)
    for other in ("losses.csv", "epochs.csv", "progress.npz"):
        (folder / "torch" / other).unlink()
    path = folder / "torch" / f"{name}.json"
    valid = json.loads(path.read_text())
    fuzz(path, lambda source: damaged_json(source, valid), lambda: read_run(folder / "torch", "torch"),
         share=1 if name == "timing" else 4)  # fmt: skip


def test_the_sample_grids_of_a_run_are_read_or_refused(folder: Path, fuzz: Fuzz):
    arrays = {"epochs": np.arange(2), "images": np.zeros((2, 64, 2, 2), np.uint8)}
    path = folder / "progress.npz"

    def read() -> None:
        try:
            progress = read_progress(path)
        except ValueError as error:
            raise UserError(one_line(error)) from None
        assert len(progress.epochs) == len(progress.images)

    fuzz(path, lambda source: damaged_npz(source, arrays), read)


def test_samples_are_read_or_refused(folder: Path, fuzz: Fuzz):
    arrays = {"images": np.zeros((1_000, 8, 8), np.uint8)}
    path = folder / "samples.npz"
    fuzz(path, lambda source: damaged_npz(source, arrays), lambda: read_samples(path))


def test_the_samples_that_an_evaluation_names_are_read_or_refused(folder: Path, fuzz: Fuzz):
    arrays = {"images": np.zeros((5, 2, 2), np.uint8)}
    path = folder / "samples.npz"
    evaluation = {"class_examples": [[0, 2], *[[]] * 9], "nearest_neighbours": [{"sample": 3}]}

    def read() -> None:
        try:
            shown = read_shown_samples(path, evaluation)
        except ValueError as error:
            raise UserError(one_line(error)) from None
        assert set(shown) == {0, 2, 3}

    fuzz(path, lambda source: damaged_npz(source, arrays), read)


def test_a_certificate_is_read_or_refused(folder: Path, fuzz: Fuzz):
    write_comparison(folder, epochs=1, steps_per_epoch=60)
    write_certificate(folder)
    runs = {name: run for name in ("torch", "jax") if (run := read_run(folder / name, name)) is not None}
    path = folder / "parity.json"
    valid = json.loads(path.read_text())
    fuzz(path, lambda source: damaged_json(source, valid), lambda: parity_of(folder, runs))


# Regression cases


def refusal(read: Callable[[], Any]) -> str:
    """What the reader says of the input."""
    with pytest.raises(UserError) as info:
        read()
    return one_line_of(info.value)


@pytest.mark.parametrize(
    "name",
    ["../../etc", "/etc", "os.path:join", "os.path:join/1.0.0", "huggingface:mnist", "gs://x/y", "a\0b", "", "x" * 999],
)
def test_a_dataset_in_a_config_is_a_name_and_neither_a_path_nor_a_module(name: str, tmp_path: Path):
    assert "TFDS knows no such dataset" in refusal(lambda: load_dataset(name, tmp_path))


def test_a_size_in_a_config_that_would_fill_the_memory_is_refused(tmp_path: Path):
    write_json(tmp_path / "config.json", {**to_dict(TrainConfig()), "image_size": 2**40})
    assert "image_size is" in refusal(lambda: TrainConfig.from_json(tmp_path / "config.json"))


def config_with(fields: dict[str, Any], raw: str = "") -> str:
    return json.dumps({**to_dict(TrainConfig()), **fields})[:-1] + raw + "}"


@pytest.mark.parametrize(
    "content",
    [
        "[" * 100_000,
        "[]",
        "{}",
        config_with({"line\nbreak": 1}),
        config_with({"preset": "\ud800"}),
        config_with({"seed": True}),
        config_with({"preset": []}),
        config_with({"variant": {}}),
        config_with({}, ', "beta1": NaN'),
        config_with({}, ', "beta1": 1e999'),
        config_with({}, f', "seed": {"9" * 5_000}'),
        config_with({}, f', "seed": {"[" * 100 + "]" * 100}'),
        "\ufeff{}",
    ],
    ids=lambda content: content[-20:],
)
def test_a_hostile_config_is_refused(content: str, tmp_path: Path):
    path = tmp_path / "config.json"
    path.write_text(content)
    assert "config.json" in refusal(lambda: TrainConfig.from_json(path))


@pytest.mark.parametrize("shape", [(0, 2**32 - 1, 2**32 - 1), (0,), (2**32 - 1, 2**32 - 1, 2**32 - 1)])
def test_an_idx_file_of_an_empty_or_impossible_shape_is_refused_or_empty(shape: tuple[int, ...], tmp_path: Path):
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)))
    if max(shape) == 0:
        assert read_idx(path).shape == shape
    else:
        assert "promises shape" in refusal(lambda: read_idx(path))


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


def test_a_status_without_a_run_is_checked_too(tmp_path: Path):
    write_run(tmp_path / "torch", "torch", epochs=1)
    (tmp_path / "jax").mkdir()
    write_json(tmp_path / "jax" / "status.json", {"status": "failed"})
    assert "message of status.json is" in refusal(lambda: write_report(tmp_path, real_digits(64)))


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
    assert "timing.json has chunks" in refusal(lambda: read_run(tmp_path / "torch", "torch"))


@pytest.mark.parametrize("number", [str(2**63), str(-(2**63) - 1), "9" * 5_000])
def test_an_integer_beyond_64_bits_is_refused_in_any_field(number: str):
    with pytest.raises(ValueError, match="too large for an integer"):
        parse_json(f'{{"anything": [{number}]}}'.encode())


# Bombs

LIMITED = """
import json, resource, sys
from pathlib import Path
from common.records.checkpoint import load_checkpoint
from common.config import TrainConfig
from common.data.datasets import read_idx
from common.errors import UserError
from common.evaluation import read_samples
from common.records.resumed import read_losses
from common.records.recorded_run import read_run

readers = {"idx": read_idx, "samples": read_samples, "checkpoint": load_checkpoint, "config": TrainConfig.from_json,
           "run": lambda path: read_run(path, "torch"), "resumed": lambda path: read_losses(path, last_step=5)}
in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (in_use + 300 * 2**20,) * 2)
for argument in sys.argv[1:]:
    kind, path = argument.split("=", 1)
    try:
        readers[kind](Path(path))
        print(argument, "was accepted")
    except UserError as error:
        print(argument, "was refused:", error)
"""


def zeros_stream(*, num_chunks: int) -> bytes:
    """A deflate stream of 16 MiB of zeros a chunk, made at once."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    chunk = compressor.compress(bytes(2**24)) + compressor.flush(zlib.Z_FULL_FLUSH)
    return chunk * num_chunks + b"\x03\0"


def forged_npz(path: Path, payload: bytes, *, method: int, claimed: int) -> None:
    """An archive with one member `images.npy`, whose method and size are lies."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("images.npy", payload)
    content = bytearray(path.read_bytes())
    central = content.rindex(b"PK\x01\x02")
    content[8:10] = content[central + 10 : central + 12] = method.to_bytes(2, "little")
    content[22:26] = content[central + 24 : central + 28] = claimed.to_bytes(4, "little")
    path.write_bytes(content)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the limit is set from Linux's count of pages")
def test_no_bomb_goes_off_in_300_mebibytes(tmp_path: Path):
    stream, lying = zeros_stream(num_chunks=200), npy(None, np.zeros((1, 8, 8), np.uint8))
    huge = lying.replace(b"(1, 8, 8), }" + b" " * 30, (b"(1000, %d, %d), }" % (2**26, 2**26)).ljust(42))
    assert len(huge) == len(lying)
    assert huge != lying
    checkpoint = struct.pack("<Q", 2**60) + b"{}"
    bombs: dict[str, bytes] = {
        "idx=claims.gz": gzip.compress(struct.pack(">HBB3I", 0, 8, 3, 2**20, 2**20, 2**20)),
        "idx=expands.gz": b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + stream + bytes(8),
        "checkpoint=claims.safetensors": checkpoint,
        "config=deep.json": b'{"a":' * 2_000_000,
        "config=large.json": b"[" + b"{}," * 2**23,
    }
    for argument, content in bombs.items():
        (tmp_path / argument.split("=")[1]).write_bytes(content)
    forged_npz(tmp_path / "claims.npz", huge, method=zipfile.ZIP_STORED, claimed=len(huge))
    forged_npz(tmp_path / "expands.npz", stream, method=zipfile.ZIP_DEFLATED, claimed=2**32 - 2)
    forged_npz(tmp_path / "hides.npz", stream, method=zipfile.ZIP_DEFLATED, claimed=len(lying))
    with zipfile.ZipFile(tmp_path / "bzip2.npz", "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("images.npy", bytes(2**26))
    (tmp_path / "endless.json").symlink_to("/dev/zero")
    write_run(tmp_path / "run", "torch", epochs=1)
    (tmp_path / "run" / "timing.json").write_bytes(b'{"a": ' + b"1" * 2**25)
    write_run(tmp_path / "sparse", "torch", epochs=1)
    with (tmp_path / "sparse" / "losses.csv").open("wb") as file:
        file.truncate(2**40)  # sparse
    arguments = [*bombs, *(f"samples={name}.npz" for name in ("claims", "expands", "hides", "bzip2"))]
    lines = limited([*arguments, "config=endless.json", "run=run", "run=sparse"], tmp_path)
    assert len(lines) == len(arguments) + 3
    assert [line for line in lines if "was refused" not in line] == []
    reasons = ("promises shape", "expands to more", "checkpoint", "nested too deeply", "larger than", "claims shape",
               "claims 4,294,967,294 bytes", "Bad CRC-32", "NumPy does not write",
               "not a regular file", "larger than", "larger than")  # fmt: skip
    for line, reason in zip(lines, reasons, strict=True):
        assert reason in line, line


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="there is no endless device")
def test_an_endless_checkpoint_is_refused(tmp_path: Path):
    (tmp_path / "step_1.safetensors").symlink_to("/dev/zero")
    assert "was refused" in limited(["checkpoint=step_1.safetensors"], tmp_path)[0]


CHECKPOINT_BOMBS = {
    "sums": (2**30 - 2**12, 2**30 - 2**12, "checksum does not match"),
    "cut": (2**30 - 2**12, 2**28, "promises 1073737728 bytes of tensors, there are 268435456"),
    "longer": (2**28, 2**30 - 2**12, "promises 268435456 bytes of tensors"),
    "large": (3 * 2**30, 3 * 2**30, "larger than the 1,073,741,824 bytes"),
}


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the limit is set from Linux's count of pages")
def test_a_checkpoint_that_claims_much_is_refused_in_300_mebibytes(tmp_path: Path):
    inner = json.dumps({"format_version": 2, "sha256": "0" * 64, "step": 1, "epoch": 0})
    for name, (claimed, size, _) in CHECKPOINT_BOMBS.items():
        tensor = {"dtype": "U8", "shape": [claimed], "data_offsets": [0, claimed]}
        header = json.dumps({"__metadata__": {"checkpoint": inner}, "x": tensor}).encode()
        with (tmp_path / f"{name}.safetensors").open("wb") as file:
            file.write(len(header).to_bytes(8, "little") + header)
            file.truncate(8 + len(header) + size)  # sparse
    text = b'{"a":[' + b"{}," * 2**23 + b"{}]}"
    (tmp_path / "header.safetensors").write_bytes(len(text).to_bytes(8, "little") + text)
    lines = limited([f"checkpoint={name}.safetensors" for name in (*CHECKPOINT_BOMBS, "header")], tmp_path)
    reasons = [*(reason for _, _, reason in CHECKPOINT_BOMBS.values()), "truncated, or no safetensors file"]
    for line, reason in zip(lines, reasons, strict=True):
        assert reason in line, line


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the limit is set from Linux's count of pages")
def test_losses_beyond_the_resumed_step_take_no_memory(tmp_path: Path):
    header = "step,epoch,discriminator_loss,generator_loss,real_score,fake_score"
    rows = "".join(f"{step},1,0.1,0.2,0.3,0.4\n" for step in range(1, 6))
    (tmp_path / "long.csv").write_text(f"{header}\n{rows}" + "6,1,0.1,0.2,0.3,0.4\n" * 1_000_000)
    with (tmp_path / "sparse.csv").open("w") as file:
        file.write(f"{header}\n1,1,")
        file.truncate(2**30)
    first, second = limited(["resumed=long.csv", "resumed=sparse.csv"], tmp_path)
    assert first == "resumed=long.csv was accepted"
    assert "a line of it is too long" in second


def limited(arguments: list[str], folder: Path) -> list[str]:
    """What each reader says where there are 300 MiB and no more."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.run(
        [sys.executable, "-c", LIMITED, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-2_000:]
    assert process.stderr == ""
    return process.stdout.splitlines()


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
    monkeypatch.setattr("comparison.report.write.draw_figures", lambda runs, real_images: {})


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
def test_a_report_of_a_hostile_run_is_written_or_refused(folder: Path):
    write_comparison(folder, epochs=1, steps_per_epoch=60)
    write_certificate(folder)
    names = [f"torch/{name}.json" for name in ("config", "environment", "status", "timing", "metrics")] + [
        "parity.json"
    ]
    valid = {name: (folder / name).read_bytes() for name in names}
    digits, console = real_digits(64), Console(file=io.StringIO(), width=100)
    source = random.Random(0)
    outcomes = {True: 0, False: 0}
    for index in range(400):
        name = names[index % len(names)]
        content = damaged_json(source, json.loads(valid[name]), num_raw=0)
        (folder / name).write_bytes(content)
        if name == "torch/config.json":
            (folder / "jax/config.json").write_bytes(content)  # or the two would be incomparable
        try:
            print_summary(write_report(folder, digits), console)
            outcomes[True] += 1
            assert "<script" not in (folder / "report.html").read_text()
        except UserError as error:
            one_line_of(error)
            outcomes[False] += 1
        except Exception as error:
            raise AssertionError(f"{name} with {content[:2_000]!r} ended in {error!r}") from error
        (folder / name).write_bytes(valid[name])
        (folder / "jax/config.json").write_bytes(valid["torch/config.json"])
    assert min(outcomes.values()) > 50


@pytest.mark.parametrize("cell", ["nan", "inf", "-1e308", "0"])
def test_figures_are_drawn_of_losses_of_any_size(cell: str, tmp_path: Path):
    write_comparison(tmp_path, epochs=1, steps_per_epoch=60)
    for framework in ("torch", "jax"):
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
        path = tmp_path / framework / "losses.csv"
        header = path.read_text().splitlines()[0]
        path.write_text(f"{header}\n1,1,nan,nan,nan,nan\n2,1,nan,nan,0.5,0.5\n")
    write_report(tmp_path, real_digits(64))
    assert (tmp_path / "report.html").exists()


def test_figures_are_drawn_of_the_largest_numbers_the_reader_lets_through(tmp_path: Path):
    write_comparison(tmp_path, epochs=1, steps_per_epoch=60)
    path = tmp_path / "torch" / "timing.json"
    chunks = [{"step": 10**15, "num_steps": 1e-15, "seconds": 1e15}] * 3
    speed = {"median": 1e15, "low": 1e-15, "high": 1e15}
    write_json(path, {**json.loads(path.read_text()), "chunks": chunks, "steady_images_per_second": speed})
    path = tmp_path / "torch" / "metrics.json"
    metrics = json.loads(path.read_text())
    metrics["class_histogram"]["generated"] = [10**15] + [0] * 9
    metrics["metrics"]["frechet_distance"] |= {"value": -1e15, "spread": 1e15, "floor": 5e-324, "floor_low": -1e15}
    for pair, distances in zip(metrics["nearest_neighbours"], [(1e15, 0), (1e15, 5e-324), (0, 0)], strict=False):
        pair |= dict(zip(("distance", "own_distance"), distances, strict=True))
    write_json(path, metrics)
    np.savez(tmp_path / "torch" / "samples.npz", images=np.zeros((NUM_SAMPLES, 1, 1), np.uint8))
    np.savez(tmp_path / "torch" / "progress.npz", epochs=np.arange(1), images=np.zeros((1, 64, 1, 1), np.uint8))
    write_report(tmp_path, real_digits(64))
    assert (tmp_path / "figures" / "step_time.png").exists()
