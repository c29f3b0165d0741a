"""Watch the recurrent units of a model while it predicts: which experts, which slots, how many steps."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from structformer.graph import TokenGraph
from structformer.nn.r2mu import R2MU, Thought


@dataclass
class Watched:
    """What one recurrent unit did, call by call, the tokens of a call after those of the one before.

    Attributes:
        experts: Experts of a layer; 1 without a router.
        steps: Steps taken.
        sizes: Tokens of each set, one array a call.
        parts: Under the name of each part of a thought the arrays of the calls; a part that the model lacks has none.
    """

    experts: int = 1
    steps: int = 0
    sizes: list[np.ndarray] = field(default_factory=list[np.ndarray])
    parts: dict[str, list[np.ndarray]] = field(default_factory=dict[str, list[np.ndarray]])

    def note(self, thought: Thought, ptr: Int[Tensor, "pointers"]) -> None:
        """Keep what is shown of a thought about sets, and nothing else of it."""
        self.sizes.append(ptr.diff().cpu().numpy())
        self.steps = len(thought.norms)
        self.experts = len(thought.usages[0]) if thought.usages else 1
        for name, values in {
            "chosen": _by_step(thought.chosen, self.steps),
            "shares": _by_step(thought.shares, self.steps),
            "kept": thought.gates,
            "pooled": thought.written,
            "read": thought.read,
        }.items():
            if values:
                self._keep(name, torch.stack(values))
        # Without a halting rule steps are told too, and are the same for all.
        if thought.ponder is not None:
            self._keep("taken", thought.steps)
            self._keep("ponder", thought.ponder)

    def _keep(self, name: str, value: Tensor) -> None:
        kept = value.detach().cpu()
        kept = kept.float() if kept.is_floating_point() else kept.int()
        self.parts.setdefault(name, []).append(kept.numpy())

    def joined(self, name: str, axis: int) -> np.ndarray | None:
        """Return a part of all calls, its tokens or sets one after another along an axis; None where it is lacking."""
        arrays = self.parts.get(name)
        return None if arrays is None else np.concatenate(arrays, axis=axis)

    @property
    def ptr(self) -> Int[np.ndarray, "boundaries"]:
        """Boundaries of the sets of all calls."""
        return np.cumsum([0, *np.concatenate(self.sizes)]) if self.sizes else np.zeros(1, dtype=np.int64)


@contextmanager
def watched(networks: Sequence[nn.Module]) -> Generator[list[Watched]]:
    """Note, while the context lasts, what the recurrent units inside the networks do; what they return stays as it is.

    Args:
        networks: Any modules.

    Yields:
        One entry a recurrent unit, in the order of the networks; empty if there is none.
    """
    found: list[Watched] = []
    with ExitStack() as stack:
        for network in networks:
            for unit in network.modules():
                if isinstance(unit, R2MU):
                    found.append(Watched())
                    stack.callback(_watch(unit, found[-1]))
        yield found


def _watch(unit: R2MU, entry: Watched) -> Any:
    def after(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], thought: Thought) -> None:
        ptr = args[2] if len(args) > 2 else kwargs.get("ptr")
        entry.note(thought, torch.tensor([0, len(thought.tokens)]) if ptr is None else ptr)

    return unit.register_forward_hook(after, with_kwargs=True).remove


def _by_step(values: list[Tensor], steps: int) -> list[Tensor]:
    layers = len(values) // steps
    return [torch.stack(values[at : at + layers]) for at in range(0, len(values), layers or 1)]


@contextmanager
def numbered(networks: Sequence[nn.Module]) -> Generator[None]:
    """Let learned graphs say, while the context lasts, which token each of theirs is to the networks.

    Networks may be asked about tokens in another order than the data's. In place of every graph there is then one
    in which a token listens to itself alone, with its number as the weight: call by call, each counting on from the
    one before.
    """
    with ExitStack() as stack:
        for network in networks:
            stack.callback(network.register_forward_hook(_number()).remove)
        yield


def _number() -> Any:
    start = 0

    def after(_: nn.Module, args: tuple[Any, ...], out: Any) -> None:
        nonlocal start
        graphs: list[TokenGraph] = out.encoded.graphs
        count = len(out.encoded.tokens)
        place = torch.arange(count)
        numbers = (start + place).double()
        graphs[:] = [TokenGraph(torch.arange(count + 1), place, num_sources=count, weight=numbers)]
        start += count

    return after
