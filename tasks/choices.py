"""What the settings of a run may name: arms, data sets, tasks."""

from __future__ import annotations

from collections.abc import Collection


def check_chosen(settings: object, **known: Collection[object]) -> None:
    """Check that fields of some settings name only what there is.

    Args:
        settings: The settings.
        **known: For a field what may stand in it.

    Raises:
        ValueError: If anything else does; the message names the field, what may stand there, and what was found.
    """
    for name, among in known.items():
        unknown = [one for one in getattr(settings, name) if one not in among]
        if unknown:
            raise ValueError(f"{name} must be among {_listed(among)} (got {_listed(unknown)})")


def _listed(names: Collection[object]) -> str:
    texts = [str(name) for name in names]
    return ("; " if any("," in text for text in texts) else ", ").join(texts)
