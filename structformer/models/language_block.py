"""The layer of a language model: what came just before, mixers, experts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from structformer.graph import TokenGraph
from structformer.models.language_state import Past, appended, graph_of_next
from structformer.models.ressformer_block import ReSSFormerBlock
from structformer.nn.convolution import ShortConvolution
from structformer.nn.memory import DeepShallowMemory, DeepShallowMemoryConfig
from structformer.nn.moe import ExpertsOutput

if TYPE_CHECKING:
    from structformer.models.language import ReSSFormerLMConfig


class LanguageBlock(ReSSFormerBlock):
    """h ← h + Mixers(Convolution(h)); h ← h + Experts(Shift(h)), pre-norm (mathematics.md, 5 and 6).

    The mixers are attention along the learned graph, the deep–shallow memory, or the sum of both. The short
    convolution stands before them, as in recall benchmarks (zoology, arXiv 2312.04927). The experts too read a token
    mixed with the one before it (token shift: RWKV, arXiv 2305.13048), and so what two tokens mean together.

    In the learned graph a token is chosen for what it is and for the token just before it, half and half at first: a
    token that is met again then finds what followed it last time (induction heads, arXiv 2209.11895).
    """

    def __init__(self, config: ReSSFormerLMConfig) -> None:
        super().__init__(config)
        self.config = config
        if not config.attends:
            del self.structure, self.attention
        self.convolution = ShortConvolution(config.width, config.convolution) if config.convolution else None
        self.shift = ShortConvolution(config.width, 2) if config.convolution and config.token_shift else None
        self.successor = None
        if config.attends and config.causal and config.successors:
            self.successor = ShortConvolution(config.width, 2)
            nn.init.constant_(self.successor.weight, 0.5**0.5)
        self.recurrence = None
        if config.recurs:
            heads = config.deep_heads or config.heads
            memory = DeepShallowMemoryConfig(config.width, heads, config.deep_channels, config.deep_slots)
            self.recurrence = DeepShallowMemory(memory)

    def mix(
        self,
        h: Float[Tensor, "tokens width"],
        ptr: Int[Tensor, "pointers"],
        window: TokenGraph | None,
        topology: TokenGraph | None,
        past: Past,
        goes_on: Int[Tensor, "heard_pointers"] | None,
    ) -> tuple[Float[Tensor, "tokens width"], TokenGraph | None, Past]:
        """Return the states after the mixers, the graph listened along, and what the layer keeps.

        Args:
            h: States.
            ptr: Boundaries of the sets.
            window: The tokens near each token, which it always hears; None where one token a set goes on.
            topology: Edges to weigh, with nothing searched, where a step is computed a second time.
            past: What the layer has kept.
            goes_on: Boundaries of the sets in ``past.heard`` where one token a set goes on; None where all begin.
        """
        x = self.norm_attention(h)
        line, recurrence, out = None, None, torch.zeros_like(h)
        if self.convolution is not None:
            x, line = self.convolution(x, ptr, past.line)
        graph, heard = None, None
        if self.config.attends:
            graph, source = self._graph(x, ptr, window, topology, past, goes_on)
            out = out + self.attention(x, graph, source=source)
            heard = source
        if self.recurrence is not None:
            mixed, recurrence = self.recurrence(x, ptr, past.recurrence)
            out = out + mixed
        return h + self.dropout(out), graph, Past(line, recurrence, heard)

    def reflect(
        self, h: Float[Tensor, "tokens width"], ptr: Int[Tensor, "pointers"], past: Past
    ) -> tuple[Float[Tensor, "tokens width"], ExpertsOutput | None, Float[Tensor, "sets 1 width"] | None]:
        """Return the states after the experts, what these did, and the last inputs of their convolution.

        Args:
            h: States.
            ptr: Boundaries of the sets.
            past: What the layer has kept.
        """
        x, shift = self.norm_experts(h), None
        if self.shift is not None:
            x, shift = self.shift(x, ptr, past.shift)
        return *self.asked(h, x), shift

    def _graph(
        self,
        x: Tensor,
        ptr: Tensor,
        window: TokenGraph | None,
        topology: TokenGraph | None,
        past: Past,
        goes_on: Tensor | None,
    ) -> tuple[TokenGraph, Float[Tensor, "sources width"]]:
        config, structure = self.config, self.structure
        if goes_on is None:
            speaker = self._spoken(x, ptr)
            graph = structure(x, ptr, speaker=speaker, given=window, topology=topology, causal=config.causal)
            return graph, x
        assert past.heard is not None
        u, w = structure.listening(x), structure.speaking(self._spoken(past.heard, goes_on))
        found = graph_of_next(
            u.detach(), w.detach(), goes_on, config.neighbors, config.window, structure.config.search
        )
        source = appended(past.heard, goes_on, x)
        return structure.weigh(u, structure.speaking(self._spoken(source, goes_on + ptr)), found), source

    def _spoken(
        self, x: Float[Tensor, "tokens width"], ptr: Int[Tensor, "pointers"]
    ) -> Float[Tensor, "tokens width"]:
        """Return the states by which tokens are chosen."""
        return x if self.successor is None else self.successor(x, ptr)[0]


def still_hearing(past: Past, kept: Bool[Tensor, "heard"]) -> Past:
    """Drop what attention has heard of texts whose segment ends."""
    return past if past.heard is None else replace(past, heard=past.heard[kept])
