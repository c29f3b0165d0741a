import networkx as nx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from structformer.estimators.node_graph import fingerprint, one_graph
from structformer.tokens import TokenSet

NAMES = ["'a'", "'b'", "'c'", "'d'"]
EDGES = torch.tensor([[0, 1, 2], [1, 2, 0]])


def tokens(x: torch.Tensor, edges: torch.Tensor | None = EDGES) -> TokenSet:
    return TokenSet(x, edge_index=edges)


def test_one_graph_is_taken_also_out_of_a_list_and_several_are_refused():
    graph = nx.path_graph(2)
    assert one_graph(graph) is one_graph([graph]) is graph
    with pytest.raises(
        ValueError, match=r"graph must be a single graph \(got 2\); GraphClassifier reads many"
    ):
        one_graph([graph, graph])


@settings(deadline=None, max_examples=20)
@given(st.permutations(range(4)), st.permutations(range(3)))
def test_a_graph_is_known_again_in_any_order(order, edge_order):
    x, perm = torch.randn(4, 2), torch.tensor(order)
    moved = torch.argsort(perm)[EDGES][:, list(edge_order)]
    names = [NAMES[i] for i in order]
    assert fingerprint(tokens(x[perm], moved), names) == fingerprint(tokens(x), NAMES)
    bare = fingerprint(tokens(x, None), NAMES)
    assert fingerprint(tokens(x[perm], None), names) == bare


def test_another_edge_another_name_and_without_edges_another_number_are_another_graph():
    x = torch.randn(4, 2)
    known = fingerprint(tokens(x), NAMES)
    assert fingerprint(tokens(x + 1), NAMES) == known, "what nodes hold may change"
    assert fingerprint(tokens(x, EDGES.flip(0)), NAMES) != known
    assert fingerprint(tokens(x), [*NAMES[:3], "'e'"]) != known
    none = torch.zeros(2, 0, dtype=torch.long)
    assert fingerprint(tokens(x, none), NAMES) == fingerprint(tokens(x, None), NAMES)
    assert fingerprint(tokens(x + 1, none), NAMES) != fingerprint(tokens(x, none), NAMES)
    empty = torch.zeros(0, 2)
    assert fingerprint(tokens(empty, none), []) != known
