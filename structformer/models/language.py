"""ReSSFormerLM: the recurrent sparse model on text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from structformer.graph import TokenGraph
from structformer.models.generation import generate
from structformer.models.language_block import LanguageBlock, still_hearing
from structformer.models.language_state import (
    LanguageState,
    Past,
    appended,
    bounds_of,
    forgotten,
    window_graph,
)
from structformer.models.ressformer import ReSSFormerConfig
from structformer.nn.linear import Linear
from structformer.nn.r2mu import R2MU, BlockOutput, Thought
from structformer.ops.segment import row_index

MIXERS = ("attention", "rsa", "both")


@dataclass(frozen=True)
class ReSSFormerLMConfig(ReSSFormerConfig):
    """What a language model is made of, beyond what a ReSSFormer is.

    Attributes:
        vocabulary: Different tokens.
        mixer: How tokens of a text hear each other: "attention" along the learned graph, "rsa", the deep–shallow
            memory, in linear time and with a state of constant size, or "both".
        causal: Whether a token hears earlier ones only; False is for masked-token models, which need "attention".
        window: Tokens just before each token (and, without ``causal``, just after it) that attention always hears.
        convolution: Tokens that the short causal convolution before the mixers mixes; 0 is none.
        token_shift: Whether, where there is a convolution, the experts too read a token mixed with the one before it.
        successors: Whether in causal text a token is chosen for the one just before it too; see `LanguageBlock`.
        deep_slots: Deep states a head of the deep–shallow memory.
        deep_heads: Its heads; None is as many as attention has.
        deep_channels: Features of its keys and of its values, a head; None is ``width`` over its heads.
        segment: Tokens of a text that attention looks back over when writing; then the segment memory is written.
        tied: One table of embeddings for tokens read and written.
    """

    vocabulary: int = 256
    mixer: str = "attention"
    causal: bool = True
    window: int = 4
    convolution: int = 3
    token_shift: bool = True
    successors: bool = True
    deep_slots: int = 4
    deep_heads: int | None = None
    deep_channels: int | None = None
    segment: int = 512
    tied: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mixer not in MIXERS:
            raise ValueError(f"mixer must be one of {', '.join(MIXERS)} (got {self.mixer!r})")
        for name in ("vocabulary", "segment"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1 (got {getattr(self, name)})")
        for name in ("window", "convolution"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0 (got {getattr(self, name)})")
        if self.set_dropout:
            raise ValueError(f"set_dropout must be 0 in a language model (got {self.set_dropout})")
        if not self.causal and (self.recurs or self.convolution):
            raise ValueError(
                'without causal, mixer must be "attention" and convolution 0: both others know an order '
                f"(got {self.mixer!r} and {self.convolution})"
            )

    @property
    def attends(self) -> bool:
        """Whether tokens attend along a learned graph."""
        return self.mixer != "rsa"

    @property
    def recurs(self) -> bool:
        """Whether there is a deep–shallow memory."""
        return self.mixer != "attention"


@dataclass
class LanguageOutput:
    """What a language model returns.

    Attributes:
        logits: Scores of the next token (of the token itself in a masked model), for all tokens or those asked for.
        tokens: Final states, after the last norm.
        state: With which the texts can be continued.
        thought: Steps, gates, norms, experts' use, graphs.
    """

    logits: Float[Tensor, "asked vocabulary"]
    tokens: Float[Tensor, "tokens width"]
    state: LanguageState
    thought: Thought

    @property
    def loss(self) -> Float[Tensor, ""]:
        """What the experts' routing adds to a training loss."""
        losses = self.thought.losses
        return torch.stack(losses).mean() if losses else self.tokens.new_zeros(())


