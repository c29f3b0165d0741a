"""Large results of the CPU's kernels in large pages, where the system has them to give.

A tensor of hundreds of megabytes is new memory each time (see `host_memory`): filling it costs a page fault every
4 KiB, and reading from all over it a walk through the page table for nearly every vector. With pages of 2 MiB both are
rare.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache

from torch import Tensor

# Bytes from which glibc gives a tensor memory of its own, whatever was freed before.
LARGE = 32 << 20
_HUGEPAGE = 14  # MADV_HUGEPAGE of Linux (madvise(2))
_PAGE = 4096


def empty(like: Tensor, *shape: int) -> Tensor:
    """Return a tensor of the type and device of another whose numbers are yet to be written."""
    return _in_huge_pages(like.new_empty(shape))


def _in_huge_pages(x: Tensor) -> Tensor:
    if x.device.type == "cpu" and x.nbytes >= LARGE and (advise := _madvise()) is not None:
        begin = -(-x.data_ptr() // _PAGE) * _PAGE
        length = (x.data_ptr() + x.nbytes - begin) // _PAGE * _PAGE
        # Advice: where it is not taken, nothing but time is lost.
        advise(ctypes.c_void_p(begin), ctypes.c_size_t(length), _HUGEPAGE)
    return x


@cache
def _madvise() -> Callable[..., int] | None:
    return ctypes.CDLL(None).madvise if sys.platform.startswith("linux") else None
