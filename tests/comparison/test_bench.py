"""The benchmark's arithmetic on timings that are made up, and its counts against PyTorch's own."""

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import psutil
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import comparison.bench.neighbours
import comparison.bench.options
from common.config import TrainConfig, to_dict
from common.contract import StepMetrics
from common.errors import UserError
from common.records.schema import BenchPhases
from comparison.bench import verdicts
from comparison.bench.certificates import ArmCertificate
from comparison.bench.flops import flops_per_step, forward_flops
from comparison.bench.neighbours import beside_neighbours, neighbours
from comparison.bench.options import parse_arms, parse_batch_sizes
from comparison.bench.schedule import repeat, turns
from comparison.bench.statistics import Interval, break_even_step, is_itself, ratio
from comparison.commands.dispatch import run_command
from comparison.parity.arms import FORMS
from comparison.report.bench_tables import arm_rows, certificate_rows, neighbour_rows, ratio_rows
from comparison.report.bench_words import headlines, notices, write_report
from comparison.report.write import write_report as write_comparison_report
from comparison.train_by_epoch import first_chunk_extra, train_epochwise
from tests import counting
from tests.synthetic_runs import real_digits, write_comparison, write_run
from tests.trainers import DISTINCT_PRESETS, build, chunk_of, small_architecture, small_config
from torch_impl.layers import select
from torch_impl.model import Discriminator, Generator

ROOFS = {"float32": 200.0, "bfloat16": 800.0}


Steps = Mapping[str, Sequence[float | None]]
STEPS: dict[str, list[float]] = {name: [1.4, 1.3] for name in StepMetrics._fields}


def record(seconds: float, *, steps: Steps = STEPS, first: float = 5.0) -> dict:
    """What a measuring process writes, for steps of so many seconds."""
    return {
        "block_seconds_per_step": [seconds, 0.99 * seconds, 1.3 * seconds],
        "first_steps": steps,
        "steps_per_block": 2,
        "import_seconds": 2.0,
        "data_loading_seconds": 0.3,
        "build_seconds": 0.5,
        "compile_seconds": 4.0,
        "first_block_seconds": first,
        "warm_up_seconds": 1.0,
        "data_seconds_per_step": 0.001,
        "generate_seconds_per_image": 0.0005,
        "peak_memory_bytes": 10**9,
        "device": "cpu",
    }


def made_up(**step_seconds: list[float]) -> dict[str, list[dict]]:
    return {
        name.replace("_", "-"): [record(seconds) for seconds in repetitions]
        for name, repetitions in step_seconds.items()
    }


def made_up_epoch(number: int) -> dict[str, Any]:
    distance = 5.0 / number
    return {"epoch": number, "training_seconds": 10.0, "frechet_distance": distance, "kid": 0.1, "mnist_score": 8.0}


def certified(*names: str, **changes: Any) -> dict[str, ArmCertificate]:
    """One certificate an arm, which the made-up records take the first steps of."""
    return {
        arm.name: ArmCertificate(
            arm.kind,
            True,
            f"{arm.name} is certified",
            rungs=[{"name": "step 1", "precision": arm.precision, "measured": 1.5, "tolerance": 2.0}],
            first_steps={"tolerances": [1e-5, 1e-3], "metrics": {arm.name: STEPS}},
            taken_by=arm.name,
        )._replace(**changes)
        for arm in parse_arms(",".join(names), precision="float32")
    }


LADDER = verdicts.Certificate(True, "certified by the ladder")
QUIET = {"arm": "torch", "ratio": 1.0, "low": 0.98, "high": 1.03, "holds": True}
DRIFTING = {"arm": "torch", "ratio": 1.1, "low": 1.05, "high": 1.2, "holds": False}


