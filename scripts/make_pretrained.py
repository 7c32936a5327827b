"""python scripts/make_pretrained.py [RUN]: make the newest model of a finished run the one that --pretrained names.

Writes common/pretrained/dcgan.safetensors (the generator's average and the discriminator in float16, without Adam's
moments), dcgan.json and the model card: the file's SHA-256, where it comes from, and its metrics. Those of the
float16 weights are measured here, on 10,000 samples, and stand beside the run's own. RUN is a run folder like
runs/NAME/torch, of either framework, on MNIST; commit all three files together. Without RUN the shipped model is
measured again, after a change of the feature network or of a metric: then nothing is known of its run's scores.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from common.commands.digit_reader import check_digits_model
from common.commands.trained_model import (
    DESCRIPTION_FILE,
    FOLDER,
    WEIGHTS_FILE,
    Model,
    ModelOptions,
    StoredModel,
    open_model,
    pack,
    to_checkpoint,
    unpack,
)
from common.config import to_dict
from common.errors import UserError, report_errors
from common.evaluation import evaluate_samples
from common.networks.build import architecture_of
from common.records.checkpoint import find_checkpoint, load_checkpoint
from common.records.folder import METRICS_FILE, json_bytes, read_status, write_atomically
from common.records.origin import config_of
from common.safe_read import MAX_JSON_BYTES, parse_json, read_bounded
from common.training.scoring import sample
from comparison.checkpoints.model_card import CARD_FILE, pretrained_card
from torch_impl.__main__ import load_framework

Metrics = Mapping[str, Mapping[str, Any]]


def measure(model: Model) -> Metrics:
    """What the evaluator finds in the first draw of 10,000 samples."""
    return evaluate_samples(sample(model.trainer, model.config).images).metrics


def make_pretrained(run: Path, folder: Path, *, measure: Callable[[Model], Metrics] = measure) -> dict[str, Any]:
    """Write both files into `folder` and return what dcgan.json says."""
    if read_status(run)["status"] != "finished":
        raise UserError(f"{run} is no finished run: its model has not been scored")
    path = find_checkpoint(run)
    checkpoint = load_checkpoint(path)
    config = config_of(checkpoint.header, path)
    check_digits_model(config, architecture_of(config, checkpoint.weights))
    of_run: Metrics = parse_json(read_bounded(run / METRICS_FILE, limit=MAX_JSON_BYTES))["metrics"]
    description = {
        "config": to_dict(config),
        "step": checkpoint.header["step"],
        "framework": checkpoint.header["framework"],
        "metrics_of_run": {name: metric["value"] for name, metric in of_run.items()},
    }
    content = pack(checkpoint, description)
    halves, header = unpack(content)
    packed = to_checkpoint(halves, header)
    of_halves = measure(StoredModel(packed, config, architecture_of(config, halves)).open(load_framework))
    described = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "num_bytes": len(content),
        "command": "python scripts/make_pretrained.py RUN",
        **{name: description[name] for name in ("config", "step", "framework")},
        "metrics": _side_by_side(of_halves, of_run),
    }
    write_atomically(folder / WEIGHTS_FILE, content)
    return _write_description(described, folder)


def measure_again(folder: Path, *, measure: Callable[[Model], Metrics] = measure) -> dict[str, Any]:
    """Put the present evaluator's metrics of the shipped model into dcgan.json, and return all that it says."""
    described = parse_json(read_bounded(folder / DESCRIPTION_FILE, limit=MAX_JSON_BYTES))
    model = open_model(ModelOptions(pretrained=True), load_framework)
    return _write_description({**described, "metrics": _side_by_side(measure(model), {})}, folder)


def _side_by_side(of_halves: Metrics, of_run: Metrics) -> dict[str, dict[str, float | None]]:
    return {
        name: {
            "float16": metric["value"],
            "run": of_run.get(name, {}).get("value"),
            "run_spread": of_run.get(name, {}).get("spread"),
            "floor": metric["floor"],
        }
        for name, metric in of_halves.items()
    }


def _write_description(described: dict[str, Any], folder: Path) -> dict[str, Any]:
    write_atomically(folder / DESCRIPTION_FILE, json_bytes(described))
    return described


def main() -> int:
    """Ship the model of the run named on the command line, or measure the shipped one again."""
    if len(sys.argv) > 2:
        raise UserError("name one run folder: python scripts/make_pretrained.py RUN")
    described = make_pretrained(Path(sys.argv[1]), FOLDER) if sys.argv[1:] else measure_again(FOLDER)
    write_atomically(FOLDER / CARD_FILE, pretrained_card().encode())
    print(json.dumps(described["metrics"], indent=2))
    print(f"wrote {described['num_bytes']:,} bytes: commit common/pretrained")
    return 0


if __name__ == "__main__":
    sys.exit(report_errors("make_pretrained.py", main))
