"""The records of the efficiency benchmark: the same fields in every one, so that they make a table."""

from __future__ import annotations

from typing import Any

Record = dict[str, Any]


def record(
    comparison: str,
    arm: str,
    tokens: int,
    *,
    milliseconds: float | None = None,
    ratio: float | None = None,
    megabytes: float | None = None,
    recall: float | None = None,
    exponent: float | None = None,
    note: str = "",
) -> Record:
    """Return one line of the result; None stands for what was not measured.

    Args:
        comparison: What is compared, the graph included.
        arm: Who did it.
        tokens: Size of the input.
        milliseconds: Median time of a step.
        ratio: That time over the time of the comparison's first arm.
        megabytes: Peak memory of a step beyond its inputs, in units of 10^6 bytes.
        recall: Share of the exact neighbours found, from 0 to 1.
        exponent: Slope of the logarithm of a quantity over that of the tokens.
        note: What else there is to know.
    """
    return {
        "comparison": comparison,
        "arm": arm,
        "tokens": tokens,
        "milliseconds": milliseconds,
        "ratio": ratio,
        "megabytes": megabytes,
        "recall": recall,
        "exponent": exponent,
        "note": note,
    }