def made_up_result(measured: dict[str, list[dict]], *, control: dict = QUIET) -> dict:
    """As `measure` puts it together."""
    arms = {arm.name: arm for arm in parse_arms(",".join(measured), precision="float32")}
    arm_results = {
        name: verdicts.arm_result(arms[name], records, flops=10**10, batch_size=64, roofs=ROOFS)
        for name, records in measured.items()
    }
    roof = {"torch": {"float32": {"512": 200.0}, "bfloat16": {"512": 800.0}}}
    packages = dict.fromkeys(("torch", "jax", "jaxlib", "flax"), "1.0")
    return {
        "config": to_dict(TrainConfig(preset="smoke", batch_size=64)),
        "num_parameters": {"generator": 1, "discriminator": 1},
        "num_images": 60_000,
        "num_transposed_convolutions": 3,
        "protocol": {
            "command": ["python", "compare.py", "bench"],
            "started_at": "2026-01-01T00:00:00+00:00",
            "repetitions": 5,
            "num_warm_up_blocks": 2,
            "steps_per_block": 16,
            "num_blocks": 3,
            "quality_epochs": 2,
        },
        "flops_per_step": 10**10,
        "machine": {
            "num_threads": 2,
            "packages": packages,
            "cpu_flags": ["avx512f"],
            "num_cpus": 2,
            "memory_bytes": 10**10,
            "python": "3.11",
            "platform": "Linux",
            "source_hashes": {"torch": "0", "jax": "1"},
            "environment_variables": {"OMP_NUM_THREADS": "2"},
            "device_flags": {"torch": {"flush_denormal": True}, "jax": {"tuned_cpu_compiler_options": ""}},
            "devices": {"torch": "cpu", "jax": "cpu"},
        },
        "roof": verdicts.roof_result(roof, roof),
        "control": control,
        "parity": {"holds": True, "reason": LADDER.reason},
        "arms": arm_results,
        **verdicts.verdicts(measured, certified(*measured), control),
        "batch_sizes": [
            {
                "batch_size": size,
                "arm": "torch",
                "milliseconds_per_step": {"median": size / 2, "low": size / 3, "high": size},
                "images_per_second": 2e3,
            }
            for size in (32, 64)
        ],
        "quality": [
            {
                "arm": "torch",
                "batch_size": size,
                "first_chunk_extra_seconds": 1.0,
                "floor": 0.1,
                "epochs": [made_up_epoch(n) for n in (1, 2)],
            }
            for size in (32, 64)
        ],
        "compilation": {
            "jax": {
                f"{cache}_{name}": value
                for cache in verdicts.CACHES
                for name, value in (
                    ("compile_seconds", 4.0),
                    ("first_block_extra_seconds", 5.0),
                    ("milliseconds_per_step", 250.0),
                )
            }
        }
        if "jax" in measured
        else {},
        "failed": [],
    }


@pytest.mark.parametrize("changed", ["source_hash", "packages", "package_hashes"])
def test_what_changed_while_it_was_measured_is_not_certified(changed):
    environment = {"source_hash": "0", "packages": {"jax": "0.10.2"}, "package_hashes": {"jax": "41d0"}}
    unchanged = [{"environment": dict(environment)} for _ in range(2)]
    assert verdicts.what_changed({"torch": environment}, {"torch": unchanged}) is None
    edited = [*unchanged, {"environment": environment | {changed: "another"}}]
    measured = {"torch": unchanged, "jax": edited}
    found = verdicts.what_changed(dict.fromkeys(("torch", "jax"), environment), measured)
    assert "while jax was measured" in (found or "")


@pytest.mark.parametrize(
    ("column", "step", "change", "reason"),
    [
        ("generator_loss", 0, 1e-4, "the generator loss of step 1 is 7.1e-05 off, and rounding explains 1.0e-05"),
        ("generator_loss", 1, 1e-4, None),
        ("fake_score", 1, 0.01, "the fake score of step 2 is 7.7e-03 off"),
    ],
)
def test_a_timed_process_must_take_the_first_steps_that_were_certified(column, step, change, reason):
    steps = {name: list(values) for name, values in STEPS.items()}
    steps[column][step] += change
    measured = {"torch": [record(0.1)], "jax": [record(0.1), record(0.1, steps=steps)]}
    refused = verdicts.refusals(certified("torch", "jax"), measured)
    assert refused.keys() == ({"jax"} if reason else set())
    assert (reason or "") in refused.get("jax", "")
    none = certified("torch", first_steps=None)
    assert "has no first steps" in verdicts.refusals(none, {"torch": [record(0.1)]})["torch"]


def test_arms_take_turns_and_lead_in_turn():
    places = ["".join(item for number, item in turns("abc", 6) if number == repetition) for repetition in range(6)]
    assert places == ["abc", "cba", "bca", "acb", "cab", "bac"]
    assert [item for _, item in turns("ab", 4)] == list("abbabaab")


