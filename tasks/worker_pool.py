"""Processes that measure side by side, and end with the one that asked for them."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import wait
from threading import Thread

import torch


def worker_pool(workers: int) -> ProcessPoolExecutor:
    """Return a pool of new processes that share the machine's cores evenly.

    A process whose parent was killed would go on measuring for hours, for nobody: these end.

    Args:
        workers: Processes, at least 1.
    """
    threads = max(1, (os.cpu_count() or 1) // workers)
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin, (threads,))


def _begin(threads: int) -> None:
    torch.set_num_threads(threads)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    # Not sys.exit, which ends this thread alone.
    os._exit(1)
