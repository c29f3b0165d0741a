"""LSH attention: each token hears only those before it that fall into the same bucket of a random hash."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from .rotary import from_heads, rotate, to_heads
from .text import Mixer, TextConfig, TextModel

# The penalty of hearing oneself, and the code of places beyond the text.
ITSELF, NOBODY = 1e5, 2**30


@dataclass(frozen=True)
class LSHConfig:
    """What LSH attention has beside what the arms share.

    Attributes:
        buckets: Buckets of a hash; even, or 1.
        rounds: Hashes.
        chunk: Sorted tokens a chunk; a token looks back at most so far in its bucket.
        rotary: Whether queries and keys are turned by their positions, after they were hashed.
    """

    buckets: int = 8
    rounds: int = 4
    chunk: int = 32
    rotary: bool = True

    def __post_init__(self) -> None:
        if self.buckets != 1 and (self.buckets < 1 or self.buckets % 2):
            raise ValueError(f"buckets must be even, or 1 (got {self.buckets})")
        for name in ("rounds", "chunk"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1 (got {getattr(self, name)})")


def hash_codes(
    x: Float[Tensor, "batch heads length channels"],
    rotations: Float[Tensor, "heads rounds channels half"],
    window: int,
) -> tuple[Int[Tensor, "batch heads rounds length"], Int[Tensor, "batch heads rounds length"]]:
    """Return codes that say who may hear whom in each round, and the order that sorts them.

    A token's bucket is the largest of [xR; −xR] (Kitaev et al. 2020, arXiv 2001.04451, section 2). Sorted by bucket,
    then by position, a token stands at place s, and its code is s + bucket · (window + 1). So token i has j in its
    bucket, not after itself and at most ``window`` places away, just if i's code is larger than j's by 0 to ``window``.

    Args:
        x: What is hashed.
        rotations: R; empty is one bucket for all.
        window: See above.
    """
    length = x.shape[2]
    turned = torch.einsum("bhlc,hrcn->bhrln", x.detach(), rotations)
    bucket = torch.zeros(turned.shape[:4], dtype=torch.long, device=x.device)
    if turned.shape[-1]:
        bucket = torch.cat([turned, -turned], dim=-1).argmax(-1)
    order = (bucket * length + torch.arange(length, device=x.device)).argsort(-1)
    return (order.argsort(-1) + bucket * (window + 1)).int(), order


def lsh_attention(
    query: Float[Tensor, "batch heads length channels"],
    key: Float[Tensor, "batch heads length channels"],
    value: Float[Tensor, "batch heads length channels"],
    codes: Int[Tensor, "batch heads rounds length"],
    order: Int[Tensor, "batch heads rounds length"],
    chunk: int,
) -> Float[Tensor, "batch heads length channels"]:
    """Return what each token hears in all rounds together (the paper's section 2 and appendix A).

    With P_i^r the tokens that i may hear in round r, as `hash_codes` says with a window of ``chunk``,
    o_i = Σ_r exp(z_i^r − z_i) Σ_{j ∈ P_i^r} exp(⟨q_i, k_j⟩/√C − m_ij − z_i^r) v_j, where z^r and z make the weights sum
    to 1, m_ij is the logarithm of the number of rounds with j ∈ P_i, so that nobody counts twice, and m_ii = 10⁵, so
    that a token hears itself just if it hears nobody else. Sorted tokens are cut into chunks, each of which looks at
    itself and the one before it.
    """
    rows = [_to_chunks(_sort(x, order), chunk) for x in (query, key, value)]
    query, key, value = rows[0], _with_last(rows[1]), _with_last(rows[2])
    gap = _gaps(codes.gather(-1, order), chunk)
    rounds = [_gaps(code[:, :, None].expand_as(order).gather(-1, order), chunk) for code in codes.unbind(2)]
    times = torch.stack([_within(other, chunk) for other in rounds]).sum(0)

    scores = query @ key.mT / math.sqrt(query.shape[-1])
    penalty = times.clamp(min=1).to(scores.dtype).log().masked_fill(gap == 0, ITSELF)
    scores = (scores - penalty).masked_fill(~_within(gap, chunk), -torch.inf)
    total = scores.logsumexp(-1, keepdim=True)
    both = torch.cat([(scores - total).exp() @ value, total], dim=-1).flatten(3, 4)
    place = order.argsort(-1)[..., None].expand(*order.shape, both.shape[-1])
    out, total = both.gather(3, place).split([value.shape[-1], 1], dim=-1)
    return (total.softmax(2) * out).sum(2)


def _sort(
    x: Float[Tensor, "batch heads length channels"], order: Int[Tensor, "batch heads rounds length"]
) -> Float[Tensor, "batch heads rounds length channels"]:
    index = order[..., None].expand(*order.shape, x.shape[-1])
    return x[:, :, None].expand_as(index).gather(3, index)


def _to_chunks(x: Shaped[Tensor, "*rounds length c"], chunk: int, fill: int = 0) -> Tensor:
    return F.pad(x, (0, 0, 0, -x.shape[-2] % chunk), value=fill).unflatten(-2, (-1, chunk))


def _with_last(x: Shaped[Tensor, "*rounds chunks chunk c"], fill: int = 0) -> Tensor:
    return torch.cat([F.pad(x, (0, 0, 0, 0, 1, -1), value=fill), x], dim=-2)


def _gaps(codes: Int[Tensor, "*rounds length"], chunk: int) -> Int[Tensor, "*rounds chunks chunk both"]:
    own = _to_chunks(codes[..., None], chunk, NOBODY)
    return own - _with_last(own, NOBODY).mT


def _within(gap: Int[Tensor, "*rounds"], window: int) -> Bool[Tensor, "*rounds"]:
    return (gap >= 0) & (gap <= window)


class LSHAttention(Mixer):
    """Causal attention with shared queries and keys, among tokens of one bucket (Kitaev et al. 2020, arXiv 2001.04451).

    q = W_qk x, k = q/‖q‖, v = W_v x.

    Two things differ from the authors' code. Rotations are drawn once, not in each pass, so that a text gets the same
    answer each time. And there a token looks at all of its own chunk and the one before it, and where chunks begin
    depends on how many tokens there are in other buckets, later ones among them: a token further on changes what an
    earlier one hears. Here it looks back exactly a chunk, within its bucket, for the same work.

    Args:
        config: What the arms share.
        own: What only this one has.
    """

    rotations: Tensor

    def __init__(self, config: TextConfig, own: LSHConfig) -> None:
        super().__init__()
        self.heads, self.own = config.heads, own
        if own.rotary and config.channels % 2:
            raise ValueError(f"width / heads must be even to be rotated in pairs (got {config.channels})")
        self.project = nn.Linear(config.width, 2 * config.width, bias=False)
        self.output = nn.Linear(config.width, config.width, bias=False)
        shape = config.heads, own.rounds, config.channels, own.buckets // 2
        self.register_buffer("rotations", torch.randn(shape))

    def forward(
        self, x: Float[Tensor, "batch length width"], first: Tensor | None = None
    ) -> tuple[Float[Tensor, "batch length width"], Tensor | None]:
        """Return what each token heard."""
        query, value = (to_heads(part, self.heads) for part in self.project(x).chunk(2, dim=-1))
        codes, order = hash_codes(query, self.rotations, self.own.chunk)
        query = rotate(query) if self.own.rotary else query
        heard = lsh_attention(query, F.normalize(query, dim=-1), value, codes, order, self.own.chunk)
        return self.output(from_heads(heard)), first


class LSHTransformer(TextModel):
    """The Reformer's attention (Kitaev et al. 2020, arXiv 2001.04451), without its reversible layers.

    Args:
        config: What the arms share.
        own: What only this one has; None is its defaults.
    """

    def __init__(self, config: TextConfig, own: LSHConfig | None = None) -> None:
        own = LSHConfig() if own is None else own
        super().__init__(config, [LSHAttention(config, own) for _ in range(config.layers)])
