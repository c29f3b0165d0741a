"""How long and how hard to train."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of the training loop.

    Attributes:
        epochs: Most passes over the data.
        learning_rate: Peak of the learning-rate schedule (AdamW).
        weight_decay: Decoupled weight decay of matrices; biases, norms and embeddings have none.
        warmup: Share of the planned steps over which the learning rate rises from 0; a cosine falls after it.
        clip: Largest norm of the gradient.
        patience: Epochs without a better validation score before stopping; None never stops early.
        max_time: Seconds after which training stops at the end of a step; None is no limit.
        precision: "no", "fp16" or "bf16" (accelerate's mixed precision).
        device: "auto" takes an accelerator when there is one; "cpu" does not.
        average: Decay of the exponential moving average of the weights that is validated and kept; 0 keeps
            the weights themselves.
    """

    epochs: int = 100
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    warmup: float = 0.1
    clip: float = 1.0
    patience: int | None = 20
    max_time: float | None = None
    precision: str = "no"
    device: str = "auto"
    average: float = 0.0

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ValueError(f"epochs must be at least 1 (got {self.epochs})")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be positive (got {self.learning_rate})")
        if not self.weight_decay >= 0:
            raise ValueError(f"weight_decay must not be negative (got {self.weight_decay})")
        if not 0 <= self.warmup <= 1:
            raise ValueError(f"warmup must be in [0, 1] (got {self.warmup})")
        if not self.clip > 0:
            raise ValueError(f"clip must be positive (got {self.clip})")
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"patience must be at least 1 or None (got {self.patience})")
        if self.max_time is not None and not self.max_time > 0:
            raise ValueError(f"max_time must be positive seconds or None (got {self.max_time})")
        if self.precision not in ("no", "fp16", "bf16"):
            raise ValueError(f'precision must be "no", "fp16" or "bf16" (got {self.precision!r})')
        if self.device not in ("auto", "cpu"):
            raise ValueError(f'device must be "auto" or "cpu" (got {self.device!r})')
        if not 0 <= self.average < 1:
            raise ValueError(f"average must be in [0, 1) (got {self.average})")
