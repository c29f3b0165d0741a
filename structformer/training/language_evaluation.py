"""How well a language model foretells a text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn import functional as F

from structformer.models.language import ReSSFormerLM
from structformer.models.language_state import LanguageState


@dataclass(frozen=True)
class LanguageScore:
    """How well a text was foretold.

    Attributes:
        nats: Negative log-likelihood, summed over all tokens.
        tokens: Tokens that were foretold.
        num_bytes: Bytes of the text.
    """

    nats: float
    tokens: int
    num_bytes: int

    @property
    def bits_per_byte(self) -> float:
        """Bits a byte; compares between models with different tokens."""
        return self.nats / math.log(2) / self.num_bytes

    @property
    def perplexity(self) -> float:
        """Perplexity a token: among how many equally probable tokens the model wavers."""
        # A model that diverged is infinitely perplexed; math.exp would refuse to say so.
        return math.inf if self.nats / self.tokens > 709 else math.exp(self.nats / self.tokens)


@torch.no_grad()
def evaluate_language(
    model: ReSSFormerLM, documents: Sequence[Int[Tensor, "_"]], num_bytes: int
) -> LanguageScore:
    """Let a model foretell documents, each from its own beginning, with memory carried from segment to segment.

    One document is read at a time, in one lane and in segments of the model's length: the result depends on no
    size of a batch.

    Args:
        model: A causal model; it is left in the mode it was in.
        documents: Tokens of each, at least two: the first is foretold by nothing.
        num_bytes: Bytes of their text, the first tokens left out.

    Raises:
        ValueError: If the model is not causal, there are no documents, one is too short, or ``num_bytes`` is less
            than 1.
    """
    if not model.config.causal:
        raise ValueError("model must be causal: a masked model foretells no next token")
    if num_bytes < 1:
        raise ValueError(f"num_bytes must be at least 1 (got {num_bytes})")
    if not documents or min(map(len, documents)) < 2:
        got = f"one of {min(map(len, documents))}" if documents else "no document"
        raise ValueError(f"documents must have at least 2 tokens each (got {got})")
    device, training = model.embedding.weight.device, model.training
    model.eval()
    try:
        nats = math.fsum(loss for ids in documents for loss in _losses(model, ids.to(device)))
    finally:
        model.train(training)
    return LanguageScore(nats, sum(len(ids) - 1 for ids in documents), num_bytes)


def _losses(model: ReSSFormerLM, ids: Int[Tensor, "tokens"]) -> list[float]:
    """Return the negative log-likelihood of each segment of a document."""
    found: list[float] = []
    state: LanguageState | None = None
    inputs, targets = (x.split(model.config.segment) for x in (ids[:-1], ids[1:]))
    for read, target in zip(inputs, targets, strict=True):
        output = model(read, state=None if state is None else model.next_segment(state))
        found.append(float(F.cross_entropy(output.logits.double(), target, reduction="sum")))
        state = output.state
    return found
