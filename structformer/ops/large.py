"""Large results of the CPU's kernels: in huge pages, where the system has them, and in memory that is used again.

A tensor of hundreds of megabytes is new memory each time (see `host_memory`): filling it costs a page fault every
4 KiB, and reading from all over it a walk through the page table for nearly every vector. With pages of 2 MiB both are
rare, but the system still clears each page, and a virtual machine may have to ask its host for it: measured, up to 1.5
seconds a gigabyte. So what a large result leaves behind serves the next one of its size. Meanwhile the system may take
its pages whenever it is short of memory (MADV_FREE of madvise(2)), and after a while it is given back altogether.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import sys
import time
import weakref
from dataclasses import dataclass, field
from functools import cache

import torch
from torch import Tensor

# Bytes from which that is done. Measured among other large work at 8,192 tokens, whose tensors have 4 MiB: 31 ms a
# step of an attention layer, against 36 where they are torch's.
LARGE = 4 << 20
# Memory of up to so many times the size serves too.
SLACK = 1.25
# Seconds after which memory that nothing has used is given back, when the next large result is made.
KEPT = 30.0
_HUGE = 2 << 20
_map = mmap.mmap


def empty(like: Tensor, *shape: int) -> Tensor:
    """Return a tensor of the type and device of another whose numbers are yet to be written.

    It cannot be resized in place, if it is large.
    """
    size = math.prod(shape) * like.element_size()
    if like.device.type != "cpu" or size < LARGE or not _serves():
        return like.new_empty(shape)
    size = -(-size // _HUGE) * _HUGE
    block = _POOL.take(size) or _mapped(size)
    if block is None:  # torch says what it is when memory is short
        return like.new_empty(shape)
    # The tensor keeps the view, and with it the memory; when the last tensor on it is gone, so is the view.
    view = memoryview(block)
    weakref.finalize(view, _POOL.give_back, block).atexit = False
    flat = torch.frombuffer(view, dtype=like.dtype, count=math.prod(shape))
    # Not a view of the flat one, which autograd would take note of.
    return like.new_empty(0).set_(flat.untyped_storage(), 0, torch.Size(shape), _strides(shape))


def _strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def release() -> None:
    """Give back what no tensor uses; it would happen by itself after a while, or when memory is short."""
    _POOL.free.clear()


@dataclass
class _Pool:
    """Memory that no tensor uses, and since when."""

    free: list[tuple[float, mmap.mmap]] = field(default_factory=list)

    def take(self, size: int) -> mmap.mmap | None:
        """Return memory of at least so many bytes, the smallest that will do; None if there is none."""
        now = time.monotonic()
        fit = [len(block) for _, block in self.free if size <= len(block) <= SLACK * size]
        least = min(fit, default=0)
        found = None
        kept: list[tuple[float, mmap.mmap]] = []
        # Taken out one by one, each by one thread only: others may do the same at any time.
        with contextlib.suppress(IndexError):
            while True:
                since, block = self.free.pop()
                if found is None and fit and len(block) == least:
                    found = block
                elif now - since < KEPT:
                    kept.append((since, block))
        self.free += kept
        return found

    def give_back(self, block: mmap.mmap) -> None:
        """Keep memory for the next tensor, and let the system have its pages if it needs them."""
        _advise(block, mmap.MADV_FREE)
        self.free.append((time.monotonic(), block))


_POOL = _Pool()


def _mapped(size: int) -> mmap.mmap | None:
    own = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    for _ in range(2):
        try:
            block = _map(-1, size, flags=own)
        except OSError:
            release()
        else:
            _advise(block, mmap.MADV_HUGEPAGE)
            return block
    return None


def _advise(block: mmap.mmap, advice: int) -> None:
    # Where advice is not taken, nothing but time is lost.
    with contextlib.suppress(OSError):
        block.madvise(advice)


@cache
def _serves() -> bool:
    return sys.platform.startswith("linux") and all(hasattr(mmap, f"MADV_{x}") for x in ("HUGEPAGE", "FREE"))
