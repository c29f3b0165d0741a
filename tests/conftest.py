"""Shapes checked at run time, seeds, and the folder with real data."""

import os
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import jaxtyping
import pytest
from jaxtyping import install_import_hook

# `-> Self` is beyond what beartype can check method by method.
UNCHECKABLE = re.compile(r"\bimport\b.*\bSelf\b")


def checked() -> list[str]:
    """Modules whose annotations the tests check at every call: all of the library that can be checked."""
    root = Path(__file__).resolve().parents[1]
    files = [file for file in (root / "structformer").rglob("*.py") if file.name != "__init__.py"]
    return [
        ".".join(file.relative_to(root).with_suffix("").parts)
        for file in sorted(files)
        if not UNCHECKABLE.search(file.read_text(encoding="utf-8"))
    ]


# A whole number will do for a float, as it does for the language itself.
CHECKER = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
# Before anything imports structformer.
install_import_hook(checked(), CHECKER)

import torch  # noqa: E402

# Without a GPU, Triton's interpreter runs its kernels; triton looks at this when they are imported.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

from structformer.graph import TokenGraph  # noqa: E402

# The tests' tensors are small, and on a busy machine threads that wait for each other take most of the time.
torch.set_num_threads(1)

DATA = "STRUCTFORMER_DATA"


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a file's content by its parameter: packed a second later it differs, and workers must agree on names."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture
def rng() -> torch.Generator:
    """A generator of random numbers with the same seed in every test."""
    return torch.Generator().manual_seed(20_251)


@pytest.fixture(autouse=True)
def _seeded():
    # Modules draw their first weights from the global stream, which a test must find as it was left.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture
def unchecked():
    """Switch the shape checks off that would otherwise catch bad arguments before the functions do."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def shuffled() -> Callable[[torch.Tensor, int], torch.Tensor]:
    """Draws a permutation that keeps every token in its set, from the sets' boundaries and a seed."""

    def draw(ptr: torch.Tensor, seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        bounds = pairwise(ptr.tolist())
        return torch.cat([a + torch.randperm(b - a, generator=generator) for a, b in bounds])

    return draw


@pytest.fixture(scope="session")
def dense() -> Callable[[Any], torch.Tensor]:
    """Writes a graph as a matrix of its weights, [targets, sources]: their mean over heads, 1 without weights."""

    def write(graph: Any) -> torch.Tensor:
        row = torch.arange(len(graph.rowptr) - 1).repeat_interleave(graph.rowptr.diff())
        weight = torch.ones(len(row), dtype=torch.float64) if graph.weight is None else graph.weight
        weight = weight if weight.ndim == 1 else weight.mean(1)
        zeros = weight.new_zeros(len(graph.rowptr) - 1, graph.num_sources)
        return zeros.index_put((row, graph.col), weight, accumulate=True)

    return write


@pytest.fixture(scope="session")
def random_graph() -> Callable[..., TokenGraph]:
    """Draws a graph with weights in [0, 1), of float64."""

    def draw(
        targets: int = 13, sources: int | None = None, edges: int = 47, heads: int = 0, seed: int = 0
    ) -> TokenGraph:
        generator = torch.Generator().manual_seed(seed)
        shape = (targets, targets if sources is None else sources)
        picked = torch.randperm(shape[0] * shape[1], generator=generator)[:edges]
        edge_index = torch.stack([picked % shape[1], picked // shape[1]])
        weight = torch.rand(edges, *([heads] if heads else []), generator=generator, dtype=torch.float64)
        return TokenGraph.from_edge_index(edge_index, targets, weight, num_sources=sources)

    return draw


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder with real data: $STRUCTFORMER_DATA, or shared/data beside the repository."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    named = os.environ.get(DATA)
    folder = Path(named) if named else beside
    if not folder.is_dir():
        where = f"{DATA}={named} is no folder" if named else f"{DATA} is not set"
        pytest.skip(f"real data is needed: {where}")
    return folder
