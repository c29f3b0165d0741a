from dataclasses import replace

import numpy as np
import pytest
from structformer.tasks import graph_arms
from structformer.tasks.graph_arms import NAMES, OUR_ARMS, OURS, RIVALS, OurArm, arms, judged
from structformer.tasks.graph_classification import PARAMETERS, SIZES, fold_split, small_worlds
from structformer.tasks.graph_problems import Budget, Fitted, Point

SMALL = {"width": 16, "heads": 2}
BUDGET = Budget(epochs=2, patience=2, batch=16, parameters=PARAMETERS, grid=(Point(3e-3, 0.0),))


@pytest.fixture(scope="module")
def split():
    return fold_split(*small_worlds(20, nodes=10), fold=0)


def test_arms_are_ours_or_rivals_and_say_what_they_are_made_of():
    made = arms(NAMES, SIZES)
    assert [arm.ours for arm in made] == [True] * len(OUR_ARMS) + [False] * len(RIVALS)
    given = next(arm for arm in made if arm.name == "structformer, given graph")
    assert given.options["options"] == {"model_options": {"learn": False}}
    assert len({repr(sorted(arm.options.items())) for arm in made if arm.ours}) == len(OUR_ARMS)


def test_all_networks_are_of_one_size(split):
    one = replace(BUDGET, epochs=1)
    sizes = {
        name: judged(name, split, one, SIZES, 0, 1)["parameters"]
        for name in NAMES
        if not name.startswith("random")
    }
    assert all(0.95 < size / sizes[OURS] < 1.05 for size in sizes.values()), sizes


@pytest.mark.parametrize("arm", [OurArm(options=SMALL), OurArm(edges=False, options=SMALL)])
def test_the_order_of_nodes_changes_nothing_in_ours(arm, split, monkeypatch):
    monkeypatch.setitem(graph_arms.OUR_ARMS, "small", arm)
    record = judged("small", split, BUDGET, {}, 0, 30)
    assert record["changed"] == 0
    assert record["largest change"] < 1e-9


def test_without_edges_ours_knows_nothing_of_them(split):
    other = [graph.clone() for graph in split.test.graphs]
    for graph in other:
        graph.edge_index = graph.edge_index[:, :2]
    for edges in (True, False):
        (fitted,) = OurArm(edges=edges, options=SMALL)(split, BUDGET, 0)
        same = np.allclose(fitted.predict(split.test.graphs), fitted.predict(other), atol=1e-12)
        assert same != edges


def test_numbers_are_judged_by_r2_and_rmse(split):
    numbers = replace(
        split,
        measure="r2",
        **{
            part: replace(getattr(split, part), target=getattr(split, part).target * 10.0)
            for part in ("train", "validation", "test")
        },
    )
    for name in (OURS, "sum of features"):
        record = judged(name, numbers, BUDGET, {}, 0, 5)
        assert record["score"] == pytest.approx(100 * (1 - record["rmse"] ** 2 / 25))


def test_settings_are_chosen_by_validation_and_not_by_the_test(split, monkeypatch):
    def always(right_on, name):
        def predict(graphs):
            known = {id(graph) for graph in right_on.graphs}
            labels = dict(zip(map(id, right_on.graphs), right_on.target, strict=True))
            said = [labels[id(graph)] if id(graph) in known else 0 for graph in graphs]
            return np.eye(2)[said]

        return Fitted(predict, None, None, {"name": name})

    found = [always(split.test, "right on the test"), always(split.validation, "right on validation")]
    monkeypatch.setitem(graph_arms.RIVALS, "fixed", lambda *_: iter(found))
    record = judged("fixed", split, BUDGET, {}, 0, 1)
    assert record["settings"] == {"name": "right on validation"}
    assert (record["validation"], record["score"]) == (100, 50)


@pytest.mark.parametrize("name", [OURS, "gin", "random forest, counts"])
def test_labels_of_the_test_have_no_part_in_predictions(name, split, monkeypatch):
    seen = []
    monkeypatch.setattr(graph_arms, "score", lambda measure, found, target: seen.append(found) or 0.0)
    for target in (split.test.target, 1 - split.test.target):
        judged(name, replace(split, test=replace(split.test, target=target)), BUDGET, {}, 0, 1)
    np.testing.assert_array_equal(seen[1], seen[3])
