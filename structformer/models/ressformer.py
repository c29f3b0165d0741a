"""ReSSFormer: one block of structure, attention and experts, applied again and again with memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from structformer.graph import TokenGraph
from structformer.models.encoder import Encoded, SOESEncoderConfig, given_edges
from structformer.models.ressformer_block import ReSSFormerBlock
from structformer.nn.halting import HaltingRule
from structformer.nn.r2mu import R2MU, BlockOutput, R2MUConfig, Thought
from structformer.nn.set_dropout import SetDropout


@dataclass(frozen=True)
class ReSSFormerConfig(SOESEncoderConfig):
    """What a ReSSFormer is made of, beyond what a SOES encoder is; ``shared`` is always so.

    Attributes:
        depth: Layers of the shared block; parameters grow with it, and not with ``steps``.
        slots: Slots of the segment memory, M; 0 is none.
        gated: Whether slots are written through gates.
        cache: A token's own states of so many steps before that it can look at; 0 is none.
        reinject: Give every step the first states again.
        experts: Feed-forward experts a layer, X; 1 is a plain feed-forward block.
        active: Experts that a token goes through.
        top: Edges that a head keeps of a token's, by score; None keeps all.
        structure_gate: Whether attention hears the learned weights, through a gate a head.
        halting: When a token's steps end: "act", "convergence", or None, after all of them.
        threshold: Of the halting rule; None is its usual one.
        ponder: Factor on the mean ponder time in `Reasoned.loss`, under "act"; the larger, the fewer steps are taken.
        set_dropout: In training, probability of dropping a feature of all tokens of a set in all steps; see
            `SetDropout`.
    """

    depth: int = 1
    slots: int = 8
    gated: bool = True
    cache: int = 2
    reinject: bool = True
    experts: int = 4
    active: int = 2
    top: int | None = None
    structure_gate: bool = True
    halting: HaltingRule | None = None
    threshold: float | None = None
    ponder: float = 1e-2
    set_dropout: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.depth < 1:
            raise ValueError(f"depth must be at least 1 (got {self.depth})")
        if self.experts < 1:
            raise ValueError(f"experts must be at least 1 (got {self.experts})")
        if self.ponder < 0:
            raise ValueError(f"ponder must be at least 0 (got {self.ponder})")
        if not 0 <= self.set_dropout < 1:
            raise ValueError(f"set_dropout must be at least 0 and below 1 (got {self.set_dropout})")

    def unit(self) -> R2MUConfig:
        """Return what the recurrent unit is made of."""
        names = ("width", "heads", "steps", "slots", "gated", "cache", "reinject", "halting", "threshold")
        return R2MUConfig(**{name: getattr(self, name) for name in names}, checkpoint=self.checkpoint)


@dataclass
class Reasoned(Encoded):
    """What a ReSSFormer returns: final states, the graph of each step and layer, and how it came to them.

    Attributes:
        thought: Memory, steps taken, gates, norms, experts' use.
        ponder: Factor on the mean ponder time in `loss`.
    """

    thought: Thought
    ponder: float = 0.0

    @property
    def loss(self) -> Float[Tensor, ""]:
        """What the model itself adds to a training loss, factors included.

        That is what the experts' routing costs, the mean over steps and layers (mathematics.md, 4), and under "act" the
        mean ponder time of the tokens (Graves 2016, arXiv 1603.08983, section 2.2).
        """
        losses, ponder = self.thought.losses, self.thought.ponder
        loss = torch.stack(losses).mean() if losses else self.tokens.new_zeros(())
        if self.ponder and ponder is not None:
            loss = loss + self.ponder * ponder.sum() / max(1, len(ponder))
        return loss


class ReSSFormer(nn.Module):
    """Encode the tokens of each set in K steps of one shared block (You and Liu 2025, arXiv 2510.01585).

    Tokens in; then for each step the memories are read, and each layer learns a graph, attends along it and sends
    every token to its experts; then the segment memory is written; tokens out. Tokens of one set never see
    those of another, and nothing knows the order of the tokens unless ``causal`` asks for it.

    Examples:
        >>> import torch, structformer as sf
        >>> model = sf.models.ReSSFormer(sf.models.ReSSFormerConfig(width=32, steps=3, neighbors=4))
        >>> found = model(torch.randn(10, 32), torch.tensor([0, 6, 10]))
        >>> found.tokens.shape, len(found.graphs), found.thought.memory.shape
        (torch.Size([10, 32]), 3, torch.Size([2, 8, 32]))
    """

    def __init__(self, config: ReSSFormerConfig) -> None:
        super().__init__()
        self.config = config
        self.blocks = nn.ModuleList(ReSSFormerBlock(config) for _ in range(config.depth))
        self.unit = R2MU(config.unit())
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
        memory: Float[Tensor, "sets slots width"] | None = None,
        steps: int | None = None,
        causal: bool = False,
        whole: bool = True,
    ) -> Reasoned:
        """Return the final states, the graph of every step, and the memory.

        Args:
            h: Embedded tokens.
            ptr: Boundaries of the sets; None is one set.
            edge_index: The data's own edges, source → target.
            edge_attr: Their attributes, ``config.edge_features`` wide.
            edge_weight: What is thought of them before, positive; see `SOES`.
            graph: Edges to attend along in every step, with nothing searched; see `SOESEncoder`.
            memory: Slots of an earlier segment of the same sets, to begin with.
            steps: Steps to take; None is as configured.
            causal: Let a token listen only to itself and to earlier tokens of its set.
            whole: Take all steps even where every token has halted. False saves them; how many graphs there are
                then depends on which sets share the batch.

        Raises:
            ValueError: As in `SOESEncoder` and `R2MU`.
        """
        ptr = torch.tensor([0, len(h)], device=h.device) if ptr is None else ptr
        given, edges = given_edges(self.config, h, ptr, edge_index, edge_attr, edge_weight, graph)

        drops = self._drops(ptr, len(h))
        if drops is not None:
            h = drops[0](h, "first states")
        found: dict[tuple[int, int], TokenGraph] = {}

        def block(h: Tensor, step: int) -> BlockOutput:
            output = BlockOutput(h)
            for number, layer in enumerate(self.blocks):
                assert isinstance(layer, ReSSFormerBlock)
                # A step computed again going back weighs the edges it had found, and searches none.
                topology = graph or found.get((step, number))
                drop = None if drops is None else drops[number]
                h, learned = layer.attend(h, ptr, given, topology, edges, causal, drop)
                found[step, number] = learned.with_weight(None)
                h, routed = layer.think(h, drop)
                output.graphs.append(learned)
                output.routed(routed)
            output.tokens = h
            return output

        thought = self.unit(block, h, ptr, memory=memory, steps=steps, causal=causal, whole=whole)
        # Under "convergence" nothing is learned from how long it took.
        ponder = self.config.ponder if self.config.halting == "act" else 0.0
        return Reasoned(self.norm(thought.tokens), thought.graphs, thought, ponder)

    def _drops(self, ptr: Int[Tensor, "pointers"], tokens: int) -> list[SetDropout] | None:
        """Return what each layer drops in this pass; None is nothing."""
        if not self.training or not self.config.set_dropout:
            return None
        return [SetDropout(self.config.set_dropout, ptr, tokens) for _ in self.blocks]
