"""Every command that the documentation shows, and who runs it: `make test-long`, another test, or nobody and why.

`tests/test_docs.py` holds this list to the pages: a command that is new, or gone, fails there.
"""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
NOT_PROSE = ("cli.md", "report.md")  # made of help texts, and of a recorded run
SHOWN = re.compile(r"^(?: {4})?((?:make|python|pip|tensorboard) [^#\n]*)", re.MULTILINE)

# What every training below is shortened by. Nothing is certified: tests/slow/test_comparison.py does that once.
BRIEF = "--preset smoke --train-size 512 --quick-scoring --draws 1"
# What stands for a folder of the reader's own.
NAMES = {"runs/NAME": "runs/first"}
SAME, APART = 0, 1  # how `diff` ends


class Run(NamedTuple):
    """A command as a page shows it, what is added to it here, how it ends, and what it leaves."""

    shown: str
    added: str = ""
    code: int = 0
    leaves: str = ""
    instead: tuple[str, str] = ("", "")  # words of the page, and what takes their place here


# In this order, in one folder that holds what `tests/slow/test_documented_commands.py` puts there.
RUN = [
    Run("python compare.py --preset smoke --dry-run"),
    Run(
        "python compare.py --preset smoke --output runs/first",
        "--train-size 512 --quick-scoring --draws 1 --no-certify",
        leaves="runs/first/report.html",
    ),
    Run("python compare.py --output runs/NAME --go-on", f"{BRIEF} --no-certify"),
    Run("python compare.py --resume runs/NAME", "--quick-scoring --draws 1 --no-certify"),
    Run("python compare.py report runs/NAME", leaves="runs/first/report.md"),
    Run("python -m torch_impl sample --pretrained --num 100 --out digits.png", leaves="digits.png"),
    Run("python -m jax_impl sample --pretrained --num 100 --out the_same_digits.png", leaves="the_same_digits.png"),
    Run(
        "python -m jax_impl interpolate runs/NAME/torch --from-class 6 --to-class 9 --out six_to_nine.png",
        instead=("runs/NAME/torch", "--pretrained"),  # a model that knows digits
        leaves="six_to_nine.png",
    ),
    Run('python -m jax_impl arithmetic --pretrained "7 - 1 + 0" --out arithmetic.png', leaves="arithmetic.png"),
    Run("python -m torch_impl features runs/NAME/torch --out filters/", leaves="filters"),
    Run("python -m torch_impl animate runs/NAME --out progress.gif", leaves="progress.gif"),
    Run("python compare.py diff runs/NAME/torch runs/NAME/jax --latents 16", code=APART),
    Run("python compare.py diff pretrained runs/NAME/torch", code=APART),
    Run("python compare.py convert runs/NAME/torch --to pytorch-state-dict --output model.pt", leaves="model.pt"),
    Run("python compare.py convert runs/NAME/jax --to orbax --output model.orbax", leaves="model.orbax"),
    Run("python compare.py convert runs/NAME/jax --to onnx --output model.onnx", leaves="model.onnx"),
    Run(
        "python compare.py convert model.pt --to safetensors --like runs/NAME/torch --output model.safetensors",
        leaves="model.safetensors",
    ),
    Run("python -m common.evaluation runs/NAME/torch/samples.npz", "--quick"),
    Run("python -m common.evaluation samples.npz --quick"),
    Run("python -m jax_impl --resume runs/NAME/torch --output runs/OTHER", "--quick-scoring --draws 1"),
    Run("python -m torch_impl --resume runs/NAME/torch", "--quick-scoring --draws 1"),
    Run(
        "python -m torch_impl --resume runs/NAME/torch --epochs 20",
        "--quick-scoring --draws 1",
        instead=("--epochs 20", "--epochs 2"),
    ),
    Run(
        "python -m torch_impl --preset seed004-mlp --seed 1 --epochs 5 --quick-scoring",
        "--train-size 640 --draws 1 --output runs/mlp",
        instead=("--epochs 5", "--epochs 2"),
        leaves="runs/mlp/torch/samples.npz",
    ),
    Run("python compare.py --dataset folder --data-dir photos/ --epochs 30", f"{BRIEF} --dry-run"),
    Run("python compare.py --dataset npz --data-dir images.npz", f"{BRIEF} --dry-run"),
    Run("python compare.py --dataset idx --data-dir emnist/emnist-letters", f"{BRIEF} --dry-run"),
    Run("python compare.py --preset seed004", "--dry-run"),
]

