"""Batches of about equal size, in an order drawn from a generator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler


class EvenBatches(Sampler[list[int]]):
    """Shuffled batches whose sizes differ by at most one, so that no batch is a lonely remainder.

    Args:
        size: Number of things.
        batch_size: Most things in a batch.
        generator: Draws the order, anew each epoch.
    """

    drop_last = False

    def __init__(self, size: int, batch_size: int, generator: torch.Generator) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1 (got {batch_size})")
        self.size, self.batch_size, self.generator = size, batch_size, generator

    def __len__(self) -> int:
        return max(1, -(-self.size // self.batch_size))

    def __iter__(self) -> Iterator[list[int]]:
        order = torch.randperm(self.size, generator=self.generator)
        for batch in order.tensor_split(len(self)):
            yield batch.tolist()


def index_loader(
    size: int, batch_size: int, seed: int, collate: Callable[[Tensor], Any]
) -> DataLoader[Any]:
    """Return a loader over ``range(size)`` in shuffled even batches; ``collate`` turns indices into a batch."""
    sampler = EvenBatches(size, batch_size, torch.Generator().manual_seed(seed))

    def gather(indices: list[int]) -> Any:
        return collate(torch.tensor(indices, dtype=torch.long))

    return DataLoader(range(size), batch_sampler=sampler, collate_fn=gather)  # pyright: ignore[reportArgumentType]
