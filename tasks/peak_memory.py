"""Peak memory of a step, measured in a fresh process."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import pickle
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from .measure import Step

Job = tuple[Callable[..., Step], tuple[Any, ...], tuple[Any, ...]]
_STATUS = Path("/proc/self/status")


class PeakMemory:
    """How far the memory of this process rises above what it holds when this is made."""

    def __init__(self) -> None:
        self._before: float | None = None
        if measures_memory():
            gc.collect()
            _return_free_memory()
            # 5 sets the high-water mark back to what is resident now (man 5 proc).
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
            self._before = _status("VmRSS")

    @property
    def megabytes(self) -> float | None:
        """The highest so far, in MB (10^6 bytes); None where it cannot be read."""
        return None if self._before is None else max(0.0, _status("VmHWM") - self._before)


def measures_memory() -> bool:
    """Return whether peak memory can be read here: it takes Linux and its /proc."""
    return sys.platform == "linux" and _STATUS.is_file()


def peak_megabytes(jobs: Sequence[Job]) -> list[float | None]:
    """Return the memory that one step of each job needs beyond its inputs, in MB, each in a fresh process.

    A job is `(build, small, full)`. In its process `build(*small)()` first loads what a first call loads; then
    `build(*full)` makes the inputs, and the peak during its one step is compared with what was resident before.
    The peak is the kernel's high-water mark, set back just before the step: `ru_maxrss`, which cannot be set back,
    also remembers the building of the inputs, and in a new process the size of the process that started it.

    Args:
        jobs: For each a function of an importable module that makes inputs and returns the step, its arguments
            for a tiny step, and those for the step to be measured.

    Returns:
        For each job megabytes (10^6 bytes), or None if its process was killed, as happens for lack of memory.

    Raises:
        OSError: Where `measures_memory` says no.
        RuntimeError: If a step raised; its traceback is in the message.
    """
    if not measures_memory():
        raise OSError(f"peak memory can only be read on Linux (got {sys.platform})")
    code = f"from {__name__} import serve; serve()"
    request = pickle.dumps((list(jobs), torch.get_num_threads()))
    answer = subprocess.run([sys.executable, "-c", code], input=request, capture_output=True, check=False)
    if answer.returncode:
        raise RuntimeError(f"a measured step failed:\n{answer.stderr.decode(errors='replace')}")
    return json.loads(answer.stdout)


def serve() -> None:
    """Measure the jobs that stand on standard input, each in a process forked from this idle one."""
    jobs, threads = pickle.load(sys.stdin.buffer)
    print(json.dumps([_forked(partial(_peak, *job, threads)) for job in jobs]))


def _forked(measure: Callable[[], float]) -> float | None:
    """Return what a forked process measured, or None if it was killed; leave if it failed."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, repr(measure()).encode())
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        said = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == -signal.SIGKILL:
        return None
    if code:
        sys.exit(1)
    return float(said)


def _peak(build: Callable[..., Step], small: tuple[Any, ...], full: tuple[Any, ...], threads: int) -> float:
    torch.set_num_threads(threads)
    build(*small)()
    step = build(*full)
    memory = PeakMemory()
    step()
    assert memory.megabytes is not None
    return memory.megabytes


def _return_free_memory() -> None:
    """Give the heap's free pages back, so that the step's use of them counts."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _status(name: str) -> float:
    """Read an entry of the process's status, in MB."""
    lines = _STATUS.read_text(encoding="ascii").splitlines()
    entry = next(line for line in lines if line.startswith(f"{name}:"))
    return float(entry.split()[1]) * 1024 / 1e6
