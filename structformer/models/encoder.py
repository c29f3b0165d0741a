"""The SOES encoder: learn the graph, attend along it, think about each token; step by step."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from structformer.graph import TokenGraph
from structformer.nn.asam import ASAM, ASAMConfig
from structformer.nn.dropout import Dropout
from structformer.nn.edge_features import EdgeFeatures
from structformer.nn.feedforward import FeedForward
from structformer.nn.soes import SOES, SOESConfig
from structformer.ops import Normalizer


@dataclass(frozen=True)
class SOESEncoderConfig:
    """What a SOES encoder is made of.

    Attributes:
        width: Features of a token, D.
        steps: Times that the graph is learned anew and attended along, K.
        heads: Attention heads, H.
        neighbors: Tokens that a token may listen to besides itself, k.
        affinity: Dimensions of the space in which tokens are compared, G.
        expansion: Hidden features of the feed-forward block as a multiple of ``width``.
        dropout: Probability of dropping a feature or an attention weight.
        normalizer: How affinities and scores become weights: "softmax", "sparsemax", "entmax15" or an α > 1.
        shared: One block used for all steps instead of one a step.
        edge_features: Features of an edge of the data's own graph (0: edges carry none).
        learn: False attends along the data's own edges only.
        search: How neighbours are found; see :func:`structformer.ops.neighbors`.
        checkpoint: Keep only the states between steps and compute the rest again in the backward pass: less
            memory for about a third more time. Training alone; values and gradients stay the same.
    """

    width: int = 64
    steps: int = 2
    heads: int = 4
    neighbors: int = 16
    affinity: int = 16
    expansion: float = 2.0
    dropout: float = 0.1
    normalizer: Normalizer = "softmax"
    shared: bool = False
    edge_features: int = 0
    learn: bool = True
    search: str = "auto"
    checkpoint: bool = False

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1 (got {self.steps})")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1) (got {self.dropout})")

    def structure(self) -> SOESConfig:
        """Return what the SOES layers are made of."""
        names = ("width", "neighbors", "affinity", "normalizer", "learn", "search")
        return SOESConfig(**{name: getattr(self, name) for name in names})


@dataclass
class Encoded:
    """What an encoder returns.

    Attributes:
        tokens: Final states [tokens, width].
        graphs: The learned graph of each step, weights included.
    """

    tokens: Float[Tensor, "tokens width"]
    graphs: list[TokenGraph]

    @property
    def smoothness(self) -> Float[Tensor, ""]:
        """L_smooth = 1/(K−1) Σ_t ‖Â^(t) − Â^(t−1)‖²_F / T over the unions of supports (mathematics.md, 2)."""
        if len(self.graphs) < 2:
            return self.tokens.new_zeros(())
        pairs = zip(self.graphs, self.graphs[1:], strict=False)
        return torch.stack([later.change(earlier) for earlier, later in pairs]).mean()

    @property
    def loss(self) -> Float[Tensor, ""]:
        """What the encoder itself adds to a training loss, weighted as it should be: nothing here."""
        return self.tokens.new_zeros(())


class SOESBlock(nn.Module):
    """One step, pre-norm: h ← h + ASAM(h, SOES(h)); h ← h + FFN(h)."""

    def __init__(self, config: SOESEncoderConfig) -> None:
        super().__init__()
        width = config.width
        self.norm_attention = nn.LayerNorm(width)
        self.structure = SOES(config.structure())
        self.attention = ASAM(
            ASAMConfig(
                width=width,
                heads=config.heads,
                normalizer=config.normalizer,
                dropout=config.dropout,
                edge_features=config.edge_features,
            )
        )
        self.norm_feedforward = nn.LayerNorm(width)
        self.feedforward = FeedForward(width, config.expansion, config.dropout)
        self.dropout = Dropout(config.dropout)

    def forward(
        self,
        h: Float[Tensor, "tokens width"],
        ptr: Int[Tensor, "pointers"],
        given: TokenGraph | None,
        topology: TokenGraph | None,
        edges: EdgeFeatures | None,
        causal: bool,
    ) -> tuple[Float[Tensor, "tokens width"], TokenGraph]:
        """Return the next states and the graph along which they were reached."""
        x = self.norm_attention(h)
        graph = self.structure(x, ptr, given=given, topology=topology, causal=causal)
        features = None if edges is None else edges.along(graph)
        h = h + self.dropout(self.attention(x, graph, edge_features=features))
        h = h + self.dropout(self.feedforward(self.norm_feedforward(h)))
        return h, graph


def recomputed(
    block: nn.Module,
    h: Float[Tensor, "tokens width"],
    ptr: Int[Tensor, "pointers"],
    given: TokenGraph | None,
    topology: TokenGraph | None,
    edges: EdgeFeatures | None,
    causal: bool,
) -> tuple[Float[Tensor, "tokens width"], TokenGraph]:
    """Run a block that keeps its input alone; the backward pass runs it again, with the same dropout.

    Nothing is searched twice: the second run weighs the edges that the first has found.
    """
    if topology is not None:
        # Nothing may be noted down inside what a compiler is to run twice: both are computed here, and kept.
        _ = topology.compact, topology.compact_transpose

    def run(h: Tensor) -> tuple[Tensor, Tensor | None]:
        nonlocal topology
        h, learned = block(h, ptr, given, topology, edges, causal)
        if topology is None:
            # Its weights would hold on to the first run, which holds on to this function.
            topology = learned.with_weight(None)
        return h, learned.weight

    h, weight = checkpoint(run, h, use_reentrant=False)
    assert topology is not None
    return h, topology.with_weight(weight)


def given_edges(
    config: SOESEncoderConfig,
    h: Float[Tensor, "tokens width"],
    ptr: Int[Tensor, "pointers"],
    edge_index: Int[Tensor, "2 edges"] | None,
    edge_attr: Float[Tensor, "edges features"] | None,
    edge_weight: Float[Tensor, "edges"] | None,
    graph: TokenGraph | None,
) -> tuple[TokenGraph | None, EdgeFeatures | None]:
    """Check what an encoder is given, and return the data's own edges and their attributes.

    Raises:
        ValueError: ``h`` has another width than the encoder, edge attributes are missing or unwanted, weights are not
            positive or have no edges, an edge joins two sets, or edges are given twice.
    """
    if h.shape[-1] != config.width:
        raise ValueError(f"h must have {config.width} features, the encoder's width (got {h.shape[-1]})")
    if edge_weight is not None and (edge_index is None or graph is not None):
        raise ValueError("edge_weight goes with edge_index alone; the weights of a graph are its own")
    if edge_index is None:
        return None, None
    if graph is not None and edge_attr is None:
        raise ValueError("graph and edge_index were both given; edges of a graph are marked in graph.given")
    if edge_weight is not None and not bool((edge_weight > 0).all()):
        raise ValueError(f"edge_weight must be positive (got {float(edge_weight.min())})")
    found = 0 if edge_attr is None else edge_attr.shape[1]
    if found != config.edge_features:
        raise ValueError(
            f"edge_attr must have {config.edge_features} features, as the encoder expects (got {found})"
        )
    given = TokenGraph.from_edge_index(edge_index, len(h), edge_weight, ptr=ptr) if graph is None else None
    return given, None if edge_attr is None else EdgeFeatures(edge_index, edge_attr, len(h))


class SOESEncoder(nn.Module):
    """Encode the tokens of each set along graphs learned from their content (mathematics.md, 2 and 3).

    ``forward`` is the figure: for each step, graph → attention → feed-forward. Tokens of one set never
    see those of another; a set's result does not depend on its company in the batch, nor on the order
    of its tokens.

    Examples:
        >>> import torch, structformer as sf
        >>> encoder = sf.models.SOESEncoder(sf.models.SOESEncoderConfig(width=32, steps=2, neighbors=4))
        >>> encoded = encoder(torch.randn(10, 32), torch.tensor([0, 6, 10]))
        >>> encoded.tokens.shape, len(encoded.graphs)
        (torch.Size([10, 32]), 2)
    """

    def __init__(self, config: SOESEncoderConfig) -> None:
        super().__init__()
        self.config = config
        blocks = 1 if config.shared else config.steps
        self.blocks = nn.ModuleList(SOESBlock(config) for _ in range(blocks))
        self.norm = nn.LayerNorm(config.width)

    def forward(
        self,
        h: Float[Tensor, "tokens width"],
        ptr: Int[Tensor, "pointers"] | None = None,
        *,
        edge_index: Int[Tensor, "2 edges"] | None = None,
        edge_attr: Float[Tensor, "edges features"] | None = None,
        edge_weight: Float[Tensor, "edges"] | None = None,
        graph: TokenGraph | None = None,
        causal: bool = False,
    ) -> Encoded:
        """Return the final states and the graph of every step.

        Args:
            h: Embedded tokens.
            ptr: Boundaries of the sets; None is one set.
            edge_index: The data's own edges, source → target.
            edge_attr: Their attributes, ``config.edge_features`` wide.
            edge_weight: What is thought of them before, positive; see `SOES`.
            graph: Edges to attend along in every step, with nothing searched; their weights are learned, and weights
                that they have already are a prior (see `SOES`). ``edge_index`` only tells whose attributes
                ``edge_attr`` are then. With a graph the encoder can be compiled as a whole:
                ``torch.compile(encoder, fullgraph=True)``.
            causal: Let a token listen only to itself and to earlier tokens of its set.

        Raises:
            ValueError: ``h`` has another width than the encoder, edge attributes are missing or unwanted,
                weights are not positive, or an edge joins two sets.
        """
        config = self.config
        if ptr is None:
            ptr = torch.tensor([0, len(h)], device=h.device)
        given, edges = given_edges(config, h, ptr, edge_index, edge_attr, edge_weight, graph)
        # Where every token may listen to all others of its set, the search has but one answer.
        complete = graph is None and config.learn and self._largest(ptr) - 1 <= config.neighbors
        topology, keep = graph, graph is not None or complete or not config.learn
        graphs: list[TokenGraph] = []
        recomputes = config.checkpoint and self.training and torch.is_grad_enabled()
        for step in range(config.steps):
            block = self.blocks[0 if config.shared else step]
            run = partial(recomputed, block) if recomputes else block
            h, learned = run(h, ptr, given, topology, edges, causal)
            topology = graph or (learned.with_weight(None) if keep else None)
            graphs.append(learned)
        return Encoded(self.norm(h), graphs)

    @staticmethod
    def _largest(ptr: Int[Tensor, "pointers"]) -> int:
        return int((ptr[1:] - ptr[:-1]).max()) if len(ptr) > 1 else 0
