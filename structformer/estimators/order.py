"""An order of tokens and of sets that depends on what they hold, not on where they stand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int, Real
from torch import Tensor

from structformer.tokens import TokenSet

ROUNDS = 8
"""Times that a token's colour is refined by those of its neighbours."""


def canonical(
    tokens: TokenSet, target: Real[np.ndarray, "things ..."], names: Sequence[str] | None = None
) -> tuple[TokenSet, Int[Tensor, " tokens"], Int[Tensor, " sets"]]:
    """Put the tokens of each set, and the sets, in an order of their own.

    Training in this order gives the same model however the data was shuffled: sums of floating-point numbers
    depend on the order of their terms, and in training small differences grow. A token's colour is a hash of its
    features, refined along the edges as in Weisfeiler and Leman's test (1968); tokens of one colour are, but for
    contrived graphs, interchangeable.

    Args:
        tokens: The packed sets.
        target: One row a token or a set, by its length, that is part of what they hold.
        names: One name a token, by which interchangeable tokens are told apart after all; without names
            they stay in the order in which they came.

    Returns:
        The sets in their new order, the old place of each token, and the old place of each set.
    """
    by_set = len(target) == tokens.num_sets
    colour = _hash_rows(tokens.x)
    if tokens.token_type is not None:
        colour = _mix(colour + _hash_rows(tokens.token_type[:, None]))
    label = _hash_rows(torch.from_numpy(np.ascontiguousarray(target)).reshape(len(target), -1))
    if not by_set:
        colour = _mix(colour + label)
    if tokens.edge_index is not None:
        colour = _refined(colour, tokens)
    set_index = tokens.set_index.numpy()
    last = np.zeros(len(colour)) if names is None else np.unique(names, return_inverse=True)[1]
    inside = torch.from_numpy(np.lexsort((last, colour, set_index)))
    shape = np.zeros(tokens.num_sets, dtype=np.uint64)
    np.add.at(shape, set_index, _mix(colour))
    if by_set:
        shape = _mix(shape + label)
    sets = torch.from_numpy(np.argsort(shape, kind="stable"))
    place = TokenSet(x=torch.zeros(tokens.num_tokens, 1), ptr=tokens.ptr, token_place=inside).select(sets)
    return tokens.permute(inside).select(sets), place["token_place"], sets


def _refined(colour: np.ndarray, tokens: TokenSet) -> np.ndarray:
    assert tokens.edge_index is not None
    source, target = tokens.edge_index.numpy()
    edge = np.zeros(len(source), dtype=np.uint64)
    if tokens.edge_attr is not None:
        edge = _hash_rows(tokens.edge_attr)
    for _ in range(ROUNDS):
        heard, said = np.zeros_like(colour), np.zeros_like(colour)
        np.add.at(heard, target, _mix(colour[source] + edge))
        np.add.at(said, source, _mix(colour[target] + edge))
        colour = _mix(colour + _mix(heard) + _mix(_mix(said)))
    return colour


def _hash_rows(values: Tensor) -> np.ndarray:
    """One 64-bit number a row, the same for the same values; −0 counts as 0."""
    numbers = (values.detach().cpu().double() + 0.0).numpy().view(np.uint64)
    colour = np.full(len(numbers), 0x9E3779B97F4A7C15, dtype=np.uint64)
    for column in numbers.T:
        colour = _mix(colour + _mix(column))
    return colour


def _mix(x: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser: every bit of the result depends on every bit of ``x``; wraps around."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
