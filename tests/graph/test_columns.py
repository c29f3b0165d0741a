from itertools import pairwise

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from structformer.graph import plot_columns

mpl.use("Agg")


def shares(count: int, own: float = 0.5) -> pd.DataFrame:
    """Weights of `count` columns, each row summing to 1, `own` of it on the diagonal."""
    random = np.random.default_rng(0).dirichlet(np.ones(count), count)
    names = [f"column {i}" for i in range(count)]
    return pd.DataFrame((1 - own) * random + own * np.eye(count), names, names)


def test_cells_rows_and_columns_are_those_of_the_frame():
    frame = shares(5)
    ax = plot_columns(frame, Figure().add_subplot())
    np.testing.assert_array_equal(ax.images[0].get_array(), frame)
    assert [text.get_text() for text in ax.get_yticklabels()] == list(frame.index)
    assert [text.get_text() for text in ax.get_xticklabels()] == list(frame.columns)
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("listens", "listened to")
    assert ax.texts[1].get_text() == f"{frame.iloc[0, 1]:.2f}"


def test_shades_end_at_the_greatest_weight_between_two_columns():
    frame = shares(7, own=0.9)
    between = frame.to_numpy() * (1 - np.eye(7))
    ax = plot_columns(frame, Figure().add_subplot())
    assert ax.images[0].norm.vmax == between.max()
    lone = plot_columns(frame.iloc[:1, :1], Figure().add_subplot())
    assert lone.images[0].norm.vmax == frame.iloc[0, 0]


@pytest.mark.parametrize("count", [5, 13, 40])
def test_names_do_not_overlap(count: int):
    ax = plot_columns(shares(count))
    ax.figure.draw_without_rendering()
    for labels in (ax.get_xticklabels(), ax.get_yticklabels()):
        boxes = [text.get_window_extent() for text in labels]
        assert len(boxes) == count
        assert not any(a.overlaps(b) for a, b in pairwise(boxes))
    plt.close(ax.figure)


def test_of_many_columns_those_with_most_weight_are_drawn_and_said():
    frame = shares(11)
    frame.iloc[3, 8] = 5.0
    ax = plot_columns(frame, Figure().add_subplot(), max_columns=2)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["column 3", "column 8"]
    assert ax.get_title() == "Shown: the 2 of 11 columns with the most weight between them"


def test_names_are_taken_literally_and_cut():
    names = ["$\\frac$", "a name that goes on and on and on"]
    ax = plot_columns(pd.DataFrame(np.eye(2), names, names), Figure().add_subplot())
    ax.figure.draw_without_rendering()
    assert [text.get_text() for text in ax.get_yticklabels()] == ["$\\frac$", "a name that goes on and…"]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (shares(3).iloc[:2], r"must be of shape \[columns, columns\], at least one \(got \[2, 3\]\)"),
        (pd.DataFrame(), r"at least one \(got \[0, 0\]\)"),
        (shares(3).iloc[::-1], "must name its rows as its columns"),
        (shares(3).astype(str).replace("0", "x", regex=True), "must hold numbers"),
        (-shares(3), r"not negative \(got -"),
        (shares(3) * np.nan, r"finite weights that are not negative \(got nan\)"),
    ],
)
def test_bad_frames_are_named(frame: pd.DataFrame, message: str):
    with pytest.raises(ValueError, match=message):
        plot_columns(frame)


def test_bad_max_columns():
    with pytest.raises(ValueError, match=r"max_columns must be at least 1 \(got 0\)"):
        plot_columns(shares(3), max_columns=0)
