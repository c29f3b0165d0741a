"""RWKV-7: a recurrent network whose state is a matrix a head, changed at rates that the text itself sets."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from .rotary import from_heads, to_heads
from .rwkv7_recurrence import CHUNK, FASTEST, LONGEST, rwkv7_chunks
from .text import Mixer, TextConfig, TextModel


@dataclass(frozen=True)
class RWKV7Config:
    """What RWKV-7 has beside what the arms share.

    Attributes:
        rank: Features between the two maps that make decay, rate, value mix and gate; None is the authors' choice for
            each of them, at least 32, see `authors_rank`.
        chunk: Tokens that are worked on at once.
    """

    rank: int | None = None
    chunk: int = CHUNK

    def __post_init__(self) -> None:
        if self.rank is not None and self.rank < 1:
            raise ValueError(f"rank must be at least 1, or None (got {self.rank})")
        if not 1 <= self.chunk <= LONGEST:
            raise ValueError(f"chunk must be at least 1 and at most {LONGEST} (got {self.chunk})")


def authors_rank(width: int, scale: float) -> int:
    """Return scale · √width as the next multiple of 32, at least 32: what the authors' training code suggests."""
    return max(32, round(scale * math.sqrt(width) / 32) * 32)


class LowRank(nn.Module):
    """b + act(x W₁) W₂ with few features between; at first it is the same for all x.

    The matrices are no `nn.Linear`, as those lose weight in training and the authors' low-rank maps do not.

    Args:
        width: Features of a token.
        rank: Features between.
        act: What they go through; None is nothing.
        bias: What b begins as; None is no b.
    """

    def __init__(
        self, width: int, rank: int, act: Callable[[Tensor], Tensor] | None = None, bias: Tensor | None = None
    ) -> None:
        super().__init__()
        self.act = act
        self.inner, self.outer = (
            nn.Parameter(torch.zeros(width, rank)),
            nn.Parameter(torch.empty(rank, width)),
        )
        nn.init.orthogonal_(self.outer, gain=0.1 * max(1.0, math.sqrt(rank / width)))
        self.bias = None if bias is None else nn.Parameter(bias)

    def forward(self, x: Float[Tensor, "batch length width"]) -> Float[Tensor, "batch length width"]:
        """Return the sum."""
        inner = x @ self.inner
        out = (inner if self.act is None else self.act(inner)) @ self.outer
        return out if self.bias is None else out + self.bias


