"""Run folders of a comparison that never ran: plausible records, real digits as samples, seeded."""

import csv
import gzip
import json
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from common.records.series import EPOCHS_HEADER

CONFIG: dict[str, Any] = {
    "preset": "dcgan32",
    "dataset": "mnist",
    "image_size": 32,
    "latent_dim": 100,
    "batch_size": 64,
    "epochs": 3,
    "seed": 0,
    "learning_rate_generator": 0.0002,
    "learning_rate_discriminator": 0.0002,
    "beta1": 0.5,
    "beta2": 0.999,
    "real_target": 1.0,
    "fake_target": 0.0,
    "generator_target": 1.0,
    "generator_updates": 1,
    "generator_latents": "reuse",
    "generator_average": 0.998,
    "initialization": "normal",
    "precision": "float32",
    "variant": "tuned",
    "train_size": 0,
}
PACKAGES = {
    "torch": {"torch": "2.14.1", "torchvision": "0.29.1", "numpy": "2.3.4"},
    "jax": {"jax": "0.10.2", "jaxlib": "0.10.2", "flax": "0.12.8", "optax": "0.2.6", "numpy": "2.3.4"},
}
NAMES = {"torch": "PyTorch", "jax": "JAX / Flax NNX"}
MILLISECONDS_PER_STEP = {"torch": 36.0, "jax": 42.0}
METRICS: dict[str, tuple[Any, ...]] = {  # value of torch, value of jax, spread, floor, lowest and highest floor
    "frechet_distance": (0.658, 0.671, 0.0041, 0.0562, 0.0531, 0.0598),
    "frechet_distance_infinite": (0.642, 0.655, 0.0043, 0.0213, 0.0185, 0.0239),
    "kid": (0.0184, 0.0191, 0.0004, 0.00021, -0.00003, 0.00047),
    "mnist_score": (8.041, 8.013, 0.032, 9.747, None, None),
    "precision": (0.8213, 0.8177, 0.0041, 0.9151, 0.9122, 0.9179),
    "recall": (0.6412, 0.6389, 0.0052, 0.9217, 0.9187, 0.9243),
    "density": (0.7034, 0.6951, 0.0061, 0.9046, 0.8981, 0.9102),
    "coverage": (0.6904, 0.6832, 0.0047, 0.9363, 0.9328, 0.9391),
    "class_kl": (0.0091, 0.0104, 0.0007, 0.0012, 0.0005, 0.0019),
    "class_chi_square": (0.0182, 0.0209, 0.0013, 0.0024, 0.0011, 0.0038),
    "smallest_class": (0.0672, 0.0651, 0.0011, 0.0887, None, None),
    "num_missing_classes": (0, 0, 0, 0, None, None),
    "mean_confidence": (0.9412, 0.9398, 0.0012, 0.9921, None, None),
    "memorised_fraction": (0.0113, 0.0108, 0.0009, 0.0402, 0.0377, 0.0431),
    "duplicate_fraction": (0.0131, 0.0127, 0.0012, 0.0098, 0.0085, 0.0112),
    "copying_statistic": (6.31, 6.84, 0.92, 0.41, -1.12, 1.73),
    "pixel_frechet_distance": (1.482, 1.517, 0.021, 0.1213, 0.1168, 0.1252),
    "pixel_precision": (0.7416, 0.7388, 0.0046, 0.7829, 0.7781, 0.7866),
    "pixel_coverage": (0.7721, 0.7684, 0.0037, 0.9402, 0.9369, 0.9431),
    "path_length": (1183.0, 1207.0, 14.0, None, None, None),
}
PROTOCOL: dict[str, Any] = {
    "num_generated": 10_000,
    "num_real": 10_000,
    "num_draws": 5,
    "reference": "MNIST test digits",
    "floor": "six disjoint blocks of training digits in place of generated ones",
    "image_size": 32,
    "network_sha256": "3f" * 32,
    "num_features": 128,
    "k": 5,
    "kid": {"num_subsets": 100, "subset_size": 1000, "seed": 0},
    "batch_norm": "eval",
    "weights": "exponential average of the generator's",
    "checkpoint": "last",
    "comparable": True,
}
MNIST_SHA256 = "7af64798b60e1d359cb5cf0ef7d2e1f7e80854d6a103f18bc643a2efaffc4e63"  # of 60,000 digits at 32 px
OLD_PROTOCOL = ("num_generated", "num_real", "network_sha256", "comparable")
NUM_SAMPLES = 200


def real_digits(num_images: int) -> np.ndarray:
    """The first MNIST test digits, uint8 (num_images, 28, 28)."""
    packed = resources.files("common.data").joinpath("mnist/t10k-images-idx3-ubyte.gz").read_bytes()
    return np.frombuffer(gzip.decompress(packed), np.uint8, offset=16).reshape(-1, 28, 28)[:num_images]


