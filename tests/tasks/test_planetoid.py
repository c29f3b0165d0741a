from collections import Counter
from dataclasses import replace

import pytest
from structformer.tasks import node_comparison, planetoid
from structformer.tasks.node_comparison import NodeSettings
from structformer.tasks.planetoid import DATA, FEWER, NO_GRAPH, PUBLIC, QUICK, RANDOM, arms, problem, run
from structformer.tasks.planetoid_card import CARD

TINY = replace(QUICK, arms=("soes, both", "GCN", "kNN-GCN"), epochs=2, permutations=1, workers=0)


@pytest.fixture
def cora(data_folder, monkeypatch):
    monkeypatch.setenv("STRUCTFORMER_DATA", str(data_folder))
    yield
    planetoid._graph.cache_clear()


def test_a_run_compares_the_arms_of_each_protocol_and_is_not_repeated(cora, tmp_path, monkeypatch):
    rows = run(True, 1, TINY, tmp_path)
    assert [(row["data"], row["arm"]) for row in rows] == [
        ("cora, public", "soes, both"),
        ("cora, public", "GCN"),
        ("cora, no graph", "soes, both"),
        ("cora, no graph", "kNN-GCN"),
    ]
    # Labels spread without any learning; what two steps of another network have learned is chance.
    assert all((50 if row["arm"] == "soes, both" else 0) < row["mean"] <= 100 for row in rows)
    assert [row["changed"] for row in rows if row["arm"] == "soes, both"] == [0, 0]
    monkeypatch.setattr(node_comparison, "final_trial", lambda *_: 1 / 0)
    assert run(True, 1, TINY, tmp_path) == rows


def test_protocols_have_their_splits_and_seeds_do_not_move_them(cora):
    public, drawn, bare = (problem(f"cora, {protocol}", 0) for protocol in (PUBLIC, RANDOM, NO_GRAPH))
    for found in (public, drawn, bare):
        assert [int(m.sum()) for m in (found.nodes.train, found.nodes.val, found.test)] == [140, 500, 1_000]
        assert found.answers[found.nodes.train].bincount().tolist() == [20] * 7
        assert set(found.nodes.labels[found.test].tolist()) == {-1}
    assert public.test.equal(problem("cora, public", 5).test)
    assert drawn.test.equal(problem("cora, random split", 5).test)
    assert not public.test.equal(drawn.test)
    assert public.test.equal(bare.test)
    assert public.nodes.edge_index.shape == (2, 10_556)
    assert not bare.nodes.edge_index.numel()


def test_published_figures_are_of_data_sets_that_there_are():
    assert {name for one in CARD.published for name in one.figures} <= set(DATA)
    assert CARD.headline in {arm.name for data in DATA for arm in arms(data)}


def test_no_arm_needs_a_graph_where_there_is_none():
    names = {protocol: {arm.name for arm in arms(f"cora, {protocol}")} for protocol in (PUBLIC, NO_GRAPH)}
    assert "kNN-GCN" in names[NO_GRAPH] - names[PUBLIC]
    assert {"GCN", "GAT", "label propagation"} <= names[PUBLIC] - names[NO_GRAPH]


@pytest.mark.parametrize("data", DATA)
def test_all_arms_of_a_data_set_choose_among_as_many(data):
    assert {len(arm.grid) for arm in arms(data)} == {FEWER if data.startswith("pubmed") else 4}


def test_the_random_split_has_fewer_seeds():
    settings = NodeSettings(DATA, ("soes, both",))
    seeds = Counter(trial.data for trial in planetoid.TASK.wanted(settings, 10))
    assert seeds == {data: 5 if data.endswith(RANDOM) else 10 for data in DATA}


def test_settings_are_checked(tmp_path):
    with pytest.raises(ValueError, match=r"data must be among .* \(got cora\)"):
        run(True, 1, replace(TINY, data=("cora",)), tmp_path)
    with pytest.raises(ValueError, match=r"arms must be among .* \(got ours\)"):
        run(True, 1, replace(TINY, arms=("ours",)), tmp_path)