def test_an_arm_that_stands_twice_keeps_its_repetitions_apart():
    (arm,) = parse_arms("torch", precision="float32")
    clock = iter(range(1, 7))
    first, second = repeat([arm, arm], 3, lambda arm: record(next(clock)), lambda text: None)
    assert [found["block_seconds_per_step"][0] for found in first] == [1, 4, 6]
    assert [found["block_seconds_per_step"][0] for found in second] == [2, 3, 5]


def test_a_neighbour_computes_without_end_until_it_is_no_longer_wanted():
    with neighbours(1):
        [program] = [child for child in psutil.Process().children() if "while True" in " ".join(child.cmdline())]
        assert os.getsid(program.pid) == program.pid, "a session of its own"
        before = sum(program.cpu_times()[:2])
        while sum(program.cpu_times()[:2]) < before + 0.05:
            time.sleep(0.01)
    assert not program.is_running()


def test_each_form_is_timed_beside_every_number_of_neighbours_and_the_table_has_a_row_for_each(monkeypatch):
    beside: list[int] = []

    @contextmanager
    def counted(count: int) -> Iterator[None]:
        beside.append(count)
        yield

    monkeypatch.setattr(comparison.bench.neighbours, "neighbours", counted)
    arms = parse_arms("torch,jax,torch-idiomatic", precision="float32")
    bench = SimpleNamespace(
        options=SimpleNamespace(neighbours=2, repetitions=3, config=small_config()),
        step=lambda arm, config: record(0.1 * (1 + beside[-1])),
        say=lambda text: None,
    )
    found = beside_neighbours(arms, cast(Any, bench))
    assert sorted(beside) == [count for count in range(3) for _ in range(6)]
    assert [(each["arm"], each["num_neighbours"]) for each in found] == [
        (a, n) for a in ("torch", "jax") for n in range(3)
    ]
    assert [each["slowdown"]["median"] for each in found] == pytest.approx([1, 2, 3] * 2)
    titles = {arm.name: {"title": arm.title} for arm in arms}
    rows = neighbour_rows({"neighbours": found, "arms": titles})
    assert rows[2] == ("1", "PyTorch, tuned", "200 (200 to 200)", "2.00 (2.00 to 2.00)")
    assert neighbour_rows({"arms": titles}) == rows[:1], "of a benchmark of before there were any"


def test_what_neighbours_cost_is_relative_to_the_same_repetition_alone():
    drift = [0.1, 0.2, 0.4]
    found = verdicts.slowdown([record(2 * s) for s in drift], alone=[record(s) for s in drift])
    assert found["slowdown"] == pytest.approx({"median": 2, "low": 2, "high": 2})
    assert found["milliseconds_per_step"]["median"] == pytest.approx(400)


def test_a_ratio_is_taken_within_a_repetition_so_that_drift_cancels():
    drift = np.linspace(1, 3, 9)
    found = ratio(list(1.5 * drift), list(drift))
    assert found.median == pytest.approx(1.5)
    assert found.high - found.low < 1e-12


@pytest.mark.parametrize(("num_repetitions", "expected"), [(5, 0.94), (6, 0.95), (12, 0.95)])
def test_an_interval_holds_the_true_ratio_as_often_as_it_says(num_repetitions, expected):
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        a, b = (value * np.exp(0.05 * rng.standard_normal(num_repetitions)) for value in (1.2, 1.0))
        found = ratio(list(a), list(b))
        held += found.low <= 1.2 <= found.high
    assert held / 300 == pytest.approx(expected, abs=0.035)


def test_the_control_holds_for_noise_and_fails_where_one_side_is_favoured():
    noise = np.random.default_rng(1).normal(1, 0.01, 5)
    assert verdicts.control_result([record(s) for s in noise], [record(s) for s in noise[::-1]])["holds"]
    assert not verdicts.control_result([record(s) for s in 1.1 * noise], [record(s) for s in noise])["holds"]
    assert not is_itself(ratio([1.02] * 5, [1.0] * 5))
    assert not is_itself(Interval(1.0, 0.8, 1.3)), "noise alone must not pass"


