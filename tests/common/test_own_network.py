"""`--features FILE.onnx`: a person's own network takes the place of the pixels; any file that is none is refused."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from common.data.datasets import prepare_dataset, resize_images
from common.errors import UserError
from common.evaluation import kernel_distance
from common.evaluation.__main__ import main
from common.evaluation.evaluate_own import evaluate_own
from common.evaluation.own_data import OwnData
from common.evaluation.own_network import OwnNetwork, load_own_network
from common.records.schema import check
from common.records.series import read_epochs
from tests.common.test_epoch_quality import SCORED, Noisy
from tests.common.test_own_data import data, pictures
from tests.counting import FLAGS, colours, run

SIDE = 24
NUM_SAMPLES = 32  # of a quick score of the 64 images that `counting` trains on
COLOUR = data()
GREY = data(channels=1)
FLATTEN = "features = Flatten (images)"
CAST = "cast = Cast <to = 1> (images) features = Flatten (cast)"
POOL = "features = GlobalAveragePool (images)"


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(kernel_distance, "NUM_SUBSETS", 4)
    return tmp_path / "cache"


def model(nodes: str, images: str = "float[N,3,H,W] images", outputs: str = "float[N,D] features") -> onnx.ModelProto:
    return onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 17, "my.own" : 1]> network ({images}) => ({outputs}) {{ {nodes} }}'
    )


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """A model's file; the same arguments as of `model`."""

    def write(*text: str, name: str = "cats.onnx") -> Path:
        (tmp_path / name).write_bytes(model(*text).SerializeToString())
        return tmp_path / name

    return write


def first_channels(images: np.ndarray) -> np.ndarray:
    """(N, S, S, 3) to what Flatten makes of (N, 3, S, S)."""
    return np.moveaxis(images, 3, 1).reshape(len(images), -1)


# What a network may look like


