"""TabFact: statements about tables of Wikipedia, entailed or refuted."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from .store import read

FOLDER = "tabfact/"
TABLES = "tabfact/all_csv/"


@dataclass(frozen=True)
class TabFact:
    """Tables and statements about them.

    Attributes:
        tables: By name; all cells are text.
        statements: Each with its `table`, its text `statement`, whether it is `entailed`, its `split` (train, val,
            test), whether it is `complex` (of the round of harder statements), and whether it is in the `small` test
            set, which people were measured on.
        captions: Of the tables of validation and test, by name.
    """

    tables: Mapping[str, pd.DataFrame]
    statements: pd.DataFrame
    captions: Mapping[str, str]


def tabfact() -> TabFact:
    """Return the statements of Chen et al. 2020 (arXiv 1909.02164); for training the published pairs.

    Raises:
        FileNotFoundError: If they were not downloaded.
        ValueError: If a file is damaged.
    """
    files = read("tabfact")
    tables = Tables(
        {path.removeprefix(TABLES): text for path, text in files.items() if path.startswith(TABLES)}
    )

    def parsed(name: str) -> Any:
        return json.loads(files[f"{FOLDER}{name}.json"])

    training = set(parsed("train_id"))
    rows = [
        (table, statement, entailed, "train")
        for table, positive, negative in parsed("all_positive_negative_pairs")
        if table in training
        for statement, entailed in ((positive, True), (negative, False))
    ]
    captions: dict[str, str] = {}
    for split in ("val", "test"):
        for table, (statements, labels, caption) in parsed(f"{split}_examples").items():
            captions[table] = caption
            rows += [
                (table, statement, bool(label), split)
                for statement, label in zip(statements, labels, strict=True)
            ]
    frame = pd.DataFrame(rows, columns=["table", "statement", "entailed", "split"])
    frame["complex"] = frame["table"].isin(parsed("complex_ids"))
    frame["small"] = frame["table"].isin(parsed("small_test_id")) & (frame["split"] == "test")
    return TabFact(tables, frame, captions)


class Tables(Mapping[str, pd.DataFrame]):
    """Tables that are parsed when they are asked for: cells between "#" signs, column names in the first line."""

    def __init__(self, texts: dict[str, bytes]) -> None:
        self._texts = texts

    def __getitem__(self, name: str) -> pd.DataFrame:
        header, *rows = (line.decode().split("#") for line in self._texts[name].splitlines())
        return pd.DataFrame(rows, columns=header, dtype=str)

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)
