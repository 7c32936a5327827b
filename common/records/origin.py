"""What `--resume` names: a run folder, or one checkpoint of either framework."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from common.config import TrainConfig, differing_fields, to_dict
from common.console import stored_path
from common.errors import UserError
from common.records.checkpoint import load_checkpoint, refuse_orbax
from common.records.folder import CHECKPOINTS, CONFIG_FILE, ENVIRONMENT_FILE, FRAMEWORK_NAMES, is_blank, read_json
from common.safe_read import one_line, unreadable_is_named


class Dataset(Protocol):
    """As far as it can be recognised."""

    @property
    def sha256(self) -> str:
        """Of the training images as they are trained on."""
        ...


@dataclass(frozen=True)
class Origin:
    """What `--resume` names: a run folder, or one checkpoint; `run` is the folder whose records belong to it."""

    path: Path
    run: Path | None
    config: TrainConfig
    framework: str  # whose run it is, whatever its folder is called

    @property
    def is_run(self) -> bool:
        """Whether a whole run is named, which can go on in its own folder."""
        return self.path == self.run


def find_origin(path: Path, framework: str | None = None) -> Origin:
    """A run folder, a comparison's folder that holds one of `framework`, or a checkpoint; else UserError."""
    with unreadable_is_named(path):
        if path.is_dir() and framework and not (path / CONFIG_FILE).exists() and (path / framework).is_dir():
            path = path / framework
        if path.is_dir():
            return _find_run(path)
        if not path.exists():
            raise UserError(f"{one_line(path)} does not exist: name a run folder or a checkpoint to resume")
    header = load_checkpoint(path).header
    folder = path.resolve().parent  # also of `step_64.safetensors` alone, and of a link to it
    run = folder.parent if folder.name == CHECKPOINTS and (folder.parent / CONFIG_FILE).exists() else None
    return Origin(path, run, config_of(header, path), str(header.get("framework")))


def find_config(path: Path) -> TrainConfig:
    """The configuration of what `--resume` names, which may also be a comparison's folder."""
    with unreadable_is_named(path):
        halves = [path / framework for framework in FRAMEWORK_NAMES if (path / framework / CONFIG_FILE).exists()]
    return find_origin(halves[0] if halves else path).config


def _find_run(path: Path) -> Origin:
    if not any(path.iterdir()):
        raise UserError(f"{one_line(path)} is an empty folder: name a run folder like runs/NAME/torch, or a checkpoint")
    if (path / CONFIG_FILE).exists():
        return Origin(path, path, TrainConfig.from_json(path / CONFIG_FILE), _framework_of(path))
    if is_blank(path):
        raise UserError(
            f"{one_line(path)} was stopped before it had written anything: start again there, with --output and the "
            "flags it had"
        )
    refuse_orbax(path)
    raise UserError(f"{one_line(path)} holds no run to resume: name a run folder like runs/NAME/torch, or a checkpoint")


def _framework_of(run: Path) -> str:
    """As environment.json says; a run killed before it was written has trained nothing: its folder's name will do."""
    if not (run / ENVIRONMENT_FILE).exists():
        return run.resolve().name
    return str(read_json(run / ENVIRONMENT_FILE).get("framework"))


def config_of(header: dict, path: Path) -> TrainConfig:
    """The configuration in a checkpoint's header."""
    try:
        return TrainConfig(**header["config"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} holds no configuration to resume ({one_line(error)})") from None


def recorded_in_environment(place: Path | None, field: str) -> dict[str, Any] | None:
    """What a run recorded of its data, say; `place` is its folder, its comparison's, or one of its checkpoints."""
    if place is None:
        return None
    with unreadable_is_named(place):
        folders = [place, *(place / name for name in FRAMEWORK_NAMES)]
        if not place.is_dir():
            parent = place.resolve().parent
            folders = [parent.parent] if parent.name == CHECKPOINTS else []
        records = (read_json(folder / ENVIRONMENT_FILE).get(field) for folder in folders)
        return next((record for record in records if record), None)


def recorded_data_dir(place: Path | None) -> Path | None:
    """Where the data of a run were when it was trained; None for the bundled MNIST, and of a run that did not say."""
    record = recorded_in_environment(place, "dataset")
    return stored_path(record["data_dir"]) if record and record["data_dir"] else None


def recorded_features(place: Path | None) -> Path | None:
    """Where the network of `--features` was when a run began; None of a run that is scored without."""
    record = recorded_in_environment(place, "features")
    return stored_path(record["file"]) if record else None


def processes_before(origin: Origin | None, step: int) -> list[dict[str, Any]]:
    """The environments of the processes that trained the steps up to `step`, in order, of what is gone on with.

    One that was killed before it had saved a step trained none. Nobody knows those of a checkpoint without its run.
    """
    recorded = read_json(origin.run / ENVIRONMENT_FILE) if origin and origin.run else {}
    processes = [*recorded.pop("past", ()), recorded] if recorded else []
    return [process for process in processes if process.get("resumed_at_step", 0) < step]


def check_same_data(dataset: Dataset, place: Path) -> None:
    """Raise UserError if the training images of `dataset`, as they are trained on, are not those on record."""
    record = recorded_in_environment(place, "dataset")
    if record is not None and record["sha256"] != dataset.sha256:
        held = f"{record['num_train']:,} training images" + (f" in {record['data_dir']}" if record["data_dir"] else "")
        raise UserError(
            f"{one_line(place)} was trained on other images ({one_line(held)}): name those with --data-dir, "
            "or start a new run"
        )


def check_same_features(sha256: str | None, place: Path) -> None:
    """Raise UserError if the network of this hash, None for none, is not the one that the run is scored by."""
    record = recorded_in_environment(place, "features")
    if record is None and sha256 is not None and recorded_in_environment(place, "dataset") is not None:
        raise UserError(
            f"{one_line(place)} is scored without --features: leave it out, or score the samples.npz of the finished "
            "run with python -m common.evaluation"
        )
    if record is not None and record["sha256"] != sha256:
        raise UserError(
            f"{one_line(place)} is scored by another network ({one_line(record['file'])}, SHA-256 "
            f"{one_line(record['sha256'])[:12]}...): name that one with --features, or start a new run"
        )


def check_own_run(asked: TrainConfig, run: Path, framework: str) -> None:
    """Raise UserError unless the folder holds a run of just this configuration and framework, as `--go-on` needs."""
    origin = find_origin(run)
    if origin.framework != framework:
        raise UserError(f"{one_line(run)} holds a run of {origin.framework}: choose another --output")
    held, wanted = to_dict(origin.config), to_dict(asked)
    if fields := differing_fields(held, wanted):
        pairs = ", ".join(f"{name} ({held[name]} / {wanted[name]})" for name in fields)
        raise UserError(f"{one_line(run)} holds a run with another {pairs}: choose another --output")


def check_same_config(asked: TrainConfig, origin: Origin) -> None:
    """Only `epochs` may differ, and only grow; anything else would be another run."""
    fields = differing_fields(to_dict(replace(asked, epochs=origin.config.epochs)), to_dict(origin.config))
    if fields:
        pairs = ", ".join(f"{name} ({getattr(origin.config, name)} / {getattr(asked, name)})" for name in fields)
        raise UserError(f"{origin.path} was trained with another {pairs}: leave these flags out to resume it")
    if asked.epochs < origin.config.epochs:
        raise UserError(
            f"{origin.path} was to run for {origin.config.epochs} epochs, not {asked.epochs}: --epochs can only grow"
        )
