"""Better sources by way of those already found: targets that share a source have others in common.

After Dong et al. 2011 (NN-descent), in a form that needs no distance among targets or among sources: a
target's friends are the targets that listen to its own sources and, where sources are targets, these
sources themselves. What its friends listen to are its candidates.
"""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from structformer.graph import TokenGraph
from structformer.ops.linear_maps import edge_dot
from structformer.ops.search.best import EMPTY, Best, encode, ranks, row_blocks
from structformer.ops.search.parts import Parts
from structformer.ops.search.select import ascending, order

# Own sources that are friends; own sources whose listeners are friends, and how many listeners each;
# best sources of every friend that become candidates.
_SOURCES, _HEARD, _LISTENERS, _TAKEN = 8, 4, 2, 24


def descend(parts: Parts, target: Int[Tensor, "rows"], best: Best) -> None:
    """Offer every target what its friends listen to, once."""
    best.sort()
    heard = best.sources()
    num_rows, num_sources = len(target), best.num_sources
    listeners = _listeners(best, heard[:, : 2 * _SOURCES], num_sources)
    row_of = target.new_full((num_sources + 1,), num_rows)
    if parts.is_square:
        row_of[target] = torch.arange(num_rows, device=target.device)
    taken = torch.cat([heard[:, :_TAKEN], heard.new_full((1, min(_TAKEN, heard.shape[1])), num_sources)])
    width = (_SOURCES * parts.is_square + _HEARD * _LISTENERS) * _TAKEN
    for rows in row_blocks(num_rows, width):
        friends = [listeners[heard[rows, :_HEARD]].flatten(1)]
        if parts.is_square:
            friends.append(row_of[heard[rows, :_SOURCES]])
        candidates = taken[torch.cat(friends, dim=1)].flatten(1)
        fresh = _fresh(candidates, heard[rows], num_sources)
        fresh.masked_fill_(~parts.allowed(target[rows, None], fresh), num_sources)
        best.offer_distinct(rows, score(parts, target[rows], fresh))


def score(parts: Parts, target: Int[Tensor, "rows"], cols: Int[Tensor, "rows places"]) -> Tensor:
    """Return candidates with their scores; places that hold no source become EMPTY."""
    there = cols < len(parts.key)
    rowptr = torch.cat([target.new_zeros(1), there.sum(1).cumsum(0)])
    graph = TokenGraph(rowptr, cols[there], len(parts.key))
    scores = edge_dot(parts.query[target][:, None], parts.key[:, None], graph)[:, 0]
    codes = torch.full_like(cols, EMPTY)
    codes[there] = encode(scores, graph.col)
    return codes


def _fresh(candidates: Tensor, known: Tensor, num_sources: int) -> Tensor:
    """Blank candidates that stand twice or are known, and bring what is left into ascending order."""
    both = torch.cat([2 * candidates + 1, 2 * known], dim=1)
    # Half as many bits sort in half the time.
    both = ascending(both.int() if num_sources < 2**30 else both)
    source = both >> 1
    stale = both & 1 == 0
    stale[:, 1:] |= source[:, 1:] == source[:, :-1]
    return source.masked_fill_(stale, num_sources).long()


def _listeners(best: Best, heard: Tensor, num_sources: int) -> Tensor:
    """Return the rows that score best with each source, `[sources + 1, _LISTENERS]`; none is `rows`."""
    num_rows, width = heard.shape
    ordered = ranks(best.codes[:, :width])
    # By source, then by falling score; equal ones keep the order of rows.
    place = order((heard << 32 | (2**31 - 1 - ordered)).flatten())
    source = heard.flatten()[place]
    count = torch.bincount(source, minlength=num_sources + 1)
    number = torch.arange(len(source), device=source.device) - (count.cumsum(0) - count)[source]
    keep = (number < _LISTENERS) & (source < num_sources)
    out = heard.new_full((num_sources + 1, _LISTENERS), num_rows)
    out[source[keep], number[keep]] = place[keep] // width
    return out