# Run by another test, which is named.
ELSEWHERE = {
    "python compare.py diff my_torch.py:build *": "tests/comparison/port/test_command.py",
    "python compare.py study --presets smoke *": "tests/slow/test_study.py",
    "python compare.py bench*": "tests/slow/test_bench.py",
    "python compare.py --log-to tensorboard --output runs/NAME": "tests/common/test_trackers.py",
    "python compare.py parity --preset smoke --quick": "tests/slow/test_comparison.py",
    "python compare.py parity --planted-bugs": "tests/slow/test_ladder.py",
    "python compare.py convert netG.pth *": "tests/comparison/test_convert.py",
    "python -m common.evaluation samples.npz --reference train *": "tests/common/test_evaluation.py",
    "python -m common.evaluation samples.npz --dataset folder *": "tests/common/test_own_images.py",
    "python -m torch_impl train --preset dcgan32 --seed 10 --go-on *": "tests/comparison/test_go_on.py",
    "python -m comparison.publish.speed *": "tests/comparison/test_publish.py",
    "python -m comparison.publish.systems *": "tests/comparison/test_publish.py",
    "python -m comparison.publish.neighbours *": "tests/comparison/test_publish.py",
    "python -m comparison.publish.port *": "tests/comparison/test_publish.py",
    "python -m comparison.publish.gpu *": "tests/comparison/test_gpu_measurements.py",
}
# Run by nobody here, and why.
NOT_RUN = {
    "python compare.py": "trains the default for a quarter of an hour",
    "python compare.py --epochs 1 --train-size 64 *": "the smallest preset takes its place above",
    "python compare.py --dataset folder --data-dir photos/ --features resnet18.onnx": "needs weights from elsewhere",
    "python compare.py --dataset fashion_mnist *": "needs a prepared TFDS dataset",
    "python compare.py --device gpu": "needs a GPU",
    "make gpu": "needs a GPU",
    "pip install 'jax[[]cuda13]'": "needs a GPU",
    "python compare.py study --presets dcgan32 --seeds 10-29 --output runs/study": "trains 40 runs",
    "python compare.py study --presets dcgan32 * --executor slurm *": "needs SLURM",
    "pip install snakemake-executor-plugin-slurm": "needs SLURM",
    "python compare.py inception *": "needs the published weights of Inception",
    "pip install 'dcgan-twins[[]inception]'": "installs into this environment",
    "pip install --editable *": "installs into this environment",
    "python -m venv .venv *": "makes an environment",
    "make compare*": "installs, then runs what stands above",
    "make check": "is what runs this test's neighbours",
    "make test*": "runs this test",
    "tensorboard --logdir *": "is a server that does not end",
    "python scripts/train_systems.py *": "trains for an hour",
    "python -m tests.comparison.port.detect *": "takes minutes; its parts are tests/comparison/port",
    "python -m comparison.publish.peers": "times eight steps for half an hour",
}


def shown() -> dict[str, str]:
    """Each command of the documentation -> the page that shows it first."""
    found: dict[str, str] = {}
    for page in PAGES:
        if page.name not in NOT_PROSE:
            for command in SHOWN.findall(page.read_text(encoding="utf-8")):
                found.setdefault(" ".join(command.split()), page.relative_to(ROOT).as_posix())
    return found
