from typing import Any

import pytest
import torch

from structformer.token_checks import check_fields
from structformer.tokens import TokenSet

GOOD: dict[str, Any] = {"x": torch.zeros(5, 2), "ptr": torch.tensor([0, 2, 2, 5])}
EDGES = torch.tensor([[0, 3], [1, 4]])


def test_sound_fields_pass_even_where_sets_and_tokens_are_missing():
    check_fields(TokenSet(**GOOD, edge_index=EDGES, edge_attr=torch.zeros(2, 3)))
    check_fields(TokenSet(torch.zeros(0, 2), torch.tensor([0])))
    check_fields(TokenSet(torch.zeros(0, 0), torch.tensor([0, 0])))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"x": torch.zeros(5)},
            r"x must be a float tensor \[tokens, features\] \(got torch.float32 of shape \[5\]\)",
        ),
        ({"x": torch.zeros(5, 2).int()}, "x must be a float tensor .* torch.int32"),
        ({"ptr": torch.tensor([0, 2, 2, 5]).int()}, "ptr must be a vector of int64"),
        ({"ptr": torch.tensor([1, 5])}, r"ptr must rise from 0 to the number of tokens, 5 \(got \[1, 5\]\)"),
        ({"ptr": torch.tensor([0, 4, 3, 5])}, "ptr must rise"),
        (
            {
                "x": torch.zeros(5, 2).index_put(
                    (torch.tensor(3), torch.tensor(1)), torch.tensor(float("nan"))
                )
            },
            r"x must be finite \(token 3 of set 2, feature 1 is nan\)",
        ),
        ({"edge_index": EDGES.T.contiguous()[:1]}, r"edge_index must be int64 \[2, edges\]"),
        ({"edge_index": EDGES.float()}, r"edge_index must be int64 .* torch.float32"),
        ({"edge_index": EDGES + 1}, r"edge 1 names token 5, but there are 5"),
        ({"edge_index": EDGES - 1}, r"edge 0 names token -1"),
        (
            {"edge_index": torch.tensor([[0, 1], [1, 2]])},
            "edge 1 joins a token of set 0 to one of set 2; edges must stay in one set",
        ),
        ({"edge_attr": torch.zeros(2, 3)}, "edge_index must be given with edge_attr"),
        ({"token_type": torch.zeros(5)}, r"token_type must be int64 \(got torch.float32\)"),
        ({"names": ["a"] * 4}, r"names must have one row for each token \(5\) \(got 4\)"),
        ({"y": torch.zeros(4)}, r"y must have one row for each token \(5\) or set \(3\) \(got 4\)"),
        ({"set_names": ["a"]}, r"set_names must have one row for each set \(3\) \(got 1\)"),
    ],
)
def test_the_first_thing_that_is_wrong_is_named(fields: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        TokenSet(**{**GOOD, **fields})
