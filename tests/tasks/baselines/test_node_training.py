from dataclasses import replace

import pytest
import torch
from structformer.tasks.baselines import node_training
from structformer.tasks.baselines.node_training import fit_network

OPTIONS = {"kind": "gcn", "hidden": 8, "epochs": 30}


def test_a_network_learns_and_the_seed_decides(clouds):
    nodes = clouds.nodes
    one, same, other = (fit_network(nodes, OPTIONS, seed)(nodes) for seed in (0, 0, 1))
    assert clouds.score(one) > 90
    assert torch.equal(same, one)
    assert not torch.equal(other, one)
    assert torch.get_rng_state().equal(torch.manual_seed(0).get_state()), (
        "nothing is drawn from the global stream"
    )


def test_the_epoch_that_did_best_is_kept_and_training_ends_when_nothing_gets_better(clouds, monkeypatch):
    found, asked, real = iter([40.0, 90.0, 60.0, 50.0, 99.0]), [], node_training._asked

    def watched(model, x, edge_index):
        asked.append({key: value.clone() for key, value in model.state_dict().items()})
        return real(model, x, edge_index)

    monkeypatch.setattr(node_training, "_asked", watched)
    monkeypatch.setattr(type(clouds.nodes), "validation", lambda self, logits: next(found))
    predict = fit_network(clouds.nodes, {**OPTIONS, "patience": 2}, 0)
    assert len(asked) == 4, "two epochs after the best"
    predict(clouds.nodes)
    assert all(torch.equal(asked[-1][key], value) for key, value in asked[1].items())


def test_rows_may_be_brought_to_one_sum(clouds):
    nodes = replace(clouds.nodes, x=clouds.nodes.x.abs())
    predict = fit_network(nodes, {**OPTIONS, "row_normalized": True}, 0)
    torch.testing.assert_close(predict(replace(nodes, x=nodes.x * 5)), predict(nodes))


def test_an_option_that_there_is_not_is_refused(clouds):
    with pytest.raises(TypeError, match="depht"):
        fit_network(clouds.nodes, {**OPTIONS, "depht": 3}, 0)
