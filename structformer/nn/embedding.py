"""Embeddings: from the raw features of tokens, or from the cells of a table, to the model's width."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from rtdl_num_embeddings import PiecewiseLinearEmbeddings
from torch import Tensor, nn

from structformer.graph import TokenGraph
from structformer.nn.dropout import Dropout
from structformer.nn.linear import Linear
from structformer.nn.sparse_features import sparse_linear
from structformer.tokenize.columns import Column


def piecewise_linear(bins: Sequence[Sequence[float]], width: int) -> PiecewiseLinearEmbeddings:
    """Return a learned piecewise-linear embedding a number (arXiv 2203.05556, as in TabM, 2410.24210).

    Args:
        bins: For each numeric feature its bin edges, ascending, at least two.
        width: Features of one embedded number.
    """
    edges = [torch.tensor(edge, dtype=torch.float32) for edge in bins]
    with warnings.catch_warnings():
        # One bin for a two-valued number is what is wanted.
        warnings.filterwarnings("ignore", message=".*just two bin edges", category=UserWarning)
        return PiecewiseLinearEmbeddings(edges, width, activation=False, version="B")


class CellEmbedding(nn.Module):
    """Embed the cells of a table: column identity ⊕ value.

    A cell token is the sum of a vector for its column and one for its value: for a number a piecewise-linear
    function of its own, for a category a vector, for a text a linear map of its hashed n-grams. Missing
    (code 0) has a vector of its own in every column; an unseen category (code 1) reads as such.

    Args:
        columns: The columns of the table, in the order of the cells of a row.
        width: Features of a token, D.
        bins: Pieces of the function of a number.
        text_features: Features of an embedded text.
    """

    HIDDEN = 0.02

    _numeric: Tensor
    _categorical: Tensor
    _text: Tensor
    _offsets: Tensor

    def __init__(
        self, columns: Sequence[Column], width: int, bins: int = 16, text_features: int = 256
    ) -> None:
        super().__init__()
        self.num_columns = len(columns)
        kinds: dict[str, list[int]] = {"numeric": [], "categorical": [], "text": []}
        for place, column in enumerate(columns):
            kinds[column.kind].append(place)
        for kind, places in kinds.items():
            self.register_buffer(f"_{kind}", torch.tensor(places, dtype=torch.long), persistent=False)
        self.identity = nn.Parameter(torch.randn(self.num_columns, width) / math.sqrt(width))
        # At zero, a column that missed no cell in training reads a missing one as neither high nor low.
        self.missing = nn.Parameter(torch.zeros(self.num_columns, width))
        edges = [columns[i].quantile_bins(bins).tolist() for i in kinds["numeric"]]
        self.numeric = piecewise_linear(edges, width) if edges else None
        sizes = [columns[i].cardinality for i in kinds["categorical"]]
        offsets = torch.tensor([0, *sizes]).cumsum(0)[:-1]
        self.register_buffer("_offsets", offsets, persistent=False)
        self.category = nn.Embedding(sum(sizes), width) if sizes else None
        self.text = Linear(text_features, width, bias=False) if kinds["text"] else None
        if self.category is not None:
            nn.init.normal_(self.category.weight, std=1 / math.sqrt(width))
        if self.text is not None:  # text vectors have length 1
            nn.init.normal_(self.text.weight, std=1 / math.sqrt(width))

    def forward(
        self,
        x: Float[Tensor, "cells 1"],
        code: Int[Tensor, " cells"],
        text: Float[Tensor, "strings features"] | None = None,
    ) -> Float[Tensor, "cells width"]:
        """Return one vector a cell; cells are laid out row by row, all columns of a row together."""
        value, kind = x.view(-1, self.num_columns), code.view(-1, self.num_columns)
        out = self.identity.expand(len(value), -1, -1).clone()
        if self.numeric is not None:
            out = _add(out, self._numeric, self.numeric(value[:, self._numeric]))
        if self.category is not None:
            categories = kind[:, self._categorical]
            if self.training:
                # "Unseen" never occurs in training data, so a few categories are hidden behind it.
                hidden = torch.rand(categories.shape, device=x.device) < self.HIDDEN
                categories = categories.masked_fill(hidden, 1)
            out = _add(out, self._categorical, self.category(categories + self._offsets))
        if self.text is not None:
            if text is None:
                raise ValueError("text is missing: the table has text columns")
            out = _add(out, self._text, self.text(text)[kind[:, self._text]])
        missing = (kind == 0)[..., None]
        return torch.where(missing, self.identity + self.missing, out).flatten(0, 1)


def _add(
    out: Float[Tensor, "rows columns width"],
    places: Int[Tensor, " some"],
    value: Float[Tensor, "rows some width"],
) -> Float[Tensor, "rows columns width"]:
    # In mixed precision a linear map gives shorter numbers, which index_add does not take.
    return out.index_add(1, places, value.to(out.dtype))


class FeatureEmbedding(nn.Module):
    """Embed dense token features: a linear map, a piecewise-linear part for few features, a token type.

    Args:
        num_features: Features of a raw token, F.
        width: Features of an embedded token, D.
        bins: For each feature its bin edges; None leaves the piecewise-linear part out. Features with
            fewer than two edges have only the linear map.
        token_types: Kinds of tokens, each with a vector of its own.
        dropout: Probability of dropping a raw feature.
    """

    _sloped: Tensor

    def __init__(
        self,
        num_features: int,
        width: int,
        bins: Sequence[Sequence[float]] | None = None,
        token_types: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if bins is not None and len(bins) != num_features:
            raise ValueError(f"bins must be given for each of {num_features} features (got {len(bins)})")
        self.linear = Linear(num_features, width)
        self.dropout = Dropout(dropout)
        self.token_type = nn.Embedding(token_types, width) if token_types > 1 else None
        sloped = [i for i, edges in enumerate(bins or ()) if len(edges) > 1]
        self.register_buffer("_sloped", torch.tensor(sloped, dtype=torch.long), persistent=False)
        self.numeric, self.mix = None, None
        if bins is not None and sloped:
            each = max(8, width // 4)
            self.numeric = piecewise_linear([bins[i] for i in sloped], each)
            self.mix = nn.Sequential(
                Linear(len(sloped) * each, 2 * width), nn.GELU(), Linear(2 * width, width)
            )

    def forward(
        self,
        x: Float[Tensor, "tokens features"],
        token_type: Int[Tensor, " tokens"] | None = None,
        sparse: TokenGraph | None = None,
    ) -> Float[Tensor, "tokens width"]:
        """Return one vector a token.

        Args:
            x: Features.
            token_type: What kind of token each is.
            sparse: The same features as `sparse_features` returns them, where that is faster.
        """
        if sparse is None:
            out = self.linear(self.dropout(x))
        else:
            out = sparse_linear(sparse, self.linear.weight, self.linear.bias, self.dropout)
        if self.numeric is not None and self.mix is not None:
            out = out + self.mix(self.numeric(x[:, self._sloped]).flatten(1))
        if self.token_type is not None and token_type is not None:
            out = out + self.token_type(token_type)
        return out