def write_comparison(folder: Path, *, steps_per_epoch: int = 40, **config_changes: Any) -> Path:
    """Two finished runs of equal config, without a parity certificate; returns the folder."""
    for framework in NAMES:
        write_run(folder / framework, framework, steps_per_epoch=steps_per_epoch, **config_changes)
    return folder


def write_run(folder: Path, framework: str, *, steps_per_epoch: int = 40, **config_changes: Any) -> None:
    """The two frameworks' losses differ by 1e-7 at step 1, and by a factor of e more every 5 steps."""
    folder.mkdir(parents=True)
    config = {**CONFIG, **config_changes}
    num_steps = config["epochs"] * steps_per_epoch
    write_json(folder / "config.json", config)
    write_json(folder / "environment.json", _environment(framework, num_train=steps_per_epoch * config["batch_size"]))
    write_json(folder / "status.json", _status(num_steps, config["epochs"]))
    write_json(folder / "metrics.json", metrics(framework))
    np.savez_compressed(folder / "samples.npz", images=np.pad(real_digits(NUM_SAMPLES), ((0, 0), (2, 2), (2, 2))))
    losses = _losses(framework, num_steps)
    write_losses(folder / "losses.csv", losses, steps_per_epoch)
    _write_epochs(folder / "epochs.csv", losses, config, steps_per_epoch)
    _write_timing(folder, framework, config, steps_per_epoch)
    _write_progress(folder, framework, config["epochs"])


def write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2))