@pytest.mark.parametrize(
    ("extra_seconds", "step_seconds", "expected"),
    [
        ({"jax": 5.0, "torch": 0.0}, {"jax": 0.1, "torch": 0.2}, 50),
        ({"torch": 0.0, "jax": 5.0}, {"torch": 0.2, "jax": 0.2}, None),
        ({"jax": 5.0, "torch": 0.0}, {"jax": 0.3, "torch": 0.2}, None),
        ({"jax": 0.0, "torch": 0.0}, {"jax": 0.3, "torch": 0.2}, 0),
    ],
)
def test_compiling_is_repaid_when_the_saved_time_reaches_it(extra_seconds, step_seconds, expected):
    assert break_even_step(extra_seconds, step_seconds) == expected


def test_an_arm_s_result_is_what_its_times_say():
    (arm,) = parse_arms("jax", precision="float32")
    found = verdicts.arm_result(arm, [record(0.1)] * 3, flops=10**10, batch_size=64, roofs=ROOFS)
    assert found["milliseconds_per_step"]["median"] == pytest.approx(100)
    assert found["images_per_second"] == pytest.approx(640)
    assert found["fraction_of_roof"] == pytest.approx(0.5)
    assert found["first_block_extra_seconds"] == pytest.approx(5 - 2 * 0.1)
    assert found["compile_seconds"] == 4


def test_an_arm_without_a_certificate_gets_no_ratio_and_the_kind_of_the_others_stands_beside_theirs():
    measured = made_up(torch=[0.1] * 5, torch_bfloat16=[0.05] * 5, jax=[0.1] * 5)
    certificates = certified(*measured) | certified("jax", holds=False, reason="parity does not hold for jax")
    found = verdicts.verdicts(measured, certificates, QUIET)
    assert found["refused"] == {"jax": "parity does not hold for jax"}
    assert found["ratios"].keys() == {"torch/torch-bfloat16", "torch-bfloat16/torch"}
    assert found["break_even_steps"].keys() == {"torch/torch-bfloat16"}
    result = made_up_result(measured) | found
    (row,) = ratio_rows(result)[1:]
    assert row[3:] == ("envelope, ladder", "PyTorch, tuned, bfloat16: after 3 steps")
    rows = certificate_rows(result)
    assert rows[2] == ("PyTorch, tuned, bfloat16", "envelope", "1", "75 %", "step 1 (bfloat16)", "holds")
    assert rows[3][-1] == "**does not hold**: parity does not hold for jax"


def test_no_step_repays_a_start_while_it_is_not_known_who_is_faster():
    torch_seconds = [0.1, 0.1, 0.1, 0.1, 0.1]
    for jax_seconds, known in (([0.09, 0.09, 0.11, 0.09, 0.11], set()), ([0.08] * 5, {"jax/torch"})):
        found = verdicts.verdicts(made_up(torch=torch_seconds, jax=jax_seconds), certified("torch", "jax"), QUIET)
        assert found["break_even_steps"].keys() == known


@pytest.mark.parametrize(
    ("median", "step", "expected"),
    [
        (0.8, None, "JAX, tuned: from the start"),
        (1.25, None, "PyTorch, tuned: from the start"),
        (0.8, 0, "JAX, tuned: from the start"),
        (0.8, 1, "JAX, tuned: after 1 step"),
        (0.8, 1_200, "JAX, tuned: after 1,200 steps"),
    ],
)
def test_the_winner_is_named_and_from_where_on_it_is_ahead(median, step, expected):
    measured = made_up(torch=[0.1] * 5, jax=[0.08] * 5)
    result = made_up_result(measured) | verdicts.verdicts(measured, certified("torch", "jax"), QUIET)
    result["ratios"]["jax/torch"]["median"] = median
    result["break_even_steps"]["jax/torch"] = step
    (row,) = ratio_rows(result)[1:]
    assert row[-1] == expected


def test_a_loss_that_is_no_number_is_refused_and_can_be_written_down():
    steps = {**STEPS, "generator_loss": [1.4, None]}
    measured = {"torch": [record(0.1)], "jax": [record(0.1, steps=steps)]}
    found = verdicts.verdicts(measured, certified("torch", "jax"), QUIET)
    assert list(found["refused"]) == ["jax"]
    json.dumps(found, allow_nan=False)


