"""Dropout that takes the same features from every token of a set, in every step."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from structformer.ops.segment import row_index


class SetDropout:
    """Masks of one pass over a batch of sets: drawn once for each place in the model, and used again in every step.

    Recurrent networks are trained so that the same units are missing in all steps (Gal and Ghahramani 2016,
    arXiv 1512.05287, section 4); here they are missing in all tokens of a set as well. What is left of two tokens can
    then still be compared, feature by feature: dropping features of each token alone would make equals look unlike.

    Args:
        p: Probability of dropping a feature.
        ptr: Boundaries of the sets.
        tokens: How many tokens there are.

    Examples:
        >>> import torch
        >>> drop = SetDropout(0.5, torch.tensor([0, 2, 3]), 3)
        >>> once = drop(torch.ones(3, 8), "attention")
        >>> torch.equal(once[0], once[1]), torch.equal(once, drop(torch.ones(3, 8), "attention"))
        (True, True)
    """

    def __init__(self, p: float, ptr: Int[Tensor, "pointers"], tokens: int) -> None:
        self.p = p
        self.sets = len(ptr) - 1
        self.owner = row_index(ptr, tokens)
        self.masks: dict[str, Float[Tensor, "sets features"]] = {}

    def __call__(self, x: Float[Tensor, "tokens features"], place: str) -> Float[Tensor, "tokens features"]:
        """Return the states without what is dropped at this place, scaled so that their mean stays."""
        if place not in self.masks:
            kept = torch.rand(self.sets, x.shape[1], dtype=x.dtype, device=x.device) >= self.p
            self.masks[place] = kept.to(x.dtype) / (1 - self.p)
        return x * self.masks[place][self.owner]
