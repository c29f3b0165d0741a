import pytest
import torch
from structformer.tasks.baselines.knn_network import fit_knn_network, knn_edges


def test_neighbours_are_linked_both_ways():
    x = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0], [1.0, 0.3]])
    edges = {tuple(edge) for edge in knn_edges(x, 1, "cosine").T.tolist()}
    assert edges == {(0, 1), (1, 0), (2, 3), (3, 2), (1, 4), (4, 1)}


def test_a_network_on_the_graph_of_neighbours_learns(clouds):
    options = {"kind": "gcn", "neighbors": 5, "epochs": 40, "hidden": 16}
    predict = fit_knn_network(clouds.nodes.without_edges(), options, 0)
    assert clouds.score(predict(clouds.nodes)) > 90


def test_the_order_of_nodes_and_the_length_of_rows_change_no_link():
    x, perm = torch.randn(13, 4), torch.randperm(13)
    links = {(int(perm[a]), int(perm[b])) for a, b in knn_edges(x[perm], 3, "cosine").T.tolist()}
    assert links == {tuple(edge) for edge in (knn_edges(x * 7, 3, "cosine")).T.tolist()}
    with pytest.raises(ValueError, match="n_neighbors"):
        knn_edges(x[:2], 3, "cosine")
