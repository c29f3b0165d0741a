"""The arms of the efficiency benchmark: made from a few numbers, so that a fresh process can make them too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from structformer import ops
from structformer.graph import TokenGraph
from structformer.models import SOESEncoder, SOESEncoderConfig
from structformer.nn.linear import Linear, together

from .baselines.attention import (
    CompleteAttention,
    DenseAttention,
    GatherEinsum,
    ProjectedAttention,
    PygAttention,
)
from .baselines.encoders import DenseEncoder, GPSEncoder
from .efficiency_inputs import (
    batch_of,
    clustered_graph,
    clustered_vectors,
    given_edges,
    random_graph,
    set_boundaries,
)
from .measure import Step, refusal

Module = TypeVar("Module", bound=nn.Module)

OURS = "structformer"
# Ways to the same numbers that `ops.sparse_attention` may offer, fastest first; see `attention_paths`.
PATHS = ("fused", "csr", "gather")
NORMALIZERS = {"softmax": "softmax", "sparsemax": "sparsemax", "entmax15": "entmax15", "alpha 1.3": 1.3}
RIVALS: dict[str, type[ProjectedAttention]] = {
    "TransformerConv": PygAttention,
    "gather + einsum": GatherEinsum,
    "SDPA, masked": DenseAttention,
    "SDPA, all pairs": CompleteAttention,
}
# Arms whose work and memory grow with the square of the tokens.
DENSE = ("SDPA, masked", "SDPA, all pairs")


@dataclass(frozen=True)
class Case:
    """What an arm is given.

    Attributes:
        tokens: All tokens.
        neighbors: Sources a token.
        graph: "random" (any tokens) or "clustered" (nearest of the token's own cluster, tokens in random order).
        heads: Attention heads.
        channels: Features a head.
        set_size: Tokens a set, for encoders; 0 is one set of all tokens.
        layers: Layers or steps, for encoders.
        seed: Seed of inputs and weights.
    """

    tokens: int
    neighbors: int
    graph: str = "random"
    heads: int = 4
    channels: int = 32
    set_size: int = 0
    layers: int = 3
    seed: int = 0

    @property
    def width(self) -> int:
        """Features of a token."""
        return self.heads * self.channels


class OurAttention(ProjectedAttention):
    """`ops.sparse_attention` behind projections by `structformer.nn`; softmax on the fastest path by default."""

    path: str | None = None
    normalizer: str | float = "softmax"

    def __init__(self, width: int, heads: int, graph: TokenGraph) -> None:
        super().__init__(width, heads, graph)
        rivals = self._projections()  # with the same weights
        self.query, self.key, self.value = (Linear(width, width) for _ in rivals)
        for own, its in zip(self._projections(), rivals, strict=True):
            own.load_state_dict(its.state_dict())

    def project(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return queries, keys and values as `structformer.nn.ASAM` makes them."""
        return together(x, self.query, self.key, self.value)

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attend along the edges."""
        return ops.sparse_attention(query, key, value, self.graph, normalizer=self.normalizer, path=self.path)


def attention_paths() -> list[str]:
    """Return the paths of `ops.sparse_attention` that are possible here, fastest first."""
    graph = random_graph(3, 2, torch.Generator().manual_seed(0))
    x = torch.ones(3, 1, 2)
    return [
        path for path in PATHS if refusal(lambda p=path: ops.sparse_attention(x, x, x, graph, path=p)) is None
    ]


def attention_arms() -> list[str]:
    """Return the names of all attention arms: ours, ours on each path, the rivals."""
    return [OURS, *(f"{OURS}, {path}" for path in attention_paths()), *RIVALS]


def attention(arm: str, case: Case) -> Step:
    """Return a step of one attention layer: forward, and backward to the tokens and all weights."""
    generator = torch.Generator().manual_seed(case.seed)
    graph = make_graph(case, generator)
    module = _seeded(lambda: attention_module(arm, case, graph), case.seed)
    x = torch.randn(case.tokens, case.width, generator=generator).requires_grad_()
    upstream = torch.randn(case.tokens, case.width, generator=generator)
    wanted = [x, *(weight for weight in module.parameters() if weight.requires_grad)]
    return lambda: torch.autograd.grad(module(x), wanted, upstream)


def attention_module(arm: str, case: Case, graph: TokenGraph) -> ProjectedAttention:
    """Return the layer of one arm: a rival's, or ours with a path or normaliser after the comma."""
    if arm in RIVALS:
        return RIVALS[arm](case.width, case.heads, graph)
    module = OurAttention(case.width, case.heads, graph)
    _, _, choice = arm.partition(", ")
    if choice in NORMALIZERS:
        module.normalizer = NORMALIZERS[choice]
    elif choice:
        module.path = choice
    return module


def bare_attention_arms() -> list[str]:
    """Return the names of the arms that can attend without projections."""
    return [arm for arm in attention_arms() if arm != "TransformerConv"]


def bare_attention(arm: str, case: Case) -> Step:
    """Return a step of attention alone, without projections: what the floor is a floor of."""
    generator = torch.Generator().manual_seed(case.seed)
    graph = make_graph(case, generator)
    module = attention_module(arm, case, graph)
    shape = (case.tokens, case.heads, case.channels)
    query, key, value, upstream = (torch.randn(shape, generator=generator) for _ in range(4))
    wanted = [x.requires_grad_() for x in (query, key, value)]
    return lambda: torch.autograd.grad(module.attend(query, key, value), wanted, upstream)


def normalizer(arm: str, case: Case) -> Step:
    """Return a step of one normaliser alone, forward and backward, on one score an edge and head."""
    generator = torch.Generator().manual_seed(case.seed)
    rowptr = torch.arange(0, case.tokens * case.neighbors + 1, case.neighbors)
    # Heads lie side by side in memory, as attention hands them over.
    scores = torch.randn(case.heads, case.tokens * case.neighbors, generator=generator).t().requires_grad_()
    upstream = torch.randn(case.heads, case.tokens * case.neighbors, generator=generator).t()
    kind = NORMALIZERS[arm]
    return lambda: torch.autograd.grad(ops.normalize_rows(scores, rowptr, kind), scores, upstream)


def encoder(arm: str, case: Case) -> Step:
    """Return one training step (forward, backward, AdamW) towards random targets, without dropout."""
    generator = torch.Generator().manual_seed(case.seed)
    module = _seeded(lambda: ENCODERS[arm](case), case.seed)
    h = clustered_vectors(case.tokens, case.width, generator)
    ptr = set_boundaries(case.tokens, case.set_size or case.tokens)
    edge_index = given_edges(h, ptr, case.neighbors)
    target = torch.randn(case.tokens, case.width, generator=generator)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-4)

    def step() -> None:
        loss = (module(h, edge_index, ptr) - target).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


