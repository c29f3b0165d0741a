"""Mixture of experts: a router sends each token through a few of many feed-forward networks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from structformer.nn.dropout import Dropout
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


class ExpertLinear(nn.Module):
    """A linear map for each expert, y = W_x h + b_x, over rows sorted by expert; it starts as `nn.Linear` does.

    Args:
        experts: Maps, X.
        inputs: Features that they take.
        outputs: Features that they return.
    """

    def __init__(self, experts: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(experts, outputs, inputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(experts, outputs).uniform_(-bound, bound))

    def forward(
        self,
        x: Float[Tensor, "rows inputs"],
        counts: Int[Tensor, "experts"],
        path: str | None = None,
    ) -> Float[Tensor, "rows outputs"]:
        """Map each row by its expert.

        Args:
            x: The rows of the first expert, then those of the second, and so on.
            counts: Rows of each expert.
            path: As in `expert_path`.

        Raises:
            ValueError: As in `expert_path`.
        """
        if expert_path(path, x, self.weight) == "loop":
            slices = zip(x.split(counts.tolist()), self.weight.unbind(), self.bias.unbind(), strict=True)
            return torch.cat([linear(rows, weight, bias) for rows, weight, bias in slices])
        dtype = _computed_in(x)
        ends = counts.cumsum(0, dtype=torch.int32)
        product = F.grouped_mm(x.to(dtype), self.weight.to(dtype).transpose(1, 2), offs=ends)
        return product + self.bias.to(dtype).repeat_interleave(counts, 0, output_size=len(x))


def expert_path(path: str | None, x: Tensor, weight: Tensor) -> str:
    """Return the path on which experts' weights meet the rows: "grouped" or "loop".

    "grouped" is one `torch.nn.functional.grouped_mm`; "loop" is one product an expert, for any device and type.

    Args:
        path: What the user wants; None takes "loop" on a CPU, where it is no slower, and elsewhere "grouped" if it
            works, as the loop reads the experts' counts off the device, which stalls it.
        x: Rows [rows, inputs].
        weight: Weights [experts, outputs, inputs].

    Raises:
        ValueError: If the path is unknown, or "grouped" is asked for where it does not work.
    """
    if path not in ("grouped", "loop", None):
        raise ValueError(f'path must be "grouped", "loop" or None (got {path!r})')
    if path == "loop" or (path is None and x.device.type == "cpu"):
        return "loop"
    if _grouped_works(x.device, _computed_in(x), *weight.shape[1:]):
        return "grouped"
    if path == "grouped":
        raise ValueError(
            'path "grouped" needs a torch whose grouped_mm serves the device and type, and features that fill a '
            f"multiple of 16 bytes (got {_computed_in(x)} on {x.device}, weights {list(weight.shape)}); "
            'take "loop"'
        )
    return "loop"


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


def _computed_in(x: Tensor) -> torch.dtype:
    """Return the type in which autocast, where it is on, has a matrix product computed."""
    device = x.device.type
    if x.dtype == torch.float64 or not torch.amp.is_autocast_available(device):
        return x.dtype
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


@cache
def _grouped_works(device: torch.device, dtype: torch.dtype, outputs: int, inputs: int) -> bool:
    """Try it, forward and backward: what it serves differs between versions of torch, devices and types."""
    if not hasattr(F, "grouped_mm"):
        return False
    with torch.inference_mode(False), torch.enable_grad():
        ends = torch.tensor([1, 3], dtype=torch.int32, device=device)
        x = torch.ones(3, inputs, dtype=dtype, device=device, requires_grad=True)
        weight = torch.ones(2, outputs, inputs, dtype=dtype, device=device, requires_grad=True)
        try:
            F.grouped_mm(x, weight.transpose(1, 2), offs=ends).square().sum().backward()
        except RuntimeError:
            return False
    return True
