"""The position-wise feed-forward block."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from structformer.nn.dropout import Dropout
from structformer.nn.linear import Linear
from structformer.nn.set_dropout import SetDropout
from structformer.ops.geglu import geglu
from structformer.ops.linear import linear


class FeedForward(nn.Module):
    """Gated feed-forward network (GEGLU; Shazeer 2020, arXiv 2002.05202), applied to each token alone.

    Args:
        width: Features of a token, D.
        expansion: Hidden features as a multiple of ``width``.
        dropout: Probability of dropping a hidden feature.
    """

    def __init__(self, width: int, expansion: float = 2.0, dropout: float = 0.0) -> None:
        super().__init__()
        hidden = max(1, round(width * expansion))
        self.inner = Linear(width, 2 * hidden)
        self.outer = Linear(hidden, width)
        self.dropout = Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "tokens width"], drop: SetDropout | None = None
    ) -> Float[Tensor, "tokens width"]:
        """Return W_o (a ⊙ gelu(b)) with [a, b] = W_i x; ``drop`` takes hidden features from whole sets."""
        # Two products in place of one and its halves, whose gradients would have to be put together again.
        weights, biases = self.inner.weight.chunk(2), self.inner.bias.chunk(2)
        value, gate = (linear(x, *half) for half in zip(weights, biases, strict=True))
        hidden = self.dropout(geglu(value, gate))
        return self.outer(hidden if drop is None else drop(hidden, "hidden"))
