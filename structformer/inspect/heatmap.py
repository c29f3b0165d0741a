"""Which columns of a table attend to which, as the cells of a heat map."""

from __future__ import annotations

import unicodedata
from typing import Any

import numpy as np
import pandas as pd

from structformer.inspect.colours import shorten
from structformer.inspect.embed import json_for_page

_CHARACTER = 6.6


def heat_map(frame: pd.DataFrame, most: int = 40, strongest: int = 8) -> dict[str, Any]:
    """Lay out ``frame`` as an SVG heat map and list its strongest links between two columns.

    Shades are shares of the largest weight between two columns; the diagonal, often far larger, is cut off
    there. Of more than ``most`` columns those with the most weight are shown.

    Args:
        frame: ``[columns, columns]`` weights; rows are the columns that listen, columns those listened to.
        most: How many columns to show.
        strongest: How many links to list.
    """
    values = np.nan_to_num(frame.to_numpy(dtype=np.float64))
    names = [str(name) for name in frame.index]
    count = len(names)
    between = np.where(np.eye(count, dtype=bool), 0.0, values)
    top = float(between.max(initial=0.0)) or float(values.max(initial=0.0)) or 1.0
    order = np.argsort(-between, axis=None, kind="stable")[:strongest]
    links = [
        {"target": shorten(names[i], 40), "source": shorten(names[j], 40), "weight": f"{between[i, j]:.3f}"}
        for i, j in zip(*np.unravel_index(order, between.shape), strict=True)
        if between[i, j] > 0
    ]
    note = ""
    if count > most:
        busiest = np.argsort(-(between.sum(0) + between.sum(1)), kind="stable")[:most]
        keep = np.sort(busiest)
        values, names = values[np.ix_(keep, keep)], [names[i] for i in keep]
        note = f"The {most} of {count} columns with the most weight."
    shown = [shorten(name, 26) for name in names]
    margin = round(max((_width(name) for name in shown), default=0.0)) + 12
    # Names along the top are slanted by 45°, and need that much of their length in both directions.
    head = round(margin * 0.75) + 8
    cell = 18 if len(shown) > 20 else 24
    side = len(shown) * cell
    return {
        "names": shown,
        "full": json_for_page(names),
        "cell": cell,
        "margin": margin,
        "head": head,
        "width": margin + side + head,
        "height": head + side + 4,
        "cells": [
            {
                "row": i,
                "column": j,
                "x": margin + j * cell,
                "y": head + i * cell,
                "shade": round(min(value / top, 1.0), 3),
                "weight": f"{value:.3f}",
            }
            for i, row in enumerate(values)
            for j, value in enumerate(row)
        ],
        "links": links,
        "top": f"{top:.3f}",
        "note": note,
    }


def _width(name: str) -> float:
    """About how many pixels a name takes; East Asian characters take twice the room."""
    return sum(
        _CHARACTER * (2 if unicodedata.east_asian_width(character) in "WF" else 1) for character in name
    )