class TimeMixing(Mixer):
    """The time mixing of RWKV-7 (Peng et al. 2025, arXiv 2503.14456, section 4.1).

    Each part is made from x_t + μ ⊙ (x_{t−1} − x_t), with a μ of its own (the token shift): r, k and v by linear maps,
    the decay w = exp(−σ(d)/√e), the rate a, and the gate g by maps of low rank. With κ = k ⊙ ξ, of length 1 in each
    head, and k̃ = k ⊙ (1 + (a − 1) ⊙ α), the state is read as `rwkv7_recurrence` says. Then
    out = W_o (g ⊙ (norm(S r) + ⟨r, ρ ⊙ k̃⟩ v)), where the second term, the bonus, looks at the token itself. From the
    second layer on v is mixed with the first layer's v. Parameters begin as in the authors' training code,
    which besides has the bias of the decay learn twice as fast as all others.

    Args:
        config: What the arms share.
        own: What only RWKV-7 has.
        layer: This layer's number, from 0.
    """

    PARTS = ("receptance", "decay", "key", "value", "rate", "gate")
    # How fast μ falls over the channels, part by part.
    SHIFTS = (0.2, 0.9, 0.7, 0.7, 0.9, 0.2)
    # What `authors_rank` scales by.
    RANKS: ClassVar = {"decay": 2.5, "rate": 2.5, "mix": 1.7, "gate": 5.0}

    def __init__(self, config: TextConfig, own: RWKV7Config, layer: int) -> None:
        super().__init__()
        width, heads = config.width, config.heads
        self.heads, self.channels, self.chunk = heads, config.channels, own.chunk
        upward, downward = layer / max(1, config.layers - 1), 1 - layer / config.layers
        place = torch.arange(width) / width
        self.shift = nn.Parameter(torch.stack([1 - place ** (power * downward) for power in self.SHIFTS]))
        self.receptance, self.key, self.value, self.output = (
            nn.Linear(width, width, bias=False) for _ in range(4)
        )
        for part, scale in ((self.receptance, 0.5), (self.key, 0.05), (self.value, 0.5)):
            nn.init.uniform_(part.weight, -scale / math.sqrt(width), scale / math.sqrt(width))
        nn.init.zeros_(self.output.weight)

        ramp = torch.linspace(0, 1, width)
        bow = torch.linspace(-1, 1, config.channels).repeat(heads)
        bow = bow * bow.abs()
        decay = 6 * ramp ** (1 + upward**0.3) - 5.5 + 2.5 * bow
        rank = {name: own.rank or authors_rank(width, scale) for name, scale in self.RANKS.items()}
        self.decay = LowRank(width, rank["decay"], torch.tanh, bias=decay)
        self.rate = LowRank(width, rank["rate"], bias=0.3 * bow + 0.4 * (ramp - 0.5) - 0.19)
        self.mix = LowRank(width, rank["mix"], bias=0.73 - 0.4 * (ramp - 0.5)) if layer else None
        self.gate = LowRank(width, rank["gate"], torch.sigmoid)
        self.removal = nn.Parameter(0.71 - 0.1 * (ramp - 0.5))
        self.relief = nn.Parameter(torch.full((width,), 1.02))
        self.bonus = nn.Parameter(torch.full((heads, 1, config.channels), -0.04))
        self.norm = nn.GroupNorm(heads, width, eps=64e-5)
        nn.init.constant_(self.norm.weight, ((layer + 1) / config.layers) ** 0.7)

    @property
    def state_size(self) -> int:
        """Numbers a sequence that are kept to go on from: a matrix a head, and the last token for the shift."""
        return self.heads * self.channels**2 + self.heads * self.channels

    def forward(
        self, x: Float[Tensor, "batch length width"], first: Tensor | None = None
    ) -> tuple[Float[Tensor, "batch length width"], Tensor | None]:
        """Return what each token heard, and the first layer's values."""
        before = F.pad(x, (0, 0, 1, 0))[:, :-1]
        shifted = dict(zip(self.PARTS, x + self.shift[:, None, None] * (before - x), strict=True))
        log_decay = -self.decay(shifted["decay"]).sigmoid() * FASTEST
        rate = self.rate(shifted["rate"]).sigmoid()
        key, value = self.key(shifted["key"]), self.value(shifted["value"])
        if self.mix is not None and first is not None:
            value = torch.lerp(value, first, self.mix(shifted["value"]).sigmoid())
        first = value if first is None else first

        removal = F.normalize(to_heads(key * self.removal, self.heads), dim=-1)
        key = to_heads(key * (1 + (rate - 1) * self.relief), self.heads)
        receptance, log_decay, rate, value = (
            to_heads(part, self.heads)
            for part in (self.receptance(shifted["receptance"]), log_decay, rate, value)
        )
        heard = rwkv7_chunks(receptance, log_decay, removal, rate, key, value, self.chunk)
        bonus = (receptance * self.bonus * key).sum(-1, keepdim=True) * value
        heard = self.norm(from_heads(heard).flatten(0, 1)).view_as(x) + from_heads(bonus)
        return self.output(heard * self.gate(shifted["gate"])), first


class RWKV7(TextModel):
    """RWKV-7's time mixing (Peng et al. 2025, arXiv 2503.14456) with the arms' feed-forward network.

    Args:
        config: What the arms share.
        own: What only this one has; None is its defaults.
    """

    def __init__(self, config: TextConfig, own: RWKV7Config | None = None) -> None:
        own = RWKV7Config() if own is None else own
        super().__init__(config, [TimeMixing(config, own, layer) for layer in range(config.layers)])
