"""What a language model keeps of the text it has read, so that reading can go on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from structformer.graph import TokenGraph
from structformer.nn.memory_signals import MemoryState
from structformer.ops import neighbors
from structformer.ops.segment import row_index


@dataclass(frozen=True)
class Past:
    """What one layer keeps in one step.

    Attributes:
        line: Last inputs of the mixers' short convolution, `[sets, size − 1, width]`; None without one.
        recurrence: States of the deep–shallow memory; None without one.
        heard: Inputs of attention of the tokens since the segment began, `[heard, width]`; None without attention,
            and where only whole segments are read. Keys and values are made from them, at half the memory.
        shift: Last inputs of the experts' short convolution, `[sets, 1, width]`; None without one.
    """

    line: Float[Tensor, "sets history width"] | None = None
    recurrence: MemoryState | None = None
    heard: Float[Tensor, "heard width"] | None = None
    shift: Float[Tensor, "sets 1 width"] | None = None


@dataclass(frozen=True)
class LanguageState:
    """What is known of some texts, read side by side.

    Attributes:
        ptr: Boundaries of the texts in ``finals`` and in every `Past.heard`.
        finals: Final states of the tokens since the segment began, of which the segment memory will be written.
        slots: Segment memory, as it was when the segment began; None without one.
        pasts: What each step and layer keeps, by (step, layer).
        read: Tokens that each text has, earlier segments included.
    """

    ptr: Int[Tensor, "pointers"]
    finals: Float[Tensor, "heard width"]
    slots: Float[Tensor, "sets slots width"] | None
    pasts: dict[tuple[int, int], Past] = field(default_factory=dict)
    read: Int[Tensor, "sets"] | None = None

    @property
    def sets(self) -> int:
        """Number of texts."""
        return len(self.ptr) - 1

    @property
    def numbers(self) -> int:
        """How many numbers are kept, for all texts together."""
        kept = [self.finals, *([] if self.slots is None else [self.slots])]
        for past in self.pasts.values():
            kept += [x for x in (past.line, past.heard, past.shift) if x is not None]
            if past.recurrence is not None:
                kept += past.recurrence.parts()
        return sum(x.numel() for x in kept)

    def detach(self) -> LanguageState:
        """The same, through which no gradient goes back."""
        pasts = {key: _detached(past) for key, past in self.pasts.items()}
        slots = None if self.slots is None else self.slots.detach()
        return replace(self, finals=self.finals.detach(), slots=slots, pasts=pasts)


def appended(
    before: Float[Tensor, "heard width"],
    ptr: Int[Tensor, "pointers"],
    new: Float[Tensor, "sets width"],
) -> Float[Tensor, "more width"]:
    """Return packed rows with one more row at the end of each set."""
    sets = torch.arange(len(new), device=new.device)
    place = torch.arange(len(before), device=new.device) + row_index(ptr, len(before))
    both = torch.cat([place, ptr[1:] + sets]).argsort()
    return torch.cat([before, new])[both]


def window_graph(ptr: Int[Tensor, "pointers"], size: int, causal: bool) -> TokenGraph:
    """Link each token to the ``size`` tokens before it in its set and, unless ``causal``, to as many after it."""
    tokens = int(ptr[-1])
    number, owner = torch.arange(tokens, device=ptr.device), row_index(ptr, tokens)
    shift = torch.arange(-size, 1 if causal else size + 1, device=ptr.device)
    shift = shift[shift != 0]
    source = number[:, None] + shift
    there = (source >= ptr[owner, None]) & (source < ptr[owner + 1, None])
    rowptr = torch.cat([ptr.new_zeros(1), there.sum(1).cumsum(0)])
    return TokenGraph(rowptr, source[there], num_sources=tokens, given=torch.ones_like(source[there]).bool())


def graph_of_next(
    u: Float[Tensor, "sets affinity"],
    w: Float[Tensor, "heard affinity"],
    ptr: Int[Tensor, "pointers"],
    k: int,
    window: int,
    search: str,
) -> TokenGraph:
    """Link the next token of each set as a causal search over the whole set would.

    Args:
        u: How each next token chooses.
        w: How the tokens before it are chosen.
        ptr: Boundaries of these.
        k: Sources wanted besides the token itself.
        window: Tokens just before it that it always hears.
        search: As in `structformer.ops.neighbors`.

    Returns:
        A graph from the tokens before and the next ones, packed set by set, to the next ones.
    """
    sets = torch.arange(len(u), device=u.device)
    near = ptr[1:, None] - window + torch.arange(window, device=u.device)
    inside = near >= ptr[:-1, None]
    given = TokenGraph(bounds_of(inside.sum(1)), near[inside], num_sources=len(w))
    bounds = torch.arange(len(u) + 1, device=u.device)
    found = neighbors(u, w, k, bounds, key_ptr=ptr, method=search, given=given)
    own = ptr[1:] + sets
    # Before a set there is one more token for each set that comes earlier.
    edges = torch.stack([torch.cat([found.col + found.row, own]), torch.cat([found.row, sets])])
    graph = TokenGraph.from_edge_index(edges, len(u), num_sources=len(w) + len(u))
    place = own[graph.row]
    graph.given = (graph.col < place) & (graph.col >= place - window)
    return graph


def bounds_of(sizes: Int[Tensor, "sets"]) -> Int[Tensor, "pointers"]:
    """Return the boundaries of sets of these sizes."""
    return torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])


def forgotten(past: Past, texts: Bool[Tensor, "sets"]) -> Past:
    """Return what a layer keeps where some texts begin anew: of these, what it kept before it read anything."""
    line, shift = (
        None if x is None else x.masked_fill(texts[:, None, None], 0.0) for x in (past.line, past.shift)
    )
    recurrence = None if past.recurrence is None else past.recurrence.forgotten(texts)
    return Past(line, recurrence, past.heard, shift)


def _detached(past: Past) -> Past:
    recurrence = None if past.recurrence is None else past.recurrence.detach()
    line, heard, shift = (None if x is None else x.detach() for x in (past.line, past.heard, past.shift))
    return Past(line, recurrence, heard, shift)