def write_losses(path: Path, columns: dict[str, np.ndarray], steps_per_epoch: int) -> None:
    steps = np.arange(1, len(columns["discriminator_loss"]) + 1)
    rows = zip(steps, (steps - 1) // steps_per_epoch + 1, *columns.values(), strict=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["step", "epoch", *columns], *rows])


def _losses(framework: str, num_steps: int) -> dict[str, np.ndarray]:
    shared, own = np.random.default_rng(0), np.random.default_rng(1 if framework == "torch" else 2)
    steps = np.arange(num_steps)
    apart = 1e-7 * np.exp(np.minimum(steps / 5, np.log(3e6)))  # grows until the runs have nothing in common
    columns = {}
    for name, start, end, noise in (
        ("discriminator_loss", 1.38, 0.75, 0.12),
        ("generator_loss", 0.8, 1.9, 0.25),
        ("real_score", 0.5, 0.78, 0.06),
        ("fake_score", 0.5, 0.24, 0.06),
    ):
        trend = end + (start - end) * np.exp(-steps / 600)
        settled = 1 - np.exp(-(steps + 1) / 30)
        same = shared.normal(size=num_steps) * noise * settled
        columns[name] = (trend + same) * (1 + apart * own.normal(size=num_steps))
    columns["real_score"] = np.clip(columns["real_score"], 0, 1)
    columns["fake_score"] = np.clip(columns["fake_score"], 0, 1)
    return columns


def _environment(framework: str, *, num_train: int) -> dict[str, Any]:
    flags = {"flush_denormal": True} if framework == "torch" else {"tuned_cpu_compiler_options": ""}
    return {
        "framework": framework,
        "framework_name": NAMES[framework],
        "python": "3.11.7",
        "platform": "Linux-6.1.0-x86_64-with-glibc2.36",
        "packages": PACKAGES[framework],
        "package_hashes": {"numpy": "9c1e", framework: "41d0"},
        "source_hash": "5f2c",
        "resumed_from": None,
        "resumed_at_step": 0,
        "resumed_in_place": False,
        "past": [],
        "dataset": {
            "name": "mnist",
            "data_dir": None,
            "sha256": MNIST_SHA256,
            "num_train": num_train,
            "num_test": 10_000,
            "channels": 1,
        },
        "device": "cpu",
        "num_threads": 2,
        "num_cpus": 2,
        "memory_bytes": 8_320_000_000,
        "cpu_model": "AMD EPYC",
        "cpu_flags": ["avx2", "avx512f", "amx_bf16"],
        "device_flags": flags,
        "execution": "step",
        "accelerator": {},
        "environment_variables": {"OMP_NUM_THREADS": "2"},
        "command": [
            "python",
            "-m",
            f"{framework}_impl",
            "--epochs",
            "10",
            "--output",
            f"runs/latest/{framework}",
        ],
        "num_parameters": {"generator": 780_000, "discriminator": 166_000},
        "started_at": "2026-01-05T10:00:00+00:00",
    }


def _status(step: int, epoch: int) -> dict[str, Any]:
    return {"status": "finished", "message": "", "step": step, "epoch": epoch}


def metrics(framework: str) -> dict[str, Any]:
    """metrics.json as the evaluator writes it; JAX has but three samples of the digit 8."""
    column = 0 if framework == "torch" else 1
    random = np.random.default_rng(column)
    fields = ("floor", "floor_low", "floor_high")
    scores = {
        name: {"value": m[column], "spread": m[2], **dict(zip(fields, m[3:], strict=True)), "standard_error": None}
        for name, m in METRICS.items()
    }
    scores["kid"]["standard_error"] = 0.0006
    labels = _test_labels(NUM_SAMPLES)
    shown = [3 if framework == "jax" and digit == 8 else 10 for digit in range(10)]
    return {
        "protocol": PROTOCOL,
        "metrics": scores,
        "class_histogram": {
            "generated": random.multinomial(10_000, [0.1] * 10).tolist(),
            "real": [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
        },
        "class_examples": [np.flatnonzero(labels == digit)[: shown[digit]].tolist() for digit in range(10)],
        "nearest_neighbours": [
            {"sample": index, "training_image": 6_000 * index, "distance": 2.1 + 0.2 * index, "own_distance": 3.0}
            for index in range(10)
        ],
        "discriminator_features": {
            "labels": [1000, 10_000],
            "accuracy": {
                "discriminator": [0.9321 - 0.002 * column, 0.9784],
                "untrained discriminator": [0.8932, 0.9587],
                "pixels": [0.8514, 0.9031],
            },
        },
    }


def old_metrics(framework: str) -> dict[str, Any]:
    """metrics.json as the evaluator wrote it when a floor was one number and nothing was drawn twice."""
    new = metrics(framework)
    return {
        "protocol": {name: PROTOCOL[name] for name in OLD_PROTOCOL},
        "metrics": {
            name: {"value": metric["value"], "spread": None, "floor": metric["floor"]}
            for name, metric in new["metrics"].items()
            if metric["floor"] is not None
        },
        "class_histogram": new["class_histogram"],
    }


def _test_labels(num_labels: int) -> np.ndarray:
    packed = resources.files("common.data").joinpath("mnist/t10k-labels-idx1-ubyte.gz").read_bytes()
    return np.frombuffer(gzip.decompress(packed), np.uint8, offset=8)[:num_labels]


def _write_timing(folder: Path, framework: str, config: dict[str, Any], steps_per_epoch: int) -> None:
    random, chunk_size = np.random.default_rng(3), 20
    chunks = []
    for step in range(config["epochs"] * steps_per_epoch)[::chunk_size]:
        left_in_epoch = min(chunk_size, config["epochs"] * steps_per_epoch - step)
        seconds = left_in_epoch * MILLISECONDS_PER_STEP[framework] / 1e3 * random.lognormal(0, 0.03)
        chunks.append({"step": step + 1, "num_steps": left_in_epoch, "seconds": seconds})
    chunks[0]["seconds"] += 0.4 if framework == "torch" else 3.1
    rates = [config["batch_size"] * chunk["num_steps"] / chunk["seconds"] for chunk in chunks[1:]]
    training_seconds = sum(chunk["seconds"] for chunk in chunks)
    epoch_seconds = training_seconds / config["epochs"]
    data_seconds, evaluation_seconds = 0.004 * epoch_seconds, 0.08
    write_json(
        folder / "timing.json",
        {
            "import_seconds": 1.72,
            "data_loading_seconds": 0.31,
            "build_seconds": 0.06,
            "first_chunk_seconds": chunks[0]["seconds"],
            "chunk_size": chunk_size,
            "chunks": chunks,
            "steady_images_per_second": {"median": float(np.median(rates)), "low": min(rates), "high": max(rates)},
            "seconds_per_epoch": epoch_seconds,
            "training_seconds": training_seconds,
            "data_seconds": data_seconds * config["epochs"],
            "evaluation_seconds": evaluation_seconds * config["epochs"],
            "loop_overhead_fraction": 0.0078,
            "generate_seconds": 3.9,
            "drawing_seconds": 1.2,
            "peak_memory_bytes": 812_000_000 if framework == "torch" else 1_240_000_000,
            "total_seconds": training_seconds + 9.4,
        },
    )


def _write_epochs(path: Path, columns: dict[str, np.ndarray], config: dict[str, Any], steps_per_epoch: int) -> None:
    means = [column.reshape(-1, steps_per_epoch).mean(axis=1) for column in columns.values()]
    rows = [
        [epoch, epoch * steps_per_epoch, steps_per_epoch * config["batch_size"], *values, 90 / epoch, 0.1, 9.0, 0.15]
        for epoch, values in enumerate(zip(*means, strict=True), start=1)
    ]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([EPOCHS_HEADER, *rows])


def _write_progress(folder: Path, framework: str, epochs: int) -> None:
    digits = real_digits(128)[64:].astype(np.float64)
    random = np.random.default_rng(4 if framework == "torch" else 5)
    images = []
    for epoch in range(epochs + 1):
        clearness = 1 - np.exp(-epoch / 2)
        noise = random.normal(120, 50, size=digits.shape)
        images.append(np.clip(clearness * digits + (1 - clearness) * noise, 0, 255).astype(np.uint8))
    np.savez(folder / "progress.npz", images=np.stack(images), epochs=np.arange(epochs + 1))
