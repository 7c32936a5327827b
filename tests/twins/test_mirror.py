"""The twins have the same files, the same public names in the same order, and the same words where they agree."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TORCH, JAX = ROOT / "torch_impl", ROOT / "jax_impl"

# Files that only one twin has, and why. Of tuned/, the room of tricks, nothing need be alike: a framework has its own.
EXTRA_FILES = {
    "jax_impl/conventions.py": "BatchNorm and LeakyReLU brought to torch's conventions, which torch's own are",
    "jax_impl/optimizer.py": "torch takes Adam's bias corrections in float64; optax rounds them to float32",
}
# Public names that only one twin has, or that are not of the same things in both, and why.
EXTRA_NAMES = {
    "torch_impl/steps.py:update": "torch keeps gradients in the parameters; JAX returns them to the caller",
    "jax_impl/steps.py:generate": "torch's tape shares the generator's forward pass; JAX needs an explicit vjp",
    "torch_impl/trainer.py:create_compiled_trainer": "torch.compile is a choice; JAX compiles every step",
    "jax_impl/layers.py:Layer": "torch has a common base class for layers, nn.Module; here some are plain functions",
    "jax_impl/layers.py:Constant": "torch holds a parameter's gradient by a hook, Flax by a kind of parameter",
    "jax_impl/weights.py:to_native": "torch's axis order is the canonical one",
    "jax_impl/weights.py:to_canonical": "torch's axis order is the canonical one",
    "jax_impl/weights.py:PARAMETERS": "torch's parameter names are the canonical ones",
}
SHARED_FILES = sorted(path.relative_to(TORCH).as_posix() for path in TORCH.glob("*.py"))


def public_names(path: Path) -> list[str]:
    """Top-level functions, classes and constants, methods of public classes as Class.method, in order."""
    names = []
    for node in ast.parse(path.read_text()).body:
        match node:
            case ast.FunctionDef(name=name):
                names.append(name)
            case ast.ClassDef(name=name, body=body):
                names.append(name)
                names += [f"{name}.{item.name}" for item in body if isinstance(item, ast.FunctionDef)]
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                names.append(name)
            case ast.Assign(targets=[ast.Tuple(elts=targets)]):
                names += [target.id for target in targets if isinstance(target, ast.Name)]
    renamed = {"forward": "__call__"}  # what each framework calls a module's computation
    parts = [[renamed.get(part) or part for part in name.split(".")] for name in names]
    return [".".join(part) for part in parts if not part[-1].startswith("_") or part[-1] in ("__init__", "__call__")]


def without_exceptions(path: Path) -> list[str]:
    module = path.relative_to(ROOT).as_posix()
    return [name for name in public_names(path) if f"{module}:{name.split('.')[0]}" not in EXTRA_NAMES]


def docstrings(path: Path) -> dict[str, str | None]:
    nodes = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef | ast.ClassDef))
    return {node.name: ast.get_docstring(node) for node in nodes}


def test_the_twins_have_the_same_files():
    jax_files = {path.relative_to(JAX).as_posix() for path in JAX.glob("*.py")}
    assert {*SHARED_FILES} == {file for file in jax_files if f"jax_impl/{file}" not in EXTRA_FILES}


@pytest.mark.parametrize("file", SHARED_FILES)
def test_the_twins_have_the_same_public_names_in_the_same_order(file):
    assert without_exceptions(TORCH / file) == without_exceptions(JAX / file)


@pytest.mark.parametrize("twin", [TORCH, JAX])
def test_what_a_variant_decides_is_decided_in_layers_py_alone(twin):
    asking = {
        path.relative_to(twin).as_posix()
        for path in twin.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Compare | ast.Match) and "variant" in ast.unparse(node).splitlines()[0]
    }
    assert asking == {"layers.py"}


def test_jax_asks_for_no_device_but_the_one_it_was_given():
    asking = [path.name for path in JAX.rglob("*.py") if re.search(r"default_backend|jax_enable_x64", path.read_text())]
    assert asking == []


@pytest.mark.parametrize("file", [file for file in SHARED_FILES if not file.endswith("__init__.py")])
def test_each_twin_names_the_other_in_its_first_line(file):
    for twin, other in ((TORCH, JAX), (JAX, TORCH)):
        first_line = (ast.get_docstring(ast.parse((twin / file).read_text())) or "").splitlines()[0]
        assert first_line.endswith(f"Mirrors {other.name}/{file}.")


@pytest.mark.parametrize("file", ["losses.py", "steps.py", "trainer.py", "model.py", "features.py"])
def test_shared_functions_are_described_in_the_same_words(file):
    torch_docs, jax_docs = docstrings(TORCH / file), docstrings(JAX / file)
    for name in torch_docs.keys() & jax_docs.keys():
        torch_words, jax_words = torch_docs[name], jax_docs[name]
        if torch_words and jax_words:
            # The axis order is the one thing that must read differently.
            assert torch_words.replace("C, S, S", "S, S, C") == jax_words, name


def test_every_listed_exception_still_exists():
    for file in EXTRA_FILES:
        assert (ROOT / file).exists(), file
    for entry in EXTRA_NAMES:
        file, name = entry.split(":")
        assert name in public_names(ROOT / file), entry
