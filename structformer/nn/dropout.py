"""Dropout as a layer."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from structformer.ops.dropout import dropout


class Dropout(nn.Dropout):
    """`torch.nn.Dropout`, several times faster on the CPU; see `structformer.ops.dropout`.

    Args:
        p: Probability that a number is set to zero in training.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__(p)

    def forward(self, input: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return the numbers with some of them dropped in training, as they are otherwise."""
        return dropout(input, self.p, self.training)
