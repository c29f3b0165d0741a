"""How benchmarks measure: interleaved times, exponents, streaming bandwidth."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import torch

Result = TypeVar("Result")
Step = Callable[[], object]


def interleaved(steps: Mapping[str, Step], repeats: int) -> dict[str, list[float]]:
    """Time the steps in turn, A B C A B C, so that a slow minute of the machine falls on all of them.

    Each is called once beforehand, unmeasured.

    Returns:
        The milliseconds of each call, by the steps' names.

    Raises:
        ValueError: If repeats is below 1.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1 (got {repeats})")
    for step in steps.values():
        step()
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(repeats):
        for name, step in steps.items():
            times[name].append(timed(step)[0])
    return times


def timed(step: Callable[[], Result]) -> tuple[float, Result]:
    """Return the milliseconds that one call took, and its result."""
    start = time.perf_counter()
    result = step()
    return 1e3 * (time.perf_counter() - start), result


def medians(times: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return the median of each list."""
    return {name: statistics.median(values) for name, values in times.items()}


def exponent(sizes: Sequence[int], values: Sequence[float | int]) -> float:
    """Return the slope of log(value) over log(size), least squares: 1 is linear, 2 quadratic.

    Raises:
        ValueError: If there are fewer than two sizes.
    """
    if len(sizes) < 2:
        raise ValueError(f"sizes must be at least two for a slope (got {len(sizes)})")
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def streaming_bandwidth(numbers: int, repeats: int) -> float:
    """Return the bytes a second at which a float32 buffer of so many numbers is read from end to end.

    What is timed is the buffer's maximum, which reads every byte once and writes none. The fastest repeat
    counts: a disturbed one would understate what the machine can do.

    Raises:
        ValueError: If repeats is below 1.
    """
    buffer = torch.ones(numbers)
    fastest = min(interleaved({"read": buffer.amax}, repeats)["read"])
    return 1e3 * buffer.nbytes / fastest


def refusal(call: Step) -> str | None:
    """Return why a call is not possible here, or None when it went through.

    Only what the library says about its arguments or about a package that is missing counts as a refusal.
    """
    try:
        call()
    except (ValueError, ImportError) as error:
        return " ".join(str(error).split())
    return None
