import networkx as nx
import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from structformer.graph import TokenGraph
from structformer.inspect import edge_agreement, stability


def random_graph(seed, tokens=23, edges=90, names=None, ptr=None):
    draw = np.random.default_rng(seed)
    index = torch.from_numpy(draw.integers(0, tokens, size=(2, edges)))
    if ptr is not None:
        inside = torch.bucketize(index, ptr, right=True)
        index = index[:, inside[0] == inside[1]]
    weight = torch.from_numpy(draw.random(index.shape[1])) + 0.01
    return TokenGraph.from_edge_index(index, tokens, weight, names=names, ptr=ptr)


@pytest.mark.parametrize("directed", [True, False])
def test_it_is_what_all_pairs_together_give(directed):
    learned, truth = random_graph(0), random_graph(1, edges=40)
    found = edge_agreement(learned, truth, directed=directed)
    score, true = learned.to_scipy().toarray(), truth.to_scipy().toarray() > 0
    pairs = ~np.eye(23, dtype=bool)
    if not directed:
        score, true, pairs = np.maximum(score, score.T), true | true.T, np.triu(pairs)
    score, true = score[pairs], true[pairs]
    assert found.index.tolist() == [1]
    assert found.roc_auc.item() == pytest.approx(roc_auc_score(true, score))
    assert found.average_precision.item() == pytest.approx(average_precision_score(true, score))
    assert found.recall.item() == pytest.approx((score[true] > 0).mean())
    assert found.chance.item() == pytest.approx(true.mean())
    assert found.precision.item() == pytest.approx(true[np.argsort(-score)[: true.sum()]].mean())


def test_the_truth_itself_agrees_in_full_and_noise_does_not():
    truth = random_graph(1, tokens=211, edges=997)
    assert (
        edge_agreement(truth, truth)
        .loc[1, ["roc_auc", "average_precision", "precision", "recall"]]
        .eq(1)
        .all()
    )
    noise = edge_agreement(random_graph(2, tokens=211, edges=997), truth)
    assert 0.45 < noise.roc_auc.item() < 0.55


def test_pairs_of_other_sets_do_not_count():
    ptr = torch.tensor([0, 9, 10, 23])
    learned, truth = random_graph(0, ptr=ptr), random_graph(1, ptr=ptr)
    assert edge_agreement(learned, truth).chance.item() == pytest.approx(
        edge_agreement(truth, truth).chance.item()
    )
    true = truth.to_scipy().toarray() > 0
    share = np.triu(true | true.T, 1).sum() / (9 * 8 // 2 + 13 * 12 // 2)
    assert edge_agreement(learned, truth).chance.item() == pytest.approx(share)


def test_every_step_has_a_row():
    steps = [random_graph(seed) for seed in range(3)]
    found = edge_agreement(steps[2].with_steps(steps[:2]), random_graph(9))
    assert found.index.tolist() == [1, 2, 3]
    assert found.roc_auc[2] == edge_agreement(steps[1], random_graph(9)).roc_auc.item()


def test_tokens_are_matched_by_name():
    names = [f"n{i}" for i in range(23)]
    learned, truth = random_graph(0, names=names), random_graph(1, names=names)
    expected = edge_agreement(learned, truth)
    perm = torch.randperm(23, generator=torch.Generator().manual_seed(0))
    assert edge_agreement(learned, truth.permute(perm)).equals(expected)
    graph = nx.relabel_nodes(truth.permute(perm).to_networkx(), lambda node: node)
    assert edge_agreement(learned, graph).roc_auc.item() == pytest.approx(expected.roc_auc.item())
    assert stability([learned, learned.permute(perm)]).loc[(1, 2), "cosine"] == pytest.approx(1)


def test_stability_tells_same_from_other():
    graph, other = random_graph(0), random_graph(1)
    found = stability({"a": graph, "b": graph.with_weight(graph.weight * 3), "c": other})
    assert found.index.tolist() == [("a", "b"), ("a", "c"), ("b", "c")]
    assert found.loc[("a", "b")].tolist() == pytest.approx([1, 1, 1])
    matrices = [g.to_scipy().toarray() * ~np.eye(23, dtype=bool) for g in (graph, other)]
    shared = ((matrices[0] > 0) & (matrices[1] > 0)).sum() / ((matrices[0] > 0) | (matrices[1] > 0)).sum()
    cosine = (matrices[0] * matrices[1]).sum() / np.prod([np.linalg.norm(m) for m in matrices])
    assert found.loc[("a", "c"), "shared"] == pytest.approx(shared)
    assert found.loc[("a", "c"), "cosine"] == pytest.approx(cosine)


def test_graphs_of_new_tokens_over_known_ones_compare():
    index = torch.tensor([[0, 4, 2], [0, 1, 1]])
    graph = TokenGraph.from_edge_index(index, 2, torch.tensor([0.2, 0.5, 0.5]), num_sources=5)
    assert stability([graph, graph]).loc[(1, 2), "shared"] == 1
    with pytest.raises(ValueError, match="bipartite"):
        edge_agreement(graph, graph)


def test_what_cannot_be_compared_is_said():
    with pytest.raises(ValueError, match="at least two"):
        stability([random_graph(0)])
    with pytest.raises(ValueError, match="11 and 23 targets"):
        stability([random_graph(0, tokens=11), random_graph(0)][::-1])
    named = [random_graph(0, tokens=3, edges=4, names=list(names)) for names in ("abc", "abd")]
    with pytest.raises(ValueError, match="'c'"):
        stability(named)
    empty = TokenGraph.from_edge_index(torch.zeros(2, 0, dtype=torch.long), 23)
    with pytest.raises(ValueError, match="0 of 253"):
        edge_agreement(random_graph(0), empty)
