"""What becomes of memory on the CPU once a tensor is freed: given back to the system, or kept for the next one."""

from __future__ import annotations

import ctypes
import sys

from structformer.ops import large

# Numbers of glibc's mallopt, and its defaults (malloc.h).
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_DEFAULTS = {_TRIM_THRESHOLD: 128 * 1024, _MMAP_MAX: 65_536}
_KEPT = {_TRIM_THRESHOLD: 2**31 - 1, _MMAP_MAX: 0}


def keep_freed_memory(keep: bool = True) -> bool:
    """Let the whole process keep freed memory for the next tensors, or give it back as usual.

    glibc maps every block above 32 MiB afresh and returns it when it is freed, so that each large tensor is paid for
    with a page fault every 4 KiB. Where page faults are slow, as in many virtual machines, steps over 50,000 tokens
    and more then take two to three times as long as they need. Large results of this library's own kernels are
    spared that already (see `large`); what torch allocates is not. With memory kept a process stays as large as it
    has ever been. The same can be had with the environment variables MALLOC_MMAP_MAX_=0 and
    MALLOC_TRIM_THRESHOLD_=2147483647, or with another allocator.

    Args:
        keep: Whether freed memory is kept. False gives back what is free now, and later blocks when they are freed, if
            not as eagerly as a process that has never kept any.

    Returns:
        Whether the allocator could be told; False where it is not glibc's, and nothing has changed.
    """
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    told = [bool(library.mallopt(name, value)) for name, value in (_KEPT if keep else _DEFAULTS).items()]
    if not keep:
        library.malloc_trim(0)
        large.release()
    return all(told)
