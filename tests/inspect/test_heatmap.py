from __future__ import annotations

import numpy as np
import pandas as pd

from structformer.inspect.heatmap import heat_map


def test_links_and_shades():
    frame = pd.DataFrame(
        [[0.9, 0.1, 0.0], [0.2, 0.5, 0.4], [0.3, 0.0, 0.7]], index=list("abc"), columns=list("abc")
    )
    heat = heat_map(frame, strongest=3)
    assert [(link["target"], link["source"]) for link in heat["links"]] == [
        ("b", "c"),
        ("c", "a"),
        ("b", "a"),
    ]
    shade = {(cell["row"], cell["column"]): cell["shade"] for cell in heat["cells"]}
    assert shade[0, 0] == 1.0
    assert shade[1, 2] == 1.0
    assert shade[0, 1] == 0.25
    assert heat["note"] == ""


def test_of_many_columns_the_busiest():
    values = np.zeros((53, 53))
    values[50, 51] = 1.0
    names = [f"c{i}" for i in range(53)]
    heat = heat_map(pd.DataFrame(values, index=names, columns=names))
    assert len(heat["names"]) == 40
    assert {"c50", "c51"} <= set(heat["names"])
    assert len(heat["cells"]) == 1600
    assert heat["note"] == "The 40 of 53 columns with the most weight."


def test_no_weight_at_all():
    heat = heat_map(pd.DataFrame([[0.0, 0.0], [0.0, np.nan]], index=list("ab"), columns=list("ab")))
    assert heat["links"] == []
    assert {cell["shade"] for cell in heat["cells"]} == {0.0}


def test_there_is_room_for_names():
    def margin(name: str) -> int:
        return heat_map(pd.DataFrame([[1.0]], index=[name], columns=[name]))["margin"]

    assert margin("a" * 20) > 20 * 6
    assert margin("漢" * 20) > 20 * 11
