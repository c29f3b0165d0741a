import pytest
import torch

from structformer.ops.rows import Rows

EVEN = torch.tensor([0, 3, 6, 9, 12])


def test_even_rows_are_seen():
    assert Rows.of(EVEN, 12).degree == 3
    assert Rows.of(torch.tensor([0, 2, 6, 9, 12]), 12).degree is None
    assert Rows.of(torch.tensor([0, 0, 12]), 12).degree is None
    assert Rows.of(torch.tensor([0, 0]), 0).degree is None


@pytest.mark.parametrize("heads", [(), (5,)])
def test_leaving_undoes_entering(heads):
    scores = torch.randn(12, *heads)
    for rows in (Rows.of(EVEN, 12), Rows(EVEN, 12, None)):
        assert torch.equal(rows.leave(rows.enter(scores), scores.ndim), scores)


def test_both_layouts_agree():
    scores, alpha = torch.randn(12, 5, dtype=torch.float64), torch.rand(5, dtype=torch.float64)
    dense, ragged = Rows.of(EVEN, 12), Rows(EVEN, 12, None)
    for name in ("sum", "max"):
        results = []
        for rows in (dense, ragged):
            x = rows.enter(scores)
            spread = rows.spread(getattr(rows, name)(x)) * rows.per_head(alpha)
            results.append(rows.leave(x - spread, 2))
        torch.testing.assert_close(*results)


def test_filled_has_the_shape_of_a_reduction():
    scores = torch.randn(12, 5)
    for rows in (Rows.of(EVEN, 12), Rows(EVEN, 12, None)):
        x = rows.enter(scores)
        assert rows.filled(x, 2.0).shape == rows.sum(x).shape
        assert (rows.filled(x, 2.0) == 2.0).all()
