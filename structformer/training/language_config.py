"""How long and how hard to train a language model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LanguageTrainingConfig:
    """Settings of training on text. How much of a text is read at once is the model's ``segment``.

    Attributes:
        updates: Steps of the optimizer.
        batch: Lanes of text that are read side by side.
        learning_rate: Peak of the learning-rate schedule (AdamW).
        weight_decay: Decoupled weight decay of matrices; biases, norms and embeddings have none.
        warmup: Share of the updates over which the learning rate rises from 0; a cosine falls after it.
        clip: Largest norm of the gradient.
        ponder: Factor on the steps that a token takes, in the loss of a model with a halting rule.
        seed: Decides dropout.
    """

    updates: int = 1000
    batch: int = 8
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    warmup: float = 0.1
    clip: float = 1.0
    ponder: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("updates", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1 (got {getattr(self, name)})")
        for name in ("learning_rate", "clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive (got {getattr(self, name)})")
        for name in ("weight_decay", "ponder"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative (got {getattr(self, name)})")
        if not 0 <= self.warmup <= 1:
            raise ValueError(f"warmup must be in [0, 1] (got {self.warmup})")
