"""Which code a result comes from: a module and all of ours that it imports."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

LIBRARY = ("structformer",)
BENCHMARKS = ("structformer.tasks", "structformer.datasets")
# What keeps and tells results without a part in making them.
TELLING = frozenset(
    f"{__package__}.{name}"
    for name in (
        "benchmark",
        "comparison",
        "ledger",
        "paired",
        "peak_memory",
        "runs",
        "sources",
        "summaries",
        "task_card",
        "worker_pool",
    )
)


def digest_of(module: str, packages: Iterable[str] = LIBRARY) -> str:
    """Return a short digest of a module's code and of what it imports from the packages, however indirectly."""
    digest = hashlib.sha256()
    for name, path in sorted(closure(module, tuple(packages)).items()):
        digest.update(name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def closure(module: str, packages: tuple[str, ...]) -> dict[str, Path]:
    """Return the module and what it imports from the packages, however indirectly, with their files.

    What only keeps and tells results, and all it imports, is left out.
    """
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _file(name)
        if name in found or name in TELLING or path is None:
            continue
        found[name] = path
        waiting += [other for other in _imported(name, path) if _inside(other, packages)]
    return found


def _inside(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def _imported(name: str, path: Path) -> Iterator[str]:
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package.rsplit(".", node.level - 1)[0] if node.level else ""
            base = ".".join(part for part in (start, node.module) if part)
            # What is imported from a package may be a module of its own; the package is read for the rest alone.
            names = [f"{base}.{alias.name}" for alias in node.names]
            modules = [name for name in names if _file(name) is not None]
            yield from modules if len(modules) == len(names) else (base, *modules)


@cache
def _file(name: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin)
