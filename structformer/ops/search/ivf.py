"""Approximate search by FAISS: an inverted file over k-means cells of the sources.

Johnson, Douze & Jégou 2017 (arXiv 1702.08734). How many cells a target looks into is measured, not guessed: it
grows until a sample of targets finds the wanted share of its exact neighbours.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from structformer.ops.search.exact import Search
from structformer.ops.search.hits import share_found
from structformer.ops.search.parts import Parts

# Targets on which the recall is measured; cells looked into at first, and by what they grow.
_SAMPLE, _FIRST_PROBES, _GROWTH = 512, 4, 1.25
# Sources given to k-means a cell, and its rounds: more do not find more.
_TRAINING, _KMEANS_ROUNDS = 64, 10
# Where only earlier sources count, so many times k are fetched, then so many times as many for the rest.
_OVERFETCH, _AGAIN = 3, 4


def faiss_is_installed() -> bool:
    """Tell whether method "ivf" can be used."""
    return importlib.util.find_spec("faiss") is not None


def ivf(parts: Parts, recall: float, generator: torch.Generator) -> Int[Tensor, "rows k"]:
    """Return sources for every target of all parts, one part after the other.

    Args:
        parts: What is searched, on the CPU.
        recall: Wanted share of the exact neighbours.
        generator: Where the sample and the seed of k-means come from.

    Returns:
        Sources in any order; `num_sources` where fewer than k were found.

    Raises:
        ModuleNotFoundError: If FAISS is not installed.
        ValueError: If the vectors are not on the CPU.
    """
    if parts.key.device.type != "cpu":
        raise ValueError(f'method "ivf" searches on the CPU (got vectors on {parts.key.device.type})')
    faiss = _load()
    found: list[Tensor] = []
    with _threads(faiss):
        for row, col in zip(parts.rows.tolist(), parts.cols.tolist(), strict=True):
            index = _build(faiss, parts.key[slice(*col)], generator)
            target = torch.arange(*row)
            _calibrate(index, parts, target, col, recall, generator)
            found.append(_search(index, parts, target, col))
    return torch.cat(found)


def _build(faiss: Any, key: Tensor, generator: torch.Generator) -> Any:
    """Cluster the keys into about 2√n cells."""
    num_cells = max(1, round(2 * math.sqrt(len(key))))
    index = faiss.IndexIVFFlat(
        faiss.IndexFlatIP(key.shape[1]), key.shape[1], num_cells, faiss.METRIC_INNER_PRODUCT
    )
    index.cp.niter, index.cp.max_points_per_centroid = _KMEANS_ROUNDS, _TRAINING
    index.cp.min_points_per_centroid = 1
    index.cp.seed = int(torch.randint(2**31 - 1, (), generator=generator, device=generator.device))
    index.train(key.contiguous().numpy())
    index.add(key.contiguous().numpy())
    return index


def _calibrate(
    index: Any, parts: Parts, target: Tensor, col: list[int], recall: float, generator: torch.Generator
) -> None:
    """Set how many cells are looked into: more until the recall exceeds the wanted by twice its error."""
    some = torch.randperm(len(target), generator=generator, device=generator.device)[:_SAMPLE].cpu()
    sample = target[some.sort().values]
    exact = exact_sources(parts, sample, col)
    index.nprobe = min(_FIRST_PROBES, index.nlist)
    while index.nprobe < index.nlist:
        found = _search(index, parts, sample, col)
        share = share_found(parts.query[sample], parts.key, found, exact)
        if share.mean() - 2 * share.std() / len(sample) ** 0.5 >= recall:
            return
        index.nprobe = min(math.ceil(_GROWTH * index.nprobe), index.nlist)


def exact_sources(parts: Parts, target: Tensor, col: list[int]) -> Tensor:
    """Return the exact sources of some targets of one part, in single precision."""
    rows, cols = torch.tensor([[0, len(target)]]), torch.tensor([col])
    search = Search(
        parts.query[target], parts.key, rows, cols, parts.k, parts.causal, parts.skip_self, False, target
    )
    return torch.cat([found.col for found in search.run()])


def _search(index: Any, parts: Parts, target: Tensor, col: list[int]) -> Tensor:
    """Return the k best sources found; where only earlier ones count, ask twice if need be."""
    fetch = min(parts.k * (_OVERFETCH if parts.causal else 1) + int(parts.skip_self), index.ntotal)
    found = _fetch(index, parts, target, col, fetch)
    if parts.causal:
        candidates = (target + 1 - col[0] - int(parts.skip_self)).clamp(max=parts.k)
        short = ((found < len(parts.key)).sum(1) < candidates).nonzero()[:, 0]
        if short.numel():
            found[short] = _fetch(index, parts, target[short], col, min(_AGAIN * fetch, index.ntotal))
    return found


def _fetch(index: Any, parts: Parts, target: Tensor, col: list[int], fetch: int) -> Tensor:
    _, places = index.search(parts.query[target].numpy(), fetch)
    places = torch.from_numpy(places)
    cols = (places + col[0]).masked_fill(places < 0, len(parts.key))
    if parts.causal or parts.skip_self:
        cols.masked_fill_(~parts.allowed(target[:, None], cols), len(parts.key))
        # FAISS returns the best first: the first k that may be listened to are wanted.
        there = cols < len(parts.key)
        keep = (~there).to(torch.uint8).argsort(dim=1, stable=True)[:, : parts.k]
        cols = cols.gather(1, keep)
    return cols


def _load() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of SWIG, whose types FAISS is made of
            return importlib.import_module("faiss")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'method "ivf" needs FAISS; install it with `pip install faiss-cpu` or `pip install "structformer[ivf]"`'
        ) from error


@contextmanager
def _threads(faiss: Any) -> Generator[None]:
    """Let FAISS use as many threads as torch does."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(torch.get_num_threads())
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
