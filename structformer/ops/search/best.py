"""The best sources found so far, one row a target, to which candidates are offered again and again.

A source and its score are one integer: the score's bits, made to sort like numbers, above the complement
of the source's index. The largest integers of a row are then its best sources, lower indices first among
equal scores, and selecting them moves no second array. Scores are in single precision.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from structformer.ops.search import limits
from structformer.ops.search.select import ascending, upper

EMPTY = torch.iinfo(torch.int64).min
# The bits of −∞ in the order of numbers: what is no higher is no source.
_NOTHING = -0x7F800001


def encode(scores: Float[Tensor, "*shape"], cols: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """Join scores and sources; a source whose score is −∞ counts as none."""
    bits = scores.contiguous().view(torch.int32)
    # Halves of 64-bit numbers, the lower one first: every machine that torch runs on stores them so.
    halves = torch.empty(*bits.shape, 2, dtype=torch.int32, device=bits.device)
    halves[..., 0] = cols
    halves[..., 0].bitwise_not_()
    halves[..., 1] = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return halves.view(torch.int64)[..., 0]


def decode(codes: Int[Tensor, "*shape"], num_sources: int) -> Int[Tensor, "*shape"]:
    """Return the sources; `num_sources` where there is none."""
    halves = _halves(codes)
    return (~halves[..., 0]).masked_fill_(halves[..., 1] <= _NOTHING, num_sources).long()


def ranks(codes: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """Return integers in the order of the scores, within 32 bits."""
    return _halves(codes)[..., 1].long()


class Best:
    """The k best sources of every row, in any order, no source twice.

    Attributes:
        codes: `[rows, k]` sources with their scores; EMPTY where there is none yet.
        num_sources: Number of sources.
    """

    def __init__(self, num_rows: int, k: int, num_sources: int, device: torch.device) -> None:
        self.codes = torch.full((num_rows, k), EMPTY, device=device)
        self.num_sources = num_sources

    def offer(self, new: Int[Tensor, "rows offered"]) -> None:
        """Take in candidates with their scores; a source may be among them, or known, several times."""
        k = self.codes.shape[1]
        for rows in row_blocks(*new.shape):
            both = torch.cat([self.codes[rows], new[rows]], dim=1)
            # With source and score exchanged, the same source stands side by side.
            by_source = ascending(_exchange(both))
            source = _halves(by_source)[..., 1]
            again = source[:, 1:] == source[:, :-1]
            both = _exchange(by_source)
            both[:, 1:].masked_fill_(again, EMPTY)
            self.codes[rows] = upper(both, k)

    def offer_distinct(self, rows: slice, new: Int[Tensor, "rows offered"]) -> None:
        """Take in candidates for some rows; none is known already or stands twice."""
        both = torch.cat([self.codes[rows], new], dim=1)
        self.codes[rows] = upper(both, self.codes.shape[1])

    def sort(self) -> None:
        """Bring the best source of every row to the front."""
        for rows in row_blocks(*self.codes.shape):
            self.codes[rows] = ascending(self.codes[rows]).flip(1)

    def sources(self) -> Int[Tensor, "rows k"]:
        """Return the sources; `num_sources` where there is none."""
        return decode(self.codes, self.num_sources)


def row_blocks(num_rows: int, width: int) -> Iterator[slice]:
    """Cut rows into blocks of bounded size."""
    step = max(1, limits.CACHED // max(width, 1))
    for start in range(0, num_rows, step):
        yield slice(start, min(start + step, num_rows))


def _exchange(codes: Tensor) -> Tensor:
    return _halves(codes).flip(-1).view(torch.int64)[..., 0]


def _halves(codes: Tensor) -> Tensor:
    return codes.contiguous()[..., None].view(torch.int32)
