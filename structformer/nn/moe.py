"""Mixture of experts: a router sends each token through a few of many feed-forward networks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from structformer.nn.dropout import Dropout
from structformer.nn.expert_linear import ExpertLinear
from structformer.nn.linear import Linear
from structformer.ops.geglu import geglu
from structformer.ops.linear import linear


@dataclass(frozen=True)
class MixtureOfExpertsConfig:
    """What a mixture of experts is made of.

    Attributes:
        width: Features of a token, D.
        experts: Feed-forward networks, X.
        active: Experts that a token goes through, r.
        expansion: Hidden features of an expert as a multiple of ``width``.
        dropout: Probability of dropping a hidden feature.
        capacity: In training an expert takes at most ⌈capacity · T · r / X⌉ tokens; None sets no limit.
        balance: Factor on the load-balancing loss.
        z: Factor on the router z-loss.
    """

    width: int = 64
    experts: int = 4
    active: int = 2
    expansion: float = 2.0
    dropout: float = 0.0
    capacity: float | None = None
    balance: float = 1e-2
    z: float = 1e-3

    def __post_init__(self) -> None:
        for name in ("width", "experts", "active"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1 (got {getattr(self, name)})")
        if self.active > self.experts:
            raise ValueError(
                f"active must be at most experts (got active={self.active}, experts={self.experts})"
            )
        for name in ("expansion", "capacity"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} must be positive (got {value})")
        for name in ("balance", "z"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0 (got {getattr(self, name)})")


@dataclass
class ExpertsOutput:
    """What a mixture of experts returns.

    Attributes:
        tokens: The mixed outputs of each token's experts.
        loss: What routing adds to a training loss, factors included.
        usage: Share of all assignments that each expert was chosen for; they sum to one, and a dead expert has 0.
        chosen: Each token's experts, the most probable first.
        gates: The weights of their outputs; 0 where an expert was full.
        overflow: Assignments that found their expert full.
    """

    tokens: Float[Tensor, "tokens width"]
    loss: Float[Tensor, ""]
    usage: Float[Tensor, "experts"]
    chosen: Int[Tensor, "tokens active"]
    gates: Float[Tensor, "tokens active"]
    overflow: Int[Tensor, ""]


class MixtureOfExperts(nn.Module):
    """Each token's r most probable experts, mixed (Shazeer et al. 2017, arXiv 1701.06538, eq. 1; mathematics.md, 4).

    With p = softmax(W h), out = Σ_x g_x E_x(h) over the r experts of largest p, where E_x is a `FeedForward`
    network of its own and g_x = p_x / Σ p of the chosen: the gates of a token sum to one. With a single active
    expert g = p as in the Switch Transformer (Fedus et al. 2021, arXiv 2101.03961, eq. 2), since a gate that is
    always 1 would teach the router nothing. Of experts that are equally probable the one with the lower number
    comes first. The router computes in float32 at least.

    A token's output depends on that token alone, unless ``capacity`` limits the experts: in training a full expert
    then turns away the tokens to which it is least probable, wherever in the batch they stand (Riquelme et al. 2021,
    arXiv 2106.05974, section 4). They keep their other experts, whose gates stay as they are, and are counted.

    Examples:
        >>> layer = MixtureOfExperts(MixtureOfExpertsConfig(width=32, experts=4, active=2))
        >>> found = layer(torch.randn(10, 32))
        >>> found.tokens.shape, found.chosen.shape, found.usage.shape
        (torch.Size([10, 32]), torch.Size([10, 2]), torch.Size([4]))
    """

    def __init__(self, config: MixtureOfExpertsConfig) -> None:
        super().__init__()
        self.config = config
        hidden = max(1, round(config.width * config.expansion))
        self.router = Linear(config.width, config.experts, bias=False)
        self.inner = ExpertLinear(config.experts, config.width, 2 * hidden)
        self.outer = ExpertLinear(config.experts, hidden, config.width)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Float[Tensor, "tokens width"], *, path: str | None = None) -> ExpertsOutput:
        """Return the outputs of the experts, mixed, and how tokens were routed.

        Args:
            x: States.
            path: As in `expert_path`.

        Raises:
            ValueError: As in `expert_path`.
        """
        config = self.config
        logits = self._logits(x)
        probabilities = logits.softmax(-1)
        # topk promises nothing about ties.
        ranked, experts = probabilities.sort(dim=-1, descending=True, stable=True)
        top, chosen = ranked[:, : config.active], experts[:, : config.active]
        gates = top if config.active == 1 else top / top.sum(-1, keepdim=True)
        usage = _counts(chosen, config.experts).to(top.dtype) / max(1, chosen.numel())
        loss = config.balance * balance_loss(probabilities, usage) + config.z * router_z_loss(logits)
        taken = self._taken(top.detach(), chosen)
        if taken is not None:
            gates = gates * taken
        overflow = chosen.new_zeros(()) if taken is None else (~taken).sum()
        tokens = self._mixed(x, chosen, gates, taken, path)
        return ExpertsOutput(tokens, loss, usage, chosen, gates, overflow)

    def _logits(self, x: Float[Tensor, "tokens width"]) -> Float[Tensor, "tokens experts"]:
        dtype = torch.promote_types(x.dtype, torch.float32)
        with torch.autocast(x.device.type, enabled=False):
            return linear(x.to(dtype), self.router.weight.to(dtype))

    def _taken(
        self, top: Float[Tensor, "tokens active"], chosen: Int[Tensor, "tokens active"]
    ) -> Bool[Tensor, "tokens active"] | None:
        """Return which assignments find room; None where there is no limit."""
        config = self.config
        if config.capacity is None or not self.training:
            return None
        limit = math.ceil(config.capacity * chosen.numel() / config.experts)
        expert = chosen.flatten()
        order = top.flatten().argsort(descending=True, stable=True)
        order = order[expert[order].argsort(stable=True)]  # by expert, and within it by probability
        counts = _counts(chosen, config.experts)
        first = (counts.cumsum(0) - counts)[expert[order]]
        place = torch.arange(len(order), device=order.device) - first
        return torch.empty_like(expert, dtype=torch.bool).index_copy(0, order, place < limit).view_as(chosen)

    def _mixed(
        self,
        x: Float[Tensor, "tokens width"],
        chosen: Int[Tensor, "tokens active"],
        gates: Float[Tensor, "tokens active"],
        taken: Bool[Tensor, "tokens active"] | None,
        path: str | None,
    ) -> Float[Tensor, "tokens width"]:
        # Assignments sorted by expert: each expert then owns one slice of rows.
        order = chosen.flatten().argsort(stable=True)
        if taken is not None:
            order = order[taken.flatten()[order]]
        counts = _counts(chosen.flatten()[order], self.config.experts)
        rows = x.index_select(0, order // self.config.active)
        value, gate = self.inner(rows, counts, path).chunk(2, dim=-1)
        out = self.outer(self.dropout(geglu(value, gate)), counts, path)
        # Put back instead of added up, so that on a GPU too the sum has one order.
        back = out.new_zeros(chosen.numel(), out.shape[1]).index_copy(0, order, out)
        return (gates[:, None].to(out.dtype) @ back.view(*chosen.shape, out.shape[1])).squeeze(1)

    def extra_repr(self) -> str:
        """Show the configuration where the module is printed."""
        return ", ".join(f"{key}={value}" for key, value in vars(self.config).items())


def balance_loss(
    probabilities: Float[Tensor, "tokens experts"], usage: Float[Tensor, "experts"]
) -> Float[Tensor, ""]:
    """Return X · Σ_x f_x P_x: 1 where all experts serve alike (Fedus et al. 2021, arXiv 2101.03961, eq. 4 to 6).

    P_x is an expert's mean probability, and f_x (``usage``) its share of assignments, T · r in all, which has no
    gradient. Without tokens the loss is 0.
    """
    mean = probabilities.sum(0) / max(1, len(probabilities))
    return len(usage) * (usage * mean).sum()


def router_z_loss(logits: Float[Tensor, "tokens experts"]) -> Float[Tensor, ""]:
    """Return the mean of (log Σ_x exp logit_x)² over tokens (ST-MoE, arXiv 2202.08906, eq. 5); 0 without tokens."""
    return logits.logsumexp(-1).square().sum() / max(1, len(logits))


def _counts(chosen: Int[Tensor, "*pairs"], experts: int) -> Int[Tensor, "experts"]:
    return chosen.flatten().bincount(minlength=experts)