def test_without_a_control_that_holds_there_is_no_verdict():
    measured = made_up(torch=[0.2] * 5, jax=[0.25] * 5)
    found = verdicts.verdicts(measured, certified("torch", "jax"), DRIFTING)
    assert found["ratios"] == found["break_even_steps"] == {}
    result = made_up_result(measured, control=DRIFTING)
    assert len(arm_rows(result)) == 3
    assert len(ratio_rows(result)) == 1
    assert any("no verdict" in sentence for sentence in notices(result))


@pytest.mark.parametrize("preset", DISTINCT_PRESETS)
def test_the_count_of_operations_is_pytorch_s_own(preset, digits):
    config = small_config(preset)
    architecture = small_architecture(config)
    form = select(small_config(variant="idiomatic"))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        Generator(architecture, form)(torch.zeros(1, config.latent_dim))
    assert counter.get_total_flops() == sum(forward_flops(architecture.generator, size=1))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        Discriminator(architecture, form)(torch.zeros(1, 1, config.image_size, config.image_size))
    assert counter.get_total_flops() == sum(forward_flops(architecture.discriminator, size=config.image_size))
    trainer = build("torch", config)
    chunk = chunk_of(config, num_steps=1)
    with FlopCounterMode(display=False) as counter:
        trainer.train_chunk(*chunk)
    assert counter.get_total_flops() == flops_per_step(architecture, config)


def test_arms_are_named_once_and_known():
    arms = parse_arms(",".join([*FORMS, "jax-bfloat16"]), precision="float32")
    assert [arm.precision for arm in arms] == ["float32"] * 5 + ["bfloat16"]
    assert arms[-1].config(TrainConfig()).precision == "bfloat16"
    assert arms[1].config(TrainConfig()).variant == "idiomatic"
    for names in ("torch,torch", "tensorflow", ","):
        with pytest.raises(UserError, match="--arms"):
            parse_arms(names, precision="float32")


@pytest.mark.parametrize(("text", "expected"), [("32,", [32]), (" 32 , 64", [32, 64]), ("", [])])
def test_batch_sizes_are_whole_numbers(text, expected):
    assert parse_batch_sizes(text) == expected


@pytest.mark.parametrize("text", ["0", "-1", "x", "1.5", "32,32"])
def test_a_batch_size_that_is_none_or_comes_twice_is_refused(text):
    with pytest.raises(UserError, match="--batch-sizes"):
        parse_batch_sizes(text)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--repetitions=4"], "at least 5"),
        (["--preset=smoke", "--batch-sizes=32,1024"], "batches of 1024 needs 16384 images, there are 2048"),
        (["--num-blocks=0"], "at least 1"),
        (["--arms=theano"], "unknown"),
        (["--arms=torch-bfloat16", "--batch-sizes=32"], "name one in --arms"),
        (["--preset=smoke", "--quality-epochs=1", "--batch-sizes=64"], "too short to tell"),
        (["--json=/nowhere/x.json"], "--json"),
    ],
)
def test_wrong_flags_are_found_before_anything_is_measured(flags, message):
    with pytest.raises(UserError, match=message):
        run_command(["bench", *flags])


def test_quality_over_time_is_of_digits_alone(monkeypatch):
    monkeypatch.setattr(comparison.bench.options, "load_dataset", counting.colours)
    with pytest.raises(UserError, match="only the digits of MNIST, not colours"):
        run_command(["bench", *counting.DATA_FLAGS, "--quality-epochs=1"])


def test_the_report_says_what_was_measured_and_draws_it(tmp_path):
    result = made_up_result(made_up(torch=[0.2, 0.21, 0.2], torch_idiomatic=[0.3, 0.31, 0.3], jax=[0.25, 0.26, 0.25]))
    write_report(tmp_path, result)
    page = (tmp_path / "speed.md").read_text()
    assert "| PyTorch, idiomatic | 300" in page
    assert "| PyTorch, tuned | PyTorch, idiomatic | 0.67" in page
    assert "torch against itself 1.00 (0.98 to 1.03)" in page
    assert "| 64 | PyTorch, tuned | 2 | 20 | 21 | 2.50 |" in page
    assert "real digits |  |  |  | 0.100 |" in page
    for name in ("speeds.svg", "phases.svg", "batch_sizes.svg", "quality.svg"):
        assert (tmp_path / "figures" / name).stat().st_size > 5000
        assert f"figures/{name}" in page
    json.dumps(result, allow_nan=False)


