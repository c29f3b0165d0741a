"""Which method searches a set."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from structformer.ops.search import limits
from structformer.ops.search.ivf import faiss_is_installed

METHODS = ("auto", "exact", "ivf", "lsh", "warm")


def search_method(
    targets: int | Sequence[int] | Int[Tensor, "sets"],
    k: int,
    sources: int | Sequence[int] | Int[Tensor, "sets"] | None = None,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    start: bool = False,
) -> list[str]:
    """Say which method `neighbors(..., method="auto")` takes for sets of the given sizes.

    Small sets are searched exactly, large ones from a known graph where there is one, else by FAISS where it
    is installed, else by random hashing; each set of a batch for itself. In double precision, in which
    predictions are made, even large sets are searched exactly: see `structformer.ops.search.limits`.

    Args:
        targets: Number of targets of each set.
        k: Sources wanted for each target.
        sources: Number of sources of each set; None is as many as targets.
        dtype: Type of the vectors.
        device: Type of the device they are on.
        start: Whether a graph to start from is given.

    Returns:
        One of "exact", "ivf", "lsh" and "warm" for each set.

    Examples:
        >>> search_method([64, 5_000], k=32)
        ['exact', 'exact']
        >>> search_method(1_000_000, k=32, start=True)
        ['warm']
    """
    num_targets = torch.atleast_1d(torch.as_tensor(targets))
    num_sources = num_targets if sources is None else torch.atleast_1d(torch.as_tensor(sources))
    large = method_of_large("auto", device, start)
    approximate = is_approximate("auto", large, num_targets, num_sources, k, dtype)
    return [large if this else "exact" for this in approximate.tolist()]


def is_approximate(
    method: str,
    large: str,
    num_targets: Int[Tensor, "sets"],
    num_sources: Int[Tensor, "sets"],
    k: int,
    dtype: torch.dtype,
) -> Tensor:
    """Tell which sets are searched not exactly but by the method `large`, `[sets]`."""
    smaller = torch.minimum(num_targets, num_sources)
    least = least_approximate(k)
    if method == "exact":
        return torch.zeros_like(smaller, dtype=torch.bool)
    if method == "auto":
        least = max(least, limits.CROSSOVER_DOUBLE if dtype == torch.float64 else limits.CROSSOVER[large])
    return smaller > least


def least_approximate(k: int) -> int:
    """Return the size up to which no method approximates: what is left out must be worth the trouble."""
    return max(limits.SMALL, 4 * k)


def method_of_large(method: str, device: str, start: bool) -> str:
    """Return what searches the sets that are not searched exactly."""
    if method != "auto":
        return method
    if start:
        return "warm"
    return "ivf" if device == "cpu" and faiss_is_installed() else "lsh"
