from __future__ import annotations

import numpy as np
import pytest

from structformer.inspect.named import NamedTokens
from structformer.inspect.routing import Routing

CHOSEN = np.array([[[[0, 2], [2, 0], [0, 2], [2, 0]]], [[[1, 0], [1, 2], [2, 1], [0, 1]]]])
WEIGHTS = np.broadcast_to(np.array([0.75, 0.25]), CHOSEN.shape)


def routing(going: np.ndarray | None = None, columns: tuple[str, ...] | None = None) -> Routing:
    """Two steps of one layer, four tokens in two sets, two of four experts each; nobody goes through the last."""
    tokens = NamedTokens(np.array([0, 2, 4]), list("abcd"), columns=columns)
    return Routing(tokens, 4, CHOSEN, WEIGHTS, np.ones((2, 4), dtype=bool) if going is None else going)


def test_use_is_the_share_of_the_weights():
    use = routing().use()
    assert use.index.tolist() == [(1, 1), (2, 1)]
    np.testing.assert_allclose(use.to_numpy(), [[0.5, 0, 0.5, 0], [0.25, 0.5, 0.25, 0]])


def test_a_dead_expert_is_named():
    assert routing().dead() == [(1, 3)]


def test_what_experts_do_after_a_token_has_halted_does_not_count():
    found = routing(np.array([[True] * 4, [True, False, False, False]]))
    np.testing.assert_allclose(found.use().to_numpy(), [[0.5, 0, 0.5, 0], [0.25, 0.75, 0, 0]])
    assert found.in_effect()[0][:, 0, :, 0].tolist() == [[0, 2, 0, 2], [1, 2, 0, 2]]
    frame = found.to_frame()
    assert frame.loc[(frame["step"] == 2) & frame["going"], "name"].unique().tolist() == ["a"]


def test_nothing_is_used_once_all_have_halted():
    assert routing(np.array([[True] * 4, [False] * 4])).use().iloc[1].tolist() == [0, 0, 0, 0]


def test_the_table_has_a_row_for_each_expert_of_a_token():
    frame = routing().to_frame()
    assert list(frame) == ["step", "layer", "set", "token", "name", "rank", "expert", "weight", "going"]
    assert len(frame) == CHOSEN.size
    row = frame[(frame["step"] == 2) & (frame["name"] == "c") & (frame["rank"] == 1)]
    assert row[["set", "token", "expert", "weight"]].to_numpy().tolist() == [[1, 2, 1, 0.25]]


def test_use_by_column_adds_up_rows_and_steps():
    use = routing(columns=("x", "y")).use_by_column()
    assert use.index.tolist() == ["x", "y"]
    # x is a and c, y is b and d; each column has four assignments of weight 3/4 and four of 1/4.
    np.testing.assert_allclose(use.to_numpy() * 4, [[1.75, 1, 1.25, 0], [1.25, 1, 1.75, 0]])
    with pytest.raises(ValueError, match="cells of a table"):
        routing().use_by_column()
