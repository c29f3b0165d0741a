"""Which kernels attention takes: one choice, by device, type and build, that users can see and set."""

from __future__ import annotations

import warnings
from functools import cache

import torch
from torch import Tensor

from structformer.ops import compiled, triton_attention
from structformer.ops.entmax import Normalizer, alpha_of


def attention_path(
    path: str | None,
    *tensors: Tensor,
    normalizer: Normalizer = "softmax",
    return_weights: bool = False,
) -> str:
    """Return the path that `sparse_attention` takes with these tensors.

    "triton" is one fused kernel on a GPU, for softmax whose weights nobody asks for; "fused" are compiled kernels
    for the CPU, in float32 or float64 (half precision is computed as float32), there if the package was built
    with a C++ compiler; "csr" multiplies sparse matrices, on a CPU, in the same types, with a torch that has MKL;
    "gather" is for any device, type and build.

    Args:
        path: What the user wants; None takes the first of the four that is possible, and no interpreter.
        *tensors: Query, key and value, and the bias if there is one.
        normalizer: As in `sparse_attention`.
        return_weights: As in `sparse_attention`.

    Raises:
        ValueError: If the path is unknown, or cannot serve; the message says what it needs.

    Examples:
        >>> attention_path(None, torch.randn(5, 2, 3), normalizer="sparsemax") in ("fused", "csr", "gather")
        True
    """
    if path not in ("triton", "fused", "csr", "gather", None):
        raise ValueError(f'path must be "triton", "fused", "csr", "gather" or None (got {path!r})')
    alpha = alpha_of(normalizer)
    fused = not isinstance(alpha, Tensor) and alpha == 1 and not return_weights
    if path in (None, "triton"):
        possible = fused and triton_attention.available(*tensors)
        if path == "triton" and not possible:
            raise ValueError(
                'path "triton" needs softmax, no return_weights, triton, and floats on a GPU '
                f"(got {normalizer!r}, return_weights={return_weights}, {_told(tensors)})"
            )
        if possible and (path == "triton" or all(x.device.type == "cuda" for x in tensors)):
            return "triton"
    return product_path(path, *tensors)


def product_path(path: str | None, *tensors: Tensor) -> str:
    """Return the path of `edge_dot` and `edge_sum`: "fused", "csr", or "gather".

    Raises:
        ValueError: If the path is unknown, or one is asked for where it cannot serve.
    """
    if path not in ("fused", "csr", "gather", None):
        raise ValueError(f'path must be "fused", "csr", "gather" or None (got {path!r})')
    serves = all(x.device.type == "cpu" and x.is_floating_point() for x in tensors)
    for name, there, needed in (
        ("fused", compiled.available, "kernels compiled with the package (a C++ compiler with OpenMP)"),
        ("csr", csr_available, "a build of torch with MKL"),
    ):
        if path not in (name, None):
            continue
        if serves and there():
            return name
        if path == name:
            raise ValueError(
                f'path "{name}" needs floats on the CPU and {needed} (got {_told(tensors)}); take "gather"'
            )
    return "gather"


def possible_paths() -> list[str]:
    """Return the paths that serve on the CPU here, fastest first."""
    there = {"fused": compiled.available(), "csr": csr_available(), "gather": True}
    return [path for path, possible in there.items() if possible]


@torch.compiler.assume_constant_result
def csr_available() -> bool:
    """Return whether this build of torch multiplies CSR matrices on the CPU (it needs MKL)."""
    return _csr_works()


@cache
def _csr_works() -> bool:
    if not torch.backends.mkl.is_available():
        return False
    # torch says once a process that CSR tensors are in beta. What is used here is checked by our own tests,
    # and a user who never asked for a CSR tensor cannot act on it: it is said here, unheard.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.eye(1).to_sparse_csr()
    return True


def _told(tensors: tuple[Tensor, ...]) -> str:
    return ", ".join(f"{x.dtype} on {x.device}" for x in tensors)
