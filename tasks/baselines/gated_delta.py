"""Gated DeltaNet: a matrix that forgets as a whole and overwrites what stood under a key."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from .chunks import from_chunks, states_before, to_chunks
from .rotary import from_heads, to_heads
from .text import CausalConvolution, Mixer, TextConfig, TextModel

CHUNK = 32


@dataclass(frozen=True)
class GatedDeltaConfig:
    """What Gated DeltaNet has beside what the arms share.

    Attributes:
        convolution: Tokens that the short convolutions of q, k and v see, as the authors have it; 0 is none.
        expansion: Value features of a head as a multiple of its key features; the authors take 2, 1 makes its
            states as large as those of the other arms.
        negative: Whether β reaches 2 instead of 1, so that a state can change its sign, without which parity cannot be
            kept track of (Grazzi et al. 2024, arXiv 2411.12537). The paper has no such thing.
    """

    convolution: int = 4
    expansion: int = 1
    negative: bool = False

    def __post_init__(self) -> None:
        if self.convolution < 0:
            raise ValueError(f"convolution must be at least 0 (got {self.convolution})")
        if self.expansion < 1:
            raise ValueError(f"expansion must be at least 1 (got {self.expansion})")


def gated_delta_recurrence(
    query: Float[Tensor, "batch heads length channels"],
    key: Float[Tensor, "batch heads length channels"],
    value: Float[Tensor, "batch heads length values"],
    log_decay: Float[Tensor, "batch heads length"],
    rate: Float[Tensor, "batch heads length"],
) -> Float[Tensor, "batch heads length values"]:
    """Return o_t = S_t q_t token by token (Yang et al. 2025, arXiv 2412.06464, section 3.1).

    S_t = α_t S_{t−1} (I − β_t k_t k_tᵀ) + β_t v_t k_tᵀ, from zeros.

    Args:
        query: q.
        key: k, of length 1.
        value: v.
        log_decay: log α, at most 0.
        rate: β, from 0 to 2: at 1 what stands under k is replaced, beyond it changes its sign.
    """
    same = torch.eye(key.shape[-1], dtype=key.dtype, device=key.device)
    state, out = value.new_zeros(*value.shape[:2], value.shape[3], key.shape[3]), []
    tokens = zip(*(x.unbind(2) for x in (query, key, value, log_decay.exp(), rate)), strict=True)
    for q, k, v, alpha, beta in tokens:
        alpha, beta, row = alpha[..., None, None], beta[..., None, None], k[..., None, :]
        state = alpha * state @ (same - beta * row.mT * row) + beta * v[..., None] * row
        out.append((state @ q[..., None]).squeeze(-1))
    return torch.stack(out, dim=2)


def gated_delta(
    query: Float[Tensor, "batch heads length channels"],
    key: Float[Tensor, "batch heads length channels"],
    value: Float[Tensor, "batch heads length values"],
    log_decay: Float[Tensor, "batch heads length"],
    rate: Float[Tensor, "batch heads length"],
    chunk: int = CHUNK,
) -> Float[Tensor, "batch heads length values"]:
    """Return the same as `gated_delta_recurrence`, a chunk of tokens at a time (the paper's section 3.3).

    With γ_t the decay since the chunk began and S its state there, u_t, what token t writes under its key, solves
    u_t = β_t (v_t − γ_t S k_t − Σ_{s<t} γ_t/γ_s ⟨k_t, k_s⟩ u_s), a unit lower triangular system, linear in S. So
    all chunks are solved at once, and only the states between them are computed one after the other.
    """
    length = query.shape[2]
    chunk = min(chunk, length)
    query, key, value = (to_chunks(x, chunk) for x in (query, key, value))
    log_gamma, beta = (to_chunks(x[..., None], chunk) for x in (log_decay, rate))
    log_gamma = log_gamma.cumsum(3)
    # Differences of logarithms: quotients of small γ could overflow.
    ratio = (log_gamma - log_gamma.mT).masked_fill(_later(chunk, query.device), -torch.inf).exp()
    gamma, to_end = log_gamma.exp(), (log_gamma[..., -1:, :] - log_gamma).exp()
    system = (beta * ratio * (key @ key.mT)).tril(-1)
    right = torch.cat([beta * value, beta * gamma * key], dim=-1)
    solved = torch.linalg.solve_triangular(system, right, upper=False, unitriangular=True)
    fresh, read = solved.split([value.shape[-1], key.shape[-1]], dim=-1)
    written = (to_end * key).mT
    whole = torch.eye(key.shape[-1], dtype=key.dtype, device=key.device) * gamma[..., -1:, :]
    state = states_before(whole - written @ read, written @ fresh)
    update = fresh - read @ state
    return from_chunks((gamma * query) @ state + (ratio * (query @ key.mT)) @ update, length)


def _later(size: int, device: torch.device) -> Tensor:
    return torch.ones(size, size, dtype=torch.bool, device=device).triu(1)


class GatedDelta(Mixer):
    """The mixer of Gated DeltaNet (Yang et al. 2025, arXiv 2412.06464, section 3.4).

    q = norm(silu(conv(W_q x)))/√C, k = norm(silu(conv(W_k x))), v = silu(conv(W_v x)), β = σ(W_β x), α = exp(−e^A
    softplus(W_α x + b)), out = W_o (rms(S q) ⊙ silu(W_g x)), each conv a short one of its own. e^A begins uniform from
    0 to 16 and b so that softplus(b) is log-uniform from 0.001 to 0.1, as in the authors' code.

    Args:
        config: What the arms share.
        own: What only Gated DeltaNet has.
    """

    FASTEST = 16.0
    STEPS = 1e-3, 1e-1

    def __init__(self, config: TextConfig, own: GatedDeltaConfig) -> None:
        super().__init__()
        self.heads, self.channels, self.own = config.heads, config.channels, own
        values = own.expansion * config.width
        self.sizes = config.width, config.width, values
        self.project = nn.Linear(config.width, sum(self.sizes), bias=False)
        self.convolution = (
            CausalConvolution(sum(self.sizes), own.convolution, identity=False)
            if own.convolution
            else nn.Identity()
        )
        self.gates = nn.Linear(config.width, 2 * config.heads, bias=False)
        # 1 − rand is never 0, which has no logarithm.
        self.log_speed = nn.Parameter((self.FASTEST * (1 - torch.rand(config.heads))).log())
        low, high = map(math.log, self.STEPS)
        first = torch.empty(config.heads).uniform_(low, high).exp()
        self.step = nn.Parameter(first + (-torch.expm1(-first)).log())  # softplus gives `first` back
        self.norm = nn.RMSNorm(own.expansion * config.channels, eps=1e-5)
        self.gate = nn.Linear(config.width, values, bias=False)
        self.output = nn.Linear(values, config.width, bias=False)

    @property
    def state_size(self) -> int:
        """Numbers a sequence that are kept to go on from: a matrix a head, and the convolutions' last tokens."""
        kept = max(self.own.convolution - 1, 0) * sum(self.sizes)
        return self.heads * self.channels**2 * self.own.expansion + kept

    def forward(
        self, x: Float[Tensor, "batch length width"], first: Tensor | None = None
    ) -> tuple[Float[Tensor, "batch length width"], Tensor | None]:
        """Return what each token heard."""
        parts = F.silu(self.convolution(self.project(x))).split(self.sizes, dim=-1)
        query, key, value = (to_heads(part, self.heads) for part in parts)
        query, key = F.normalize(query, dim=-1) / math.sqrt(self.channels), F.normalize(key, dim=-1)
        speed, rate = self.gates(x).transpose(1, 2).chunk(2, dim=1)
        log_decay = -self.log_speed.exp()[:, None] * F.softplus(speed + self.step[:, None])
        rate = rate.sigmoid() * (2 if self.own.negative else 1)
        heard = gated_delta(query, key, value, log_decay, rate)
        return self.output(from_heads(self.norm(heard)) * F.silu(self.gate(x))), first


class GatedDeltaNet(TextModel):
    """Gated DeltaNet (Yang et al. 2025, arXiv 2412.06464).

    Args:
        config: What the arms share.
        own: What only this one has; None is its defaults.
    """

    def __init__(self, config: TextConfig, own: GatedDeltaConfig | None = None) -> None:
        own = GatedDeltaConfig() if own is None else own
        super().__init__(config, [GatedDelta(config, own) for _ in range(config.layers)])
