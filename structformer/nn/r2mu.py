"""R2MU, the recurrent reasoning and memory unit: one block, several steps, two memories."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from structformer.graph import TokenGraph
from structformer.nn.halting import Halting, HaltingRule
from structformer.nn.linear import Linear
from structformer.nn.moe import ExpertsOutput
from structformer.nn.segment_memory import SegmentMemory
from structformer.nn.token_cache import TokenCache
from structformer.ops import segment_max


@dataclass(frozen=True)
class R2MUConfig:
    """What the unit is made of.

    Attributes:
        width: Features of a token, D.
        heads: Attention heads of both memories.
        steps: Times that the block is applied, K. No parameter depends on it: it can be changed after training.
        slots: Slots of the segment memory, M; 0 is none.
        gated: Whether slots are written through gates; see `SegmentMemory`.
        cache: A token's own states of so many steps before that it can look at; 0 is none.
        reinject: Give every step the first states again.
        halting: When a token's steps end: "act", "convergence", or None, after all of them.
        threshold: Of the halting rule; None is its usual one.
        checkpoint: In training keep only the states between steps, and compute the rest again going back.
    """

    width: int = 64
    heads: int = 4
    steps: int = 3
    slots: int = 8
    gated: bool = True
    cache: int = 2
    reinject: bool = True
    halting: HaltingRule | None = None
    threshold: float | None = None
    checkpoint: bool = False

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1 (got {self.steps})")
        for name in ("slots", "cache"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0 (got {getattr(self, name)})")


@dataclass
class BlockOutput:
    """What one application of a block returns.

    Attributes:
        tokens: The next states.
        graphs: The graphs along which they were reached, one a layer.
        losses: What the layers add to the loss.
        usages: Share of the tokens that each expert took, one a layer.
        chosen: Each token's experts, one a layer.
        shares: The weights of their outputs, one a layer.
        read: Each token's weights on the slots that it read before; None without segment memory.
    """

    tokens: Float[Tensor, "tokens width"]
    graphs: list[TokenGraph] = field(default_factory=list)
    losses: list[Float[Tensor, ""]] = field(default_factory=list)
    usages: list[Float[Tensor, "experts"]] = field(default_factory=list)
    chosen: list[Int[Tensor, "tokens active"]] = field(default_factory=list)
    shares: list[Float[Tensor, "tokens active"]] = field(default_factory=list)
    read: Float[Tensor, "tokens slots"] | None = None

    def routed(self, found: ExpertsOutput | None) -> None:
        """Note what the experts of a layer did; None where it has a plain feed-forward block."""
        if found is not None:
            self.losses.append(found.loss)
            self.usages.append(found.usage)
            self.chosen.append(found.chosen)
            self.shares.append(found.gates.detach())


Block = Callable[[Float[Tensor, "tokens width"], int], BlockOutput]


@dataclass
class Thought:
    """What the unit returns.

    Attributes:
        tokens: Final states.
        memory: Slots after the last step, None without segment memory.
        steps: Steps that each token took.
        ponder: Steps each token took plus the remainder of its last, under a halting rule; else None.
        graphs: The graph of every step and layer.
        gates: How far each slot's gate kept what was there, one a write.
        written: Each slot's weights on the tokens of its set that it pooled, one a write; no gradients.
        read: Each token's weights on the slots of its set, one a step; no gradients.
        norms: Root mean square of the states after each step.
        losses: What the layers added to the loss.
        usages: Share of tokens an expert, one a step and layer.
        chosen: Each token's experts, one a step and layer.
        shares: The weights of their outputs, one a step and layer; no gradients.
    """

    tokens: Float[Tensor, "tokens width"]
    memory: Float[Tensor, "sets slots width"] | None
    steps: Int[Tensor, "tokens"]
    ponder: Float[Tensor, "tokens"] | None = None
    graphs: list[TokenGraph] = field(default_factory=list)
    gates: list[Float[Tensor, "sets slots"]] = field(default_factory=list)
    written: list[Float[Tensor, "tokens slots"]] = field(default_factory=list)
    read: list[Float[Tensor, "tokens slots"]] = field(default_factory=list)
    norms: list[Float[Tensor, ""]] = field(default_factory=list)
    losses: list[Float[Tensor, ""]] = field(default_factory=list)
    usages: list[Float[Tensor, "experts"]] = field(default_factory=list)
    chosen: list[Int[Tensor, "tokens active"]] = field(default_factory=list)
    shares: list[Float[Tensor, "tokens active"]] = field(default_factory=list)


class R2MU(nn.Module):
    """h^(t+1) = Block(h^(t), M^(t)) for K steps (ReSSFormer, arXiv 2510.01585; mathematics.md, 5).

    Before each step a token gets the step's embedding and its first state again (Universal Transformer, arXiv
    1807.03819), looks at its own recent states (the token-level cache) and reads the slots of its set (the segment
    memory); after it the slots are written anew. Sets stay separate throughout.

    In causal text a slot written from a segment would tell a token what comes later: there the memory is read as it
    came in, and `SegmentMemory.write` is called once, where the segment ends, for the next one.
    """

    def __init__(self, config: R2MUConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.scale_step = nn.Parameter(torch.full((), 0.1))
        self.reinjection = Linear(width, width, bias=False) if config.reinject else None
        if self.reinjection is not None:
            nn.init.zeros_(self.reinjection.weight)
        self.cache = TokenCache(width, config.heads, config.cache) if config.cache else None
        self.memory = SegmentMemory(width, config.heads, config.slots, config.gated) if config.slots else None
        self.halting = Halting(width, config.halting, config.threshold) if config.halting else None

    def forward(
        self,
        block: Block,
        h: Float[Tensor, "tokens width"],
        ptr: Int[Tensor, "pointers"] | None = None,
        *,
        memory: Float[Tensor, "sets slots width"] | None = None,
        steps: int | None = None,
        causal: bool = False,
        whole: bool = False,
    ) -> Thought:
        """Apply the block step by step.

        Args:
            block: Maps states and the number of the step to the next states.
            h: First states.
            ptr: Boundaries of the sets; None is one set.
            memory: Slots to begin with, from an earlier segment; None begins anew.
            steps: Steps to take; None is as configured.
            causal: See above. The memory is then read alone: whoever knows where a segment ends writes it.
            whole: Take all steps even where every token has halted, for those who look at them later.

        Raises:
            ValueError: If steps are fewer than 1, or the memory does not fit the sets and slots.
        """
        steps = self.config.steps if steps is None else steps
        if steps < 1:
            raise ValueError(f"steps must be at least 1 (got {steps})")
        ptr = torch.tensor([0, len(h)], device=h.device) if ptr is None else ptr
        slots = self._slots(memory, len(ptr) - 1)
        first, recent = h, [h]
        thought = Thought(h, None, torch.full((len(h),), steps, device=h.device))
        halted = None if self.halting is None else self.halting.start(h)
        for step in range(steps):
            arguments = block, h, first, recent, slots, ptr, step
            if self.config.checkpoint and self.training and torch.is_grad_enabled():
                output = checkpoint(self._step, *arguments, use_reentrant=False)
            else:
                output = self._step(*arguments)
            assert isinstance(output, BlockOutput)
            before, h = h, output.tokens
            going = None if halted is None else segment_max((halted.total < 1).to(h.dtype), ptr) > 0
            if halted is not None and self.halting is not None:
                h = torch.where((halted.total < 1)[:, None], h, before)
                halted = self.halting.step(halted, before, h, last=step == steps - 1)
            recent = [*recent, h][-max(self.config.cache, 1) :]
            _note(thought, output, h)
            if self.memory is not None and slots is not None and not causal:
                slots, kept, pooled = self._written(slots, h, ptr, going)
                thought.gates.append(kept)
                thought.written.append(pooled.detach())
            if halted is not None and halted.all and not whole:
                break
        if halted is not None:
            h, thought.steps, thought.ponder = halted.output, halted.steps, halted.ponder
        thought.tokens, thought.memory = h, slots
        return thought

    def start(self, sets: int) -> Float[Tensor, "sets slots width"] | None:
        """Return the memory of sets that have read nothing yet; None without segment memory."""
        return None if self.memory is None else self.memory.start(sets)

    def enter(
        self,
        h: Float[Tensor, "tokens width"],
        first: Float[Tensor, "tokens width"],
        recent: list[Float[Tensor, "tokens width"]],
        slots: Float[Tensor, "sets slots width"] | None,
        ptr: Int[Tensor, "pointers"],
        step: int,
    ) -> Float[Tensor, "tokens width"]:
        """Return the states that a step's block is given: with the step, the input and both memories in them."""
        return self._entered(h, first, recent, slots, ptr, step)[0]

    def _entered(
        self,
        h: Tensor,
        first: Tensor,
        recent: list[Tensor],
        slots: Tensor | None,
        ptr: Tensor,
        step: int,
    ) -> tuple[Float[Tensor, "tokens width"], Float[Tensor, "tokens slots"] | None]:
        """Return the same, and each token's weights on the slots."""
        h = h + self.scale_step * step_embedding(step, h)
        if self.reinjection is not None:
            h = h + self.reinjection(first)
        if self.cache is not None:
            h = h + self.cache(h, recent)
        if self.memory is None or slots is None:
            return h, None
        found, weights = self.memory.read_with_weights(slots, h, ptr)
        return h + found, weights

    def _step(
        self,
        block: Block,
        h: Tensor,
        first: Tensor,
        recent: list[Tensor],
        slots: Tensor | None,
        ptr: Tensor,
        step: int,
    ) -> BlockOutput:
        entered, read = self._entered(h, first, recent, slots, ptr, step)
        output = block(entered, step)
        output.read = None if read is None else read.detach()
        return output

    def _written(
        self, slots: Tensor, h: Tensor, ptr: Tensor, going: Tensor | None
    ) -> tuple[Float[Tensor, "sets slots width"], Float[Tensor, "sets slots"], Float[Tensor, "tokens slots"]]:
        """Write the slots; those of a set that has halted as a whole stay, however long others go on."""
        assert self.memory is not None
        written, kept, pooled = self.memory.write_with_weights(slots, h, ptr)
        if going is None:
            return written, kept, pooled
        return (
            torch.where(going[:, None, None], written, slots),
            torch.where(going[:, None], kept, torch.ones_like(kept)),
            pooled,
        )

    def _slots(self, memory: Tensor | None, sets: int) -> Tensor | None:
        if self.memory is None:
            if memory is not None:
                raise ValueError("memory was given, but the unit has no slots (R2MUConfig.slots is 0)")
            return None
        if memory is None:
            return self.start(sets)
        wanted = sets, self.config.slots, self.config.width
        if tuple(memory.shape) != wanted:
            raise ValueError(
                f"memory must be [sets, slots, width], {list(wanted)} (got {list(memory.shape)})"
            )
        return memory


def step_embedding(step: int, like: Float[Tensor, "tokens width"]) -> Float[Tensor, "width"]:
    """Return the sinusoidal embedding of a step, for any step (Vaswani et al. 2017, arXiv 1706.03762, section 3.5)."""
    width = like.shape[1]
    half = torch.arange((width + 1) // 2, dtype=like.dtype, device=like.device)
    angle = step * torch.exp(-math.log(10_000.0) * half / max(1, len(half)))
    return torch.stack([angle.sin(), angle.cos()], dim=1).flatten()[:width]


def _note(thought: Thought, output: BlockOutput, h: Tensor) -> None:
    thought.norms.append(h.detach().square().mean().sqrt())
    thought.graphs += output.graphs
    thought.losses += output.losses
    thought.usages += output.usages
    thought.chosen += output.chosen
    thought.shares += output.shares
    if output.read is not None:
        thought.read.append(output.read)
