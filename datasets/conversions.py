"""What is done to a file that was downloaded, where its home has it in another form than loaders read."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from io import StringIO


def csv_text(content: bytes) -> bytes:
    """Return the text that a csv file of one column holds a piece of in each row."""
    limit = csv.field_size_limit(len(content) + 1)
    try:
        rows = list(csv.reader(StringIO(content.decode(), newline="")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"not a csv file in UTF-8: {error}") from error
    finally:
        csv.field_size_limit(limit)
    return "".join(field for row in rows for field in row).encode()


CONVERSIONS: Mapping[str, Callable[[bytes], bytes]] = {"csv text": csv_text}
