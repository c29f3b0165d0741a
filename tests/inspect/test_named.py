from __future__ import annotations

import numpy as np
import pytest

from structformer.inspect.named import NamedTokens

PTR = np.array([0, 3, 3, 5])


def test_tokens_go_by_the_names_of_the_data():
    tokens = NamedTokens(PTR, list("abcde"), ["first", "none", "last"])
    assert (len(tokens), tokens.sets) == (5, 3)
    assert tokens.set_index.tolist() == [0, 0, 0, 2, 2]
    assert tokens.name(3) == "d"
    frame = tokens.frame(np.array([4, 0]))
    assert frame.to_dict("list") == {"set": [2, 0], "token": [4, 0], "name": ["e", "a"]}


def test_without_names_they_are_numbered_within_their_set():
    tokens = NamedTokens(PTR)
    assert [tokens.name(token, "point") for token in (2, 3)] == ["point 2", "point 0"]
    assert list(tokens.frame(np.array([1]))) == ["set", "token"]


def test_sums_over_sets():
    values = np.random.default_rng(0).normal(size=(2, 5, 4))
    expected = np.stack([values[:, :3].sum(1), np.zeros((2, 4)), values[:, 3:].sum(1)], axis=1)
    np.testing.assert_allclose(NamedTokens(PTR).by_set(values), expected)


def test_names_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"names must have 5 entries \(got 2\)"):
        NamedTokens(PTR, ["a", "b"])
    with pytest.raises(ValueError, match=r"set_names must have 3 entries \(got 1\)"):
        NamedTokens(PTR, None, ["a"])
