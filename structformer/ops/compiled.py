"""The compiled part of the package: which builds of it are here, and which one this processor can run.

The C++ files beside this one are built with the package, where there is a compiler with OpenMP, once for each set of
instructions. Everything that they do can be done without them, more slowly.
"""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Callable
from functools import cache
from typing import Any

import torch

# As in setup.py, fastest first; each needs one of what torch says that the processor is capable of.
BUILDS = {"x86_v4": ("AVX512",), "x86_v3": ("AVX512", "AVX2"), "any": None}


@torch.compiler.assume_constant_result
def available() -> bool:
    """Return whether the compiled kernels are here: they are if the package was built with a C++ compiler."""
    return _library() is not None


def kernel(name: str) -> Callable[..., Any]:
    """Return one of the compiled functions.

    Raises:
        RuntimeError: If there are none.
    """
    library = _library()
    if library is None:
        raise RuntimeError("structformer was installed without its compiled kernels")
    return getattr(library, f"structformer_{name}")


@cache
def loaded(build: str) -> ctypes.CDLL | None:
    """Load one of the builds; None if it is not here."""
    spec = importlib.util.find_spec(f"structformer.ops._compiled_{build}")
    return None if spec is None or spec.origin is None else ctypes.CDLL(spec.origin)


def runnable() -> list[str]:
    """Return the builds that are here and that this processor can run, fastest first."""
    able = torch.backends.cpu.get_cpu_capability()
    names = [name for name, needed in BUILDS.items() if needed is None or able in needed]
    return [name for name in names if loaded(name) is not None]


@cache
def _library() -> ctypes.CDLL | None:
    return next(map(loaded, runnable()), None)