def test_the_headlines_say_what_each_framework_loses_as_it_is_taught_and_why():
    seconds = {"torch": [0.2] * 5, "torch_idiomatic": [0.3] * 5, "jax": [0.25] * 5, "jax_idiomatic": [2.5] * 5}
    torch_gap, jax_gap, between = headlines(made_up_result(made_up(**seconds)))
    assert "1.50 (1.50 to 1.50) times as long as a tuned one. What the tuned one gains by: memory layout" in torch_gap
    assert "10.00 (10.00 to 10.00) times as long as a tuned one. Most of it is one path of XLA" in jax_gap
    assert between.endswith("1.25 (1.25 to 1.25) times as long as PyTorch's")
    fully_connected = made_up_result(made_up(**seconds)) | {"num_transposed_convolutions": 0}
    assert not any("through" in sentence for sentence in headlines(fully_connected))
    assert headlines(made_up_result(made_up(**seconds), control=DRIFTING)) == []


def test_a_comparison_s_report_shows_the_benchmark_in_its_folder(tmp_path):
    folder = write_comparison(tmp_path / "comparison")
    result = made_up_result(made_up(torch=[0.2] * 5, jax=[0.25] * 5))
    result["arms"]["torch"]["title"] = "<b>PyTorch</b>"
    write_report(folder, result)
    write_comparison_report(folder, real_digits(64))
    for name in ("report.html", "report.md"):
        text = (folder / name).read_text()
        assert "A step, benchmarked" in text
        assert "Other source files were benchmarked than PyTorch was trained with" in text
        assert "Another preset" in text
        assert "1.25 (1.25 to 1.25) times as long" in text
        assert "&lt;b&gt;PyTorch" in text
    assert "figures/phases.svg" in (folder / "report.md").read_text()
    (folder / "bench.json").write_text('{"arms": []}')
    with pytest.raises(UserError, match=r"bench\.json is damaged"):
        write_comparison_report(folder, real_digits(64))


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_a_measuring_process_times_every_phase_and_writes_the_first_steps(framework, tmp_path):
    json_file = tmp_path / "measured.json"
    flags = ["measure", *counting.DATA_FLAGS, "--steps-per-block=3", "--num-blocks=2", f"--json={json_file}"]
    assert counting.run(framework, *flags) == 0
    found = json.loads(json_file.read_text())
    assert len(found["block_seconds_per_step"]) == 2
    assert found["first_steps"] == {name: [0.5] * 10 for name in StepMetrics._fields}
    assert all(found[name] >= 0 for name in BenchPhases.model_fields)
    assert counting.run(framework, "measure", "--roof", f"--json={tmp_path / 'roof.json'}") == 0
    assert json.loads((tmp_path / "roof.json").read_text())["roof"]["bfloat16"].keys() == {"512", "1024", "2048"}


def test_training_epoch_by_epoch_runs_every_epoch_in_the_same_place(tmp_path):
    commands = []

    def run(command: list[str]) -> None:
        commands.append(command)
        if len(commands) == 1:
            write_run(folder, "torch", epochs=1)
        else:
            (folder / "metrics.json").unlink()

    place = ["--threads=1", "--device=cpu"]
    folder = tmp_path / "torch"
    first, second = train_epochwise("torch", ["--preset=smoke"], folder, device_flags=place, num_epochs=2, run=run)
    assert all(set(place) < set(command) for command in commands)
    assert (first.quality["kid"], first.floor["kid"], second.quality) == (0.0184, 0.00021, {})
    trained = json.loads((folder / "timing.json").read_text())["training_seconds"]
    assert first.training_seconds == pytest.approx(trained - first.first_chunk_extra_seconds)


def test_the_first_chunks_extra_is_what_it_took_beyond_a_later_one():
    timing = {"chunks": [{"num_steps": 16, "seconds": 5.0}], "steady_images_per_second": {"median": 1024.0}}
    assert first_chunk_extra(timing, batch_size=64) == pytest.approx(4.0)
    assert first_chunk_extra(timing, batch_size=512) == 0


def test_a_measuring_process_needs_a_place_for_its_result(capsys):
    assert counting.run("torch", "measure") == 2
    assert "--json" in capsys.readouterr().err