class _Ours(nn.Module):
    """Our encoder; learns its graph, beside the given edges where sets are small, or takes the given edges."""

    def __init__(self, case: Case, learn: bool) -> None:
        super().__init__()
        self.uses_given = not learn or case.set_size > 0
        self.encoder = SOESEncoder(
            SOESEncoderConfig(
                width=case.width,
                steps=case.layers,
                heads=case.heads,
                neighbors=case.neighbors,
                dropout=0.0,
                learn=learn,
            )
        )

    def forward(self, h: Tensor, edge_index: Tensor, ptr: Tensor) -> Tensor:
        return self.encoder(h, ptr, edge_index=edge_index if self.uses_given else None).tokens


class _Dense(nn.Module):
    def __init__(self, case: Case) -> None:
        super().__init__()
        self.encoder = DenseEncoder(case.width, case.layers, case.heads)

    def forward(self, h: Tensor, edge_index: Tensor, ptr: Tensor) -> Tensor:
        return self.encoder(h, batch_of(ptr))


class _GPS(nn.Module):
    def __init__(self, case: Case) -> None:
        super().__init__()
        self.encoder = GPSEncoder(case.width, case.layers, case.heads)

    def forward(self, h: Tensor, edge_index: Tensor, ptr: Tensor) -> Tensor:
        return self.encoder(h, edge_index, batch_of(ptr))


ENCODERS: dict[str, Callable[[Case], nn.Module]] = {
    OURS: lambda case: _Ours(case, learn=True),
    f"{OURS}, given edges only": lambda case: _Ours(case, learn=False),
    "TransformerEncoder": _Dense,
    "GPSConv": _GPS,
}


def make_graph(case: Case, generator: torch.Generator) -> TokenGraph:
    """Return the graph of a case.

    Raises:
        ValueError: If the case's graph is neither "random" nor "clustered".
    """
    if case.graph not in ("random", "clustered"):
        raise ValueError(f'graph must be "random" or "clustered" (got {case.graph!r})')
    draw = random_graph if case.graph == "random" else clustered_graph
    return draw(case.tokens, case.neighbors, generator)


def _seeded(make: Callable[[], Module], seed: int) -> Module:
    """Make a module whose first weights follow from the seed, leaving the global stream as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()
