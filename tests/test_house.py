"""The house: what may import what beyond import-linter's view, and which names are public."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import structformer as sf

ROOT = Path(__file__).parent.parent
LIBRARY = sorted((ROOT / "structformer").rglob("*.py"))
PUBLIC = {
    "GraphClassifier",
    "GraphEncoder",
    "GraphRegressor",
    "NodeClassifier",
    "SetClassifier",
    "SetEncoder",
    "SetRegressor",
    "StructFormerClassifier",
    "StructFormerRegressor",
    "TableEncoder",
    "TokenGraph",
    "TokenSet",
    "load",
}

# Packages that only gather names.
UNTESTED = {
    "structformer",
    "structformer.estimators",
    "structformer.graph",
    "structformer.inspect",
    "structformer.models",
    "structformer.nn",
    "structformer.ops",
    "structformer.ops.search",
    "structformer.tokenize",
    "structformer.training",
    "tasks",
    "tasks.baselines",
}


def imported(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("file", LIBRARY, ids=lambda file: str(file.relative_to(ROOT)))
def test_the_library_knows_no_benchmark_and_no_data_set(file):
    above = {name for name in imported(file) if name.split(".")[0] in ("datasets", "tasks")}
    above |= {
        name for name in imported(file) if name.startswith(("structformer.datasets", "structformer.tasks"))
    }
    if file.name == "cli.py":
        above = {name for name in above if not name.startswith("structformer.tasks")}
    assert not above


@pytest.mark.parametrize("file", LIBRARY, ids=lambda file: str(file.relative_to(ROOT)))
def test_nothing_reaches_for_the_network_or_pickles(file):
    forbidden = {"requests", "urllib.request", "http.client", "socket", "pickle", "joblib", "huggingface_hub"}
    assert not imported(file) & forbidden


def test_public_names():
    assert set(sf.__all__) >= PUBLIC
    for name in sf.__all__:
        assert getattr(sf, name) is not None


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_public_names_are_documented(name):
    assert len(getattr(sf, name).__doc__ or "") > 60


def test_datasets_and_tasks_are_installed_below_structformer():
    import structformer.datasets
    import structformer.tasks

    assert Path(structformer.datasets.__file__).parent == ROOT / "datasets"
    assert Path(structformer.tasks.__file__).parent == ROOT / "tasks"


def test_the_shell_answers_without_importing_torch():
    code = "import sys, structformer.cli; sys.exit('torch' in sys.modules or 'sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("package", [sf, sf.tokenize])
def test_every_public_name_is_there_and_no_other(package):
    assert all(getattr(package, name) is not None for name in package.__all__)
    assert set(package.__all__) <= set(dir(package))
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        package.nonsense  # noqa: B018


def module_of(file: Path) -> str:
    place = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(place[:-1] if place[-1] == "__init__" else place)


def test_every_module_has_tests_at_its_path():
    without = set()
    for package in ("structformer", "tasks", "datasets"):
        for file in (ROOT / package).rglob("*.py"):
            folder = file.parent.relative_to(ROOT / package if package == "structformer" else ROOT)
            name = "init" if file.stem == "__init__" else file.stem
            if not (ROOT / "tests" / folder / f"test_{name}.py").is_file():
                without.add(module_of(file))
    assert without == UNTESTED


def returns_self(file: Path) -> bool:
    functions = (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef))
    return any(isinstance(node.returns, ast.Name) and node.returns.id == "Self" for node in functions)


def test_shapes_are_checked_wherever_they_are_annotated():
    annotated = [file for file in LIBRARY if "jaxtyping" in imported(file)]
    loaders = {file: importlib.util.find_spec(module_of(file)).loader for file in annotated}
    unchecked = [file for file, loader in loaders.items() if type(loader).__name__ != "_JaxtypingLoader"]
    assert len(unchecked) < len(annotated) / 10
    # What returns `Self` cannot be checked method by method.
    assert [str(file) for file in unchecked if not returns_self(file)] == []
