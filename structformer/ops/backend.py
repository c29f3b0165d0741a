"""Which kernels reduce segments: torch-scatter's where it is installed, else torch's own."""

from __future__ import annotations

import warnings
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

try:
    import torch_scatter
except ImportError:  # an optional dependency that must be compiled
    torch_scatter = None

_forced: ContextVar[str | None] = ContextVar("forced_segment_backend", default=None)
_warned = False


def backend() -> str:
    """Return the backend of the segment reductions: "scatter" (torch-scatter) or "torch"."""
    forced = _forced.get()
    if forced is not None:
        return forced
    return "torch" if torch_scatter is None else "scatter"


@contextmanager
def force_backend(name: str) -> Generator[None]:
    """Use the named backend inside the `with` block, in this thread only.

    Gradients of what was computed inside follow the backend in force when they are computed.

    Raises:
        ValueError: If the name is unknown.
        ModuleNotFoundError: If "scatter" is asked for and torch-scatter is not installed.
    """
    if name not in ("scatter", "torch"):
        raise ValueError(f'backend must be "scatter" or "torch" (got {name!r})')
    if name == "scatter" and torch_scatter is None:
        raise ModuleNotFoundError(
            "torch-scatter is not installed; install it with "
            "`pip install torch-scatter --no-build-isolation` (after torch)"
        )
    token = _forced.set(name)
    try:
        yield
    finally:
        _forced.reset(token)


def uses_scatter() -> bool:
    """Return whether to call torch-scatter; the first time it is found missing, say so."""
    global _warned
    if backend() == "scatter":
        return True
    if _forced.get() is None and not _warned:
        _warned = True
        warnings.warn(
            "torch-scatter is not installed: segment reductions run on the pure-torch path. "
            "For torch-scatter's kernels: `pip install torch-scatter --no-build-isolation` (after torch).",
            UserWarning,
            stacklevel=2,
        )
    return False
