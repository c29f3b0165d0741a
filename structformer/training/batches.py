"""Batches of about equal size, in an order drawn from a generator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.data import DataLoader, Sampler


class EvenBatches(Sampler[list[int]]):
    """Shuffled batches whose sizes differ by at most one, so that no batch is a lonely remainder.

    It has no ``batch_size``: accelerate would take batches below that size for remainders and merge them.

    Args:
        size: Number of things.
        most: Most things in a batch.
        generator: Draws the order, anew each epoch.
    """

    drop_last = False

    def __init__(self, size: int, most: int, generator: torch.Generator) -> None:
        if size < 1:
            raise ValueError(f"size must be at least 1 (got {size})")
        if most < 1:
            raise ValueError(f"batch_size must be at least 1 (got {most})")
        self.size, self.most, self.generator = size, most, generator

    def __len__(self) -> int:
        return -(-self.size // self.most)

    def __iter__(self) -> Iterator[list[int]]:
        order = torch.randperm(self.size, generator=self.generator)
        for batch in order.tensor_split(len(self)):
            yield batch.tolist()


def index_loader(
    size: int, batch_size: int, seed: int, collate: Callable[[Int[Tensor, " batch"]], Any]
) -> DataLoader[Any]:
    """Return a loader over ``range(size)`` in shuffled even batches; ``collate`` makes a batch of indices.

    Args:
        size: Number of things, at least 1.
        batch_size: Most things in a batch.
        seed: Decides the order.
        collate: Turns the indices of a batch into the batch.

    Raises:
        ValueError: ``size`` or ``batch_size`` is less than 1.
    """
    sampler = EvenBatches(size, batch_size, torch.Generator().manual_seed(seed))

    def gather(indices: list[int]) -> Any:
        return collate(torch.tensor(indices, dtype=torch.long))

    return DataLoader(range(size), batch_sampler=sampler, collate_fn=gather)  # pyright: ignore[reportArgumentType]