class ReSSFormerLM(nn.Module):
    """Read text with a recurrent sparse model (You and Liu 2025, arXiv 2510.01585; RSA, mathematics.md, 5 and 6).

    Order enters through the causal mask, the window, the short convolution and the deep–shallow memory, never
    through positions. A text is read segment by segment: attention and graphs stay inside a segment, and what came
    before is in the slots of the segment memory and in the recurrent states. Texts of a packed batch never meet.

    Examples:
        >>> import torch, structformer as sf
        >>> model = sf.models.ReSSFormerLM(sf.models.ReSSFormerLMConfig(width=32, vocabulary=50)).eval()
        >>> ids = torch.randint(50, (11,))
        >>> whole = model(ids).logits
        >>> start = model(ids[:10])
        >>> torch.allclose(model(ids[10:], state=start.state).logits, whole[10:], atol=1e-4)
        True
    """

    def __init__(self, config: ReSSFormerLMConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        # Scaled up by √width on the way in, so that a tied head has scores near 1 at first and tokens outweigh the
        # step's embedding (Vaswani et al. 2017, arXiv 1706.03762, section 3.4).
        nn.init.normal_(self.embedding.weight, std=config.width**-0.5)
        self.blocks = nn.ModuleList(LanguageBlock(config) for _ in range(config.depth))
        self.unit = R2MU(config.unit())
        self.norm = nn.LayerNorm(config.width)
        self.head = Linear(config.width, config.vocabulary, bias=False)
        if config.tied:
            self.head.weight = self.embedding.weight
        else:
            nn.init.normal_(self.head.weight, std=config.width**-0.5)

    def forward(
        self,
        ids: Int[Tensor, "tokens"],
        ptr: Int[Tensor, "pointers"] | None = None,
        *,
        state: LanguageState | None = None,
        steps: int | None = None,
        where: Bool[Tensor, "tokens"] | None = None,
    ) -> LanguageOutput:
        """Read texts, from their beginning, from the beginning of a segment, or one more token of each.

        Args:
            ids: Tokens.
            ptr: Boundaries of the texts; None is one text, or with a state of several one token of each.
            state: What an earlier call returned. Within a segment texts go on by one token each; after
                `next_segment` by as many as there are.
            steps: Steps to take; None is as configured.
            where: Tokens whose logits are wanted; None wants all. A large vocabulary takes most of the time.

        Raises:
            ValueError: If a token is not in the vocabulary, the state does not fit the texts, or texts go on within
                a segment by more than one token.
        """
        config = self.config
        if ids.numel() and (int(ids.min()) < 0 or int(ids.max()) >= config.vocabulary):
            raise ValueError(
                f"ids must lie in 0 to {config.vocabulary - 1} (got {int(ids.min())} to {int(ids.max())})"
            )
        ptr = self._bounds(ids, ptr, state)
        goes_on = state.ptr if state is not None and len(state.finals) else None
        window = None
        if config.attends and goes_on is None:
            window = window_graph(ptr, config.window, config.causal)
        pasts = {} if state is None else state.pasts
        kept: dict[tuple[int, int], Past] = {}
        found: dict[tuple[int, int], TokenGraph] = {}

        def block(h: Tensor, step: int) -> BlockOutput:
            output = BlockOutput(h)
            for number, layer in enumerate(self.blocks):
                assert isinstance(layer, LanguageBlock)
                key = step, number
                past = pasts.get(key, Past())
                h, graph, now = layer.mix(h, ptr, window, found.get(key), past, goes_on)
                if graph is not None:
                    found[key] = graph.with_weight(None)
                    output.graphs.append(graph)
                h, routed, shift = layer.reflect(h, ptr, past)
                kept[key] = replace(now, shift=shift)
                output.routed(routed)
            output.tokens = h
            return output

        slots = None if state is None else state.slots
        if slots is None:
            slots = self.unit.start(len(ptr) - 1)
        thought = self.unit(
            block, self.embed(ids), ptr, memory=slots, steps=steps, causal=config.causal, whole=True
        )
        tokens = self.norm(thought.tokens)
        return LanguageOutput(
            self.head(tokens if where is None else tokens[where]),
            tokens,
            self._kept(state, ptr, thought, slots, kept, goes_on),
            thought,
        )

    def embed(self, ids: Int[Tensor, "tokens"]) -> Float[Tensor, "tokens width"]:
        """Return the first states of tokens."""
        return self.embedding(ids) * self.config.width**0.5

    def next_segment(self, state: LanguageState, texts: Bool[Tensor, "sets"] | None = None) -> LanguageState:
        """Write the segment memory from what was read, and forget the rest but for the recurrent states.

        Args:
            state: What an earlier call returned.
            texts: Those whose segment ends; None is all. The others go on within theirs.
        """
        sizes = state.ptr.diff()
        ends = torch.ones_like(sizes, dtype=torch.bool) if texts is None else texts
        over = ends[row_index(state.ptr, len(state.finals))]
        slots = state.slots
        if slots is not None and self.unit.memory is not None:
            slots, _ = self.unit.memory.write(slots, state.finals[over], bounds_of(sizes * ends))
        pasts = {key: still_hearing(past, ~over) for key, past in state.pasts.items()}
        return replace(
            state, ptr=bounds_of(sizes * ~ends), finals=state.finals[~over], slots=slots, pasts=pasts
        )

    def forget(self, state: LanguageState, texts: Bool[Tensor, "sets"]) -> LanguageState:
        """Let some texts begin anew, as if nothing of them had been read; the others go on.

        Raises:
            ValueError: If the state stands within a segment.
        """
        if len(state.finals):
            raise ValueError(
                f"state must stand between segments (got one with {len(state.finals)} tokens of a segment); "
                "next_segment comes before"
            )
        slots, first = state.slots, self.unit.start(state.sets)
        if slots is not None and first is not None:
            slots = torch.where(texts[:, None, None], first, slots)
        pasts = {key: forgotten(past, texts) for key, past in state.pasts.items()}
        read = None if state.read is None else state.read.masked_fill(texts, 0)
        return replace(state, slots=slots, pasts=pasts, read=read)

    def generate(
        self,
        ids: Int[Tensor, "tokens"],
        ptr: Int[Tensor, "pointers"] | None = None,
        *,
        tokens: int,
        temperature: float = 1.0,
        top_p: float = 1.0,
        seed: int = 0,
        stop: int | None = None,
    ) -> Iterator[Int[Tensor, "sets"]]:
        """Go on with texts, one token of each at a time; see `structformer.models.generation.generate`."""
        return generate(
            self, ids, ptr, tokens=tokens, temperature=temperature, top_p=top_p, seed=seed, stop=stop
        )

    def _bounds(self, ids: Tensor, ptr: Tensor | None, state: LanguageState | None) -> Tensor:
        if state is None:
            return torch.tensor([0, len(ids)], device=ids.device) if ptr is None else ptr
        each = torch.arange(state.sets + 1, device=ids.device)
        if len(state.finals):
            if len(ids) != state.sets or (ptr is not None and not torch.equal(ptr, each)):
                raise ValueError(
                    f"within a segment each of the state's {state.sets} texts goes on by 1 token (got {len(ids)} "
                    "tokens); next_segment comes before more"
                )
            return each
        ptr = (each if state.sets > 1 else each * len(ids)) if ptr is None else ptr
        if len(ptr) != state.sets + 1 or int(ptr[-1]) != len(ids):
            raise ValueError(
                f"ptr must bound the state's {state.sets} texts and end at {len(ids)} tokens (got {ptr.tolist()})"
            )
        return ptr

    def _kept(
        self,
        state: LanguageState | None,
        ptr: Tensor,
        thought: Thought,
        slots: Tensor | None,
        kept: dict[tuple[int, int], Past],
        goes_on: Tensor | None,
    ) -> LanguageState:
        read = ptr.diff() if state is None or state.read is None else state.read + ptr.diff()
        finals, bounds = thought.tokens, ptr
        if goes_on is not None and state is not None:
            finals, bounds = appended(state.finals, goes_on, thought.tokens), goes_on + ptr
        return LanguageState(bounds, finals, slots, kept, read)