@pytest.mark.parametrize(
    ("images", "nodes", "expected"),
    [
        ("float[N,3,H,W] images", FLATTEN, lambda images: first_channels(images) / 255),
        ("float[N,H,W,3] images", FLATTEN, lambda images: images.reshape(len(images), -1) / 255),
        (
            "uint8[7,24,24,3] whatever",
            CAST.replace("images", "whatever"),
            lambda images: images.reshape(len(images), -1),
        ),
        ("uint8[N,3,24,24] images", CAST, first_channels),
        ("float[1,3,12,12] images", FLATTEN, lambda images: first_channels(resize_images(images, 12)) / 255),
        ("float[N,3,30,W] images", FLATTEN, lambda images: first_channels(resize_images(images, 30)) / 255),
        ("float[N,3,H,W] images", POOL, lambda images: images.mean(axis=(1, 2)) / 255),
    ],
)
def test_images_reach_the_network_in_its_own_layout_range_and_size(images, nodes, expected, save):
    shape = "float[N,D,1,1]" if nodes == POOL else "float[N,D]"
    network = load_own_network(save(nodes, images, f"{shape} features"), COLOUR)
    some = COLOUR.test_images[:20]
    np.testing.assert_allclose(network.extract(some), expected(some), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("images", ["uint8[N,S,S] images", "uint8[N,24,24,1] images", "uint8[16,1,24,24] images"])
def test_grey_images_are_taken_as_they_are(images, save):
    network = load_own_network(save(CAST, images), GREY)
    np.testing.assert_array_equal(network.extract(GREY.test_images), GREY.test_images.reshape(48, -1))


def test_grey_images_are_repeated_for_a_network_of_colours(save):
    network = load_own_network(save(POOL, "float[N,3,H,W] images", "float[N,3,1,1] features"), GREY)
    means = GREY.test_images.mean(axis=(1, 2)) / 255
    np.testing.assert_allclose(network.extract(GREY.test_images), np.stack([means] * 3, axis=1), rtol=1e-5)


@pytest.mark.parametrize(
    ("outputs", "chosen"),
    [
        ("float[N,3,1,1] maps, float[N,D] rows", "rows"),
        ("float[N,D] rows, float[N,3,1,1] maps", "rows"),
        ("float[N,D] rows, float[N,E] embedding", "embedding"),
        ("float[N,D] features, float[N,E] rows", "features"),
    ],
)
def test_of_several_outputs_the_one_called_features_or_the_first_of_rows_is_taken(outputs, chosen, save):
    nodes = "maps = GlobalAveragePool (images) rows = Flatten (images)"
    nodes += " embedding = Flatten (maps)" if chosen == "embedding" else " features = Flatten (maps)"
    network = load_own_network(save(nodes, "float[N,3,H,W] images", outputs), COLOUR)
    assert network.output == chosen


# What is refused


IMAGES = "float[N,3,H,W] images"
ROWS = "float[N,D] features"
WANTED = "wanted is one, float32 or uint8, of square images"
NOISE = "noise = RandomNormalLike <dtype = 1> (images) features = Flatten (noise)"
ALONE = "depends on chance or on the images beside it"
ONE = "m = ReduceMean <axes = [1], keepdims = 1> (images) features = GlobalAveragePool (m)"
TURNED = "features = Transpose <perm = [1, 0]> (rows)"
BESIDE = "most = ReduceMax <axes = [0], keepdims = 1> (images) less = Sub (images, most) features = Flatten (less)"


@pytest.mark.parametrize(
    ("nodes", "images", "outputs", "reason"),
    [
        ("s = Add (images, more) features = Flatten (s)", f"{IMAGES}, {IMAGES[:-6]}more", ROWS, WANTED),
        (CAST, "float16[N,3,H,W] images", ROWS, r"float16.*; " + WANTED),
        (FLATTEN, "float[N,5,H,W] images", ROWS, r"\['N', 5, 'H', 'W'\]; " + WANTED),
        (FLATTEN, "float[N,C,H,W] images", ROWS, WANTED),
        (FLATTEN, "float[N,3,24,20] images", ROWS, WANTED),
        (FLATTEN, "float[N,3,4096,4096] images", ROWS, WANTED),
        (FLATTEN, "float[N,D] images", ROWS, WANTED),
        (FLATTEN, "float[N,1,H,W] images", ROWS, "takes grey images, but the data are in colour"),
        (
            "features = Identity (images)",
            IMAGES,
            "float[N,3,H,W] features",
            r"is \(16, 3, 24, 24\) for 16 images; wanted",
        ),
        (f"rows = Flatten (images) {TURNED}", IMAGES, "float[D,N] features", r"is \(1728, 16\) for 16 images; wanted"),
        ("features = Shape (images)", IMAGES, "int64[4] features", "its outputs are features tensor"),
        (
            "a = Relu (images) b = Relu (images)",
            IMAGES,
            "float[N,3,H,W] a, float[N,3,H,W] b",
            "its outputs are a tensor",
        ),
        ("z = Sub (images, images) features = Flatten (z)", IMAGES, ROWS, "is the same for every image"),
        ("z = Log (images) features = Flatten (z)", IMAGES, ROWS, "has NaN or infinity"),
        (
            "z = Flatten (images) features = my.own.Magic (z)",
            IMAGES,
            ROWS,
            "my.own:Magic.*not a registered function/op",
        ),
        (NOISE, IMAGES, ROWS, f"{ALONE}; export it in evaluation mode"),
        (BESIDE, IMAGES, ROWS, ALONE),
        (ONE, IMAGES, "float[N,1,1,1] features", "has 1 features; wanted are 2 to 4,096"),
        (FLATTEN, "float[N,3,37,37] images", ROWS, "has 4,107 features"),
    ],
)
def test_a_network_that_gives_no_features_of_images_is_refused_in_one_line(nodes, images, outputs, reason, save):
    path = save(nodes, images, outputs)
    with pytest.raises(UserError, match=f"--features: {path} cannot be used: .*{reason}") as caught:
        load_own_network(path, COLOUR)
    assert len(str(caught.value).splitlines()) == 1


def within(where: str) -> onnx.ModelProto:
    """A model with a tensor that names another file, in one of the places where a model keeps tensors."""
    proto = model("z = Flatten (images) features = Add (z, weights)", "float[N,3,24,24] images")
    tensor = onnx.numpy_helper.from_array(np.zeros(1, np.float32), "weights")
    tensor.ClearField("raw_data")
    tensor.external_data.add(key="location", value="/etc/hostname")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    node = onnx.helper.make_node("Constant", [], ["weights"], value=tensor)
    if where == "an initializer":
        proto.graph.initializer.append(tensor)
    elif where == "a constant":
        proto.graph.node.insert(0, node)
    elif where == "a branch":
        branch = onnx.helper.make_graph([node], "branch", [], [])
        proto.graph.node.append(onnx.helper.make_node("If", ["z"], ["w"], then_branch=branch, else_branch=branch))
    elif where == "a function":
        proto.functions.append(onnx.helper.make_function("own", "f", [], ["weights"], [node], []))
    elif where == "a sparse tensor":
        proto.graph.sparse_initializer.append(onnx.SparseTensorProto(values=tensor))
    return proto


@pytest.mark.parametrize("where", ["an initializer", "a constant", "a branch", "a function", "a sparse tensor"])
def test_weights_in_another_file_are_refused_wherever_a_model_names_it(where, tmp_path):
    (tmp_path / "thief.onnx").write_bytes(within(where).SerializeToString())
    with pytest.raises(UserError, match="its weights are in another file; export it into one"):
        load_own_network(tmp_path / "thief.onnx", COLOUR)


def test_weights_that_came_back_from_another_file_are_in_the_model(tmp_path):
    proto = within("an initializer")
    (weights,) = proto.graph.initializer
    weights.CopyFrom(onnx.numpy_helper.from_array(np.zeros(1, np.float32), "weights"))
    weights.data_location = onnx.TensorProto.DEFAULT
    (tmp_path / "cats.onnx").write_bytes(proto.SerializeToString())
    assert load_own_network(tmp_path / "cats.onnx", COLOUR).num_features == 3 * SIDE**2


@pytest.mark.parametrize("content", [b"", b"\x80\x04pickle", b"\x1c\0\0\0ORTM" + bytes(100), b"PK\3\4" + bytes(50)])
def test_a_file_that_is_no_onnx_is_refused(content, tmp_path):
    (tmp_path / "cats.onnx").write_bytes(content)
    with pytest.raises(UserError, match="it is no ONNX file"):
        load_own_network(tmp_path / "cats.onnx", COLOUR)
    with pytest.raises(UserError, match=r"gone.onnx cannot be read .*: name the network's file, or where it was moved"):
        load_own_network(tmp_path / "gone.onnx", COLOUR)


# Scores


def test_scores_are_in_the_network_s_features_which_the_protocol_names_with_their_hash(save):
    network = load_own_network(save(FLATTEN, "float[N,3,8,8] images"), COLOUR)
    content = evaluate_own([pictures(80, seed=5)], COLOUR, space=network).to_json()
    assert check("metrics.json", content, complete=True)
    words = f"the 192 features of cats.onnx (SHA-256 {network.sha256[:12]}...), which sees images of 8 px"
    assert content["protocol"]["features"] == words
    assert content["protocol"]["num_features"] == 192
    for name in ("frechet_distance", "precision", "recall", "coverage"):
        metric = content["metrics"][name]
        assert metric["value"] == pytest.approx(metric["floor"], rel=0.4), name
    assert content["metrics"].keys() >= {"kid", "duplicate_fraction", "memorised_fraction", "copying_statistic"}


def test_of_more_features_than_images_the_frechet_distance_takes_the_components_that_vary_most(save):
    network = load_own_network(save(FLATTEN, "float[N,3,8,8] images"), COLOUR)
    own = OwnData.of(COLOUR, network, quick=True)
    assert own.frechet_axes is not None
    assert own.frechet_axes.n_components == own.num_images == 60
    few = load_own_network(save(POOL, IMAGES, "float[N,3,1,1] features"), COLOUR)
    assert OwnData.of(COLOUR, few, quick=True).frechet_axes is None
    assert OwnData.of(COLOUR, quick=True).frechet_axes is None


def test_what_is_computed_of_real_images_is_computed_once_for_a_network_and_again_for_another(save, monkeypatch):
    computed: list[object] = []
    extract, compute_floors = OwnNetwork.extract, OwnData._compute_floors

    def counted(self: OwnNetwork, images: np.ndarray) -> np.ndarray:
        computed.append(len(images))
        return extract(self, images)

    def floors(self: OwnData, *, quick: bool) -> Any:
        computed.append("floors")
        return compute_floors(self, quick=quick)

    monkeypatch.setattr(OwnNetwork, "extract", counted)
    monkeypatch.setattr(OwnData, "_compute_floors", floors)
    samples, tried = [pictures(80, seed=5)], (16, 8)

    def score(path: Path) -> Any:
        computed.clear()
        return evaluate_own(samples, COLOUR, space=load_own_network(path, COLOUR)).metrics

    first = score(save(POOL, IMAGES, "float[N,3,1,1] features"))
    assert computed == [*tried, 120, 48, 60, "floors"]
    assert score(save(POOL, IMAGES, "float[N,3,1,1] features")) == first
    assert computed == [*tried, 60]
    score(save("more = Exp (images) features = GlobalAveragePool (more)", IMAGES, "float[N,3,1,1] features"))
    assert computed == [*tried, 120, 48, 60, "floors"]


# Runs


@pytest.fixture
def pool(save) -> Path:
    return save(POOL, IMAGES, "float[N,3,1,1] features")


def test_a_run_records_its_network_scores_each_epoch_by_it_and_finds_it_again(pool, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run("torch", *SCORED, "--epochs=1", "--features=cats.onnx", "--output=new", trainer=Noisy) == 0
    assert "Scored by the 3 features of cats.onnx (SHA-256" in capsys.readouterr().out
    record = json.loads(Path("new/torch/environment.json").read_text())["features"]
    assert record == {"file": str(pool), "sha256": load_own_network(pool, COLOUR).sha256}
    dataset = prepare_dataset(colours(), image_size=32, train_size=0)
    floors = OwnData.of(dataset, load_own_network(pool, dataset), quick=True).floors(quick=True)
    for row in read_epochs(Path("new/torch/epochs.csv")):
        assert row.frechet_distance is not None
        assert row.frechet_distance_floor == floors["frechet_distance"].mean
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert run("torch", "--resume=../new/torch", "--epochs=2", trainer=Noisy) == 0
    assert json.loads((tmp_path / "new/torch/environment.json").read_text())["features"] == record


def test_a_resumed_run_takes_no_other_network_and_names_the_one_it_misses(pool, save, tmp_path, capsys):
    assert run("torch", *FLAGS, f"--features={pool}", f"--output={tmp_path / 'new'}") == 0
    moved = pool.rename(tmp_path / "moved.onnx")
    go_on = [f"--resume={tmp_path / 'new' / 'torch'}", "--epochs=3"]

    def refusal(*flags: object) -> str:
        capsys.readouterr()
        assert run("torch", *go_on, *flags) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    assert "cats.onnx cannot be read (No such file or directory): name the network's file, or where" in refusal()
    save(FLATTEN, "float[N,3,8,8] images")
    assert f"is scored by another network ({pool}, SHA-256" in refusal()
    assert run("torch", *go_on, f"--features={moved}") == 0
    path = tmp_path / "new" / "torch" / "environment.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "features": None}))
    assert "is scored without --features: leave it out, or score the samples.npz" in refusal(f"--features={moved}")


def test_a_network_that_fails_on_samples_leaves_a_run_without_scores_and_alive(pool, tmp_path, monkeypatch):
    extract = OwnNetwork.extract

    def fails_on_samples(self: OwnNetwork, images: np.ndarray) -> np.ndarray:
        if len(images) == NUM_SAMPLES:
            raise UserError("its output has NaN")
        return extract(self, images)

    monkeypatch.setattr(OwnNetwork, "extract", fails_on_samples)
    flags = [*SCORED, "--epochs=1", f"--features={pool}", f"--output={tmp_path / 'new'}"]
    assert run("torch", *flags, trainer=Noisy) == 0
    (row,) = read_epochs(tmp_path / "new" / "torch" / "epochs.csv")
    assert row.frechet_distance is None


def test_digits_keep_their_own_network(pool, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("common.training.prepare.is_scored", lambda dataset: True)
    assert run("torch", *SCORED, f"--features={pool}", f"--output={tmp_path / 'new'}", trainer=Noisy) == 2
    assert "--features is for other data than MNIST" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


# The evaluator's command


@pytest.fixture
def evaluate(monkeypatch, capsys, tmp_path) -> Callable[..., tuple[Any, str, str]]:
    """`python -m common.evaluation` on 80 samples, of data that lie beside them: exit code, output, errors."""
    np.savez(tmp_path / "samples.npz", images=pictures(80, seed=5))
    np.savez(tmp_path / "data.npz", x_train=COLOUR.train_images, x_test=COLOUR.test_images)

    def run(*flags: object) -> tuple[Any, str, str]:
        monkeypatch.setattr(sys, "argv", ["evaluation", str(tmp_path / "samples.npz"), *map(str, flags)])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, *capsys.readouterr()

    return run


def test_samples_of_other_data_are_scored_by_pixels_or_by_a_network_as_in_a_run(evaluate, pool, tmp_path):
    place = ["--dataset=npz", f"--data-dir={tmp_path / 'data.npz'}"]
    code, text, _ = evaluate(*place)
    assert code == 0
    assert "compared by 60 principal components of the pixels" in " ".join(text.split())
    assert "so there is no MNIST score" in " ".join(text.split())
    result = tmp_path / "result.json"
    code, text, _ = evaluate(*place, f"--features={pool}", f"--json={result}")
    assert code == 0
    text = " ".join(text.split())
    assert "compared by the 3 features of cats.onnx (SHA-256" in text
    assert "These metrics see what the network of --features tells apart" in text
    for title in ("Fréchet distance ↓", "KID ↓", "Coverage ↑", "Memorised", "Copying statistic C_T"):
        assert title in text
    own = evaluate_own([pictures(80, seed=5)], COLOUR, space=load_own_network(pool, COLOUR))
    assert json.loads(result.read_text())["metrics"] == own.to_json()["metrics"]


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--features=cats.onnx"], "--features is for other data than MNIST: name them with --dataset"),
        (["--dataset=folder"], "--dataset folder needs --data-dir"),
        (["--dataset=npz", "--data-dir=data.npz", "--resized"], "are for digits of MNIST: leave them out"),
        (
            ["--dataset=npz", "--data-dir=data.npz", "--train-size=200"],
            "but there are only 120 training images",
        ),
    ],
)
def test_flags_that_contradict_each_other_are_refused(flags, reason, evaluate, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, errors = evaluate(*flags)
    assert code == 2
    assert reason in errors
    assert len(errors.splitlines()) == 1
