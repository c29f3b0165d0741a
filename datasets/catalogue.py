"""The cards of all data sets: `cards.toml` says what they are, `files.json` what they lie in."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from .card import Contents, DataCard, DataFile


@cache
def cards() -> Mapping[str, DataCard]:
    """Return the cards of all data sets by their names."""
    here = Path(__file__).parent
    groups = tomllib.loads((here / "cards.toml").read_text(encoding="utf-8"))
    files: dict[str, list[dict[str, Any]]] = json.loads((here / "files.json").read_text(encoding="utf-8"))
    found: dict[str, DataCard] = {}
    for group, common in groups.items():
        # What the sets of a group share is said once.
        members = common.pop("sets", None)
        for key, own in members.items() if members else [("", {})]:
            name = f"{group}/{key}" if key else group
            said = {**common, **own}
            said["load"] = said["load"].replace("NAME", key)
            said["traps"] = (*common.get("traps", ()), *own.get("traps", ()))
            found[name] = DataCard(name=name, **said, files=tuple(map(_file, files[name])))
    return found


def card(name: str) -> DataCard:
    """Return the card of one data set.

    Raises:
        ValueError: If there is no data set of that name.
    """
    known = cards()
    if name not in known:
        raise ValueError(f"there is no data set {name!r}; known are {', '.join(known)}")
    return known[name]


def chosen(name: str) -> tuple[DataCard, ...]:
    """Return the card of that name, or those of the group of that name, as in "planetoid".

    Raises:
        ValueError: If there is neither.
    """
    group = tuple(one for one in cards().values() if one.name.startswith(f"{name}/"))
    return group or (card(name),)


def _file(about: dict[str, Any]) -> DataFile:
    prepared = about.pop("prepared", None)
    return DataFile(**about, prepared=None if prepared is None else Contents(**prepared))
