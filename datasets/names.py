"""Names that loaders take."""

from __future__ import annotations

from collections.abc import Sequence


def one_of(argument: str, name: str, known: Sequence[str]) -> str:
    """Return the name if it is known.

    Raises:
        ValueError: If it is not.
    """
    if name not in known:
        raise ValueError(f"{argument} must be one of {', '.join(known)} (got {name!r})")
    return name
