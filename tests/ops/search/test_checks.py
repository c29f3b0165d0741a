"""What is let through, and how it is changed; what is refused, and how that is said, is in test_neighbors."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from structformer.graph import TokenGraph
from structformer.ops.search.checks import check_edges, check_vectors, tame

X, Y = torch.ones(5, 3), torch.ones(7, 3)


def test_without_boundaries_there_is_one_set():
    ptr, key_ptr = check_vectors(X, Y, 2, None, None, own=False)
    assert (ptr.tolist(), key_ptr.tolist()) == ([0, 5], [0, 7])


def test_the_boundaries_of_targets_are_those_of_sources():
    given_ptr = torch.tensor([0, 2, 2, 5])
    ptr, key_ptr = check_vectors(X, X, 0, given_ptr, None, own=True)
    assert ptr.tolist() == key_ptr.tolist() == [0, 2, 2, 5]
    ptr, key_ptr = check_vectors(X, Y, 2, given_ptr, torch.tensor([0, 0, 3, 7]), own=False)
    assert (ptr.tolist(), key_ptr.tolist()) == ([0, 2, 2, 5], [0, 0, 3, 7])


def test_one_set_of_targets_takes_the_boundaries_of_one_set_of_sources():
    ptr, key_ptr = check_vectors(X, Y, 2, None, torch.tensor([0, 7]), own=False)
    assert (ptr.tolist(), key_ptr.tolist()) == ([0, 5], [0, 7])


@pytest.mark.parametrize(
    ("query", "key", "ptr", "key_ptr", "message"),
    [
        (X, Y, torch.tensor([0, 5]), None, r"key_ptr must run from 0 to .*, 7 \(got \[0, 5\]\)"),
        (X, X, torch.tensor([], dtype=torch.long), None, r"ptr must run from 0 .*, 5 \(got \[\]\)"),
        (X, X, torch.tensor([[0, 5]]), None, r"ptr must run from 0 .*, 5 \(got \[\[0, 5\]\]\)"),
        (X[0], X, None, None, r"must be \[tokens, affinity\] .*got torch.float32 \[3\] and"),
        # As many tokens and sets, but other ones.
        (X, X, torch.tensor([0, 2, 5]), torch.tensor([0, 3, 5]), "need sources that are the targets"),
    ],
)
def test_boundaries_that_do_not_fit_are_named(query, key, ptr, key_ptr, message):
    with pytest.raises(ValueError, match=message):
        check_vectors(query, key, 2, ptr, key_ptr, own=True)


@given(exponent=st.integers(41, 127), seed=st.integers(0, 10**6))
def test_large_vectors_lose_their_size_alone(exponent, seed):
    x = torch.randn(7, 3, generator=torch.Generator().manual_seed(seed)).clamp(-0.99, 0.99)
    huge = x * 2.0**exponent
    small = tame("query", huge)
    assert 1 <= float(small.abs().max()) < 2 or float(huge.abs().max()) <= 1e12
    scale = huge[0, 0] / small[0, 0]
    assert torch.frexp(scale).mantissa == 0.5, "a power of two rounds nothing"
    assert torch.equal(small * scale, huge)


def test_vectors_of_common_size_and_type_stay_as_they_are():
    for x in (X * 1e12, X.double() * 1e-300, -X):
        assert tame("key", x) is x
    half = torch.tensor([[6e4, -3.0]], dtype=torch.float16)
    assert tame("key", half).dtype == torch.float32
    assert torch.equal(tame("key", half), half.float())
    assert tame("key", X[:0].bfloat16()).dtype == torch.float32


def test_the_first_token_that_is_not_finite_is_named():
    x = X.clone()
    x[4, 0], x[2, 1] = torch.nan, -torch.inf
    with pytest.raises(ValueError, match=r"query must be finite \(token 2 is not\)"):
        tame("query", x)


def test_edges_inside_their_sets_pass_and_others_are_named():
    ptr, key_ptr = torch.tensor([0, 2, 2, 5]), torch.tensor([0, 3, 4, 7])
    inside = torch.tensor([[0, 2, 1, 4, 6], [0, 0, 1, 2, 4]])
    check_edges("given", TokenGraph.from_edge_index(inside, 5, num_sources=7), ptr, key_ptr)
    for crossing, named in (([3, 1], "3 → 1"), ([2, 3], "2 → 3")):
        index = torch.cat([inside, torch.tensor([crossing]).T], dim=1)
        graph = TokenGraph.from_edge_index(index, 5, num_sources=7)
        with pytest.raises(ValueError, match=f"given edge {named} joins two sets"):
            check_edges("given", graph, ptr, key_ptr)
        with pytest.raises(ValueError, match=f"given edge {named} joins two sets"):
            check_edges("given", graph, ptr[[0, 2, 3]], key_ptr[[0, 1, 3]])
        check_edges("given", graph, torch.tensor([0, 5]), torch.tensor([0, 7]))  # one set holds them all


def test_graphs_over_other_tokens_are_named():
    square = TokenGraph.from_edge_index(torch.tensor([[1], [0]]), 5)
    with pytest.raises(ValueError, match=r"start must have 5 targets and 7 sources \(got 5 and 5\)"):
        check_edges("start", square, torch.tensor([0, 5]), torch.tensor([0, 7]))
