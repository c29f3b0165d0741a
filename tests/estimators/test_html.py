import pickle
import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import networkx as nx
import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone

import structformer as sf
from structformer.estimators import html

EVIL = "<script>alert('x')</script>"
FAST = {"width": 16, "epochs": 3, "random_state": 0}


def frame(rows=40):
    draw = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "size": draw.normal(size=rows),
            EVIL: draw.normal(size=rows),
            "kind": ["secret", "hidden"] * (rows // 2),
        }
    )


def point_sets(count=24):
    draw = np.random.default_rng(0)
    return [draw.normal(size=(draw.integers(3, 8), 2)) for _ in range(count)]


def rings(count=24):
    return [nx.cycle_graph(size + 3) for size in range(count)]


def classes(count):
    return [EVIL, "b"] * (count // 2)


def club():
    graph = nx.karate_club_graph()
    return graph, [graph.nodes[node]["club"] for node in graph]


def fitted(kind):
    graph, sides = club()
    known = [node in (0, 33) for node in graph]
    numbers = np.arange(24.0)
    make = {
        "StructFormerClassifier": lambda m: m(members=2, **FAST).fit(frame(), classes(40)),
        "StructFormerRegressor": lambda m: m(members=1, **FAST).fit(frame(), np.arange(40.0)),
        "TableEncoder": lambda m: m(**FAST).fit(frame()),
        "NodeClassifier": lambda m: m(**FAST, ignore=["club"]).fit(graph, sides, train_mask=known),
        "QuestionAnswerer": lambda m: m(**FAST).fit([(["A secret."], "What?")] * 24, classes(24)),
        "GraphClassifier": lambda m: m(**FAST).fit(rings(), classes(24)),
        "GraphRegressor": lambda m: m(**FAST).fit(rings(), numbers),
        "GraphEncoder": lambda m: m(**FAST).fit(rings()),
        "SetClassifier": lambda m: m(**FAST, model="ressformer").fit(point_sets(), classes(24)),
        "SetRegressor": lambda m: m(**FAST).fit(point_sets(), np.stack([numbers, numbers + 7], 1)),
        "SetEncoder": lambda m: m(**FAST).fit(point_sets()),
    }
    return make[kind](getattr(sf, kind))


KINDS = sorted(name for name in sf.estimators.__all__ if name != "load")


@pytest.fixture(scope="module", params=KINDS)
def model(request):
    return fitted(request.param)


def said(estimator):
    """What stands in the block, in order; it must be a tree, which a text that broke out would break."""
    block = ET.fromstring(html.learned(estimator))
    return [text.strip() for text in block.itertext() if text.strip()]


def rows(estimator):
    return dict(pairwise(said(estimator)))


def test_every_estimator_says_what_it_learned(model):
    found = rows(model)
    assert said(model)[:2] == [type(model).__name__, "fitted"]
    counts = model._seen
    assert found["learned from"] == ", ".join(
        f"{count:,} {thing}" for thing, count in counts.items()
    ).replace("1 graphs", "1 graph")
    size = sum(parameter.numel() for parameter in model.model_.parameters())
    assert f"{size:,} parameters" in " ".join(said(model)) or "2, each of" in " ".join(said(model))
    assert "learned_graph(X)" in said(model)
    assert "training loss" in said(model)
    assert found["time"].endswith(" s on cpu")


def test_scikit_learns_own_diagram_is_kept(model):
    shown = model._repr_html_()
    assert shown.startswith(html.learned(model))
    assert "<style>" in shown
    assert "neighbors" in shown
    assert model._repr_mimebundle_()["text/html"].startswith(html.learned(model))
    with sklearn.config_context(display="text"):
        assert "text/html" not in model._repr_mimebundle_()
        assert not hasattr(model, "_repr_html_")


def test_what_was_saved_shows_the_same(model, tmp_path):
    shown = html.learned(model)
    assert html.learned(sf.load(model.save(tmp_path / "model"))) == shown
    assert html.learned(pickle.loads(pickle.dumps(model))) == shown


def test_before_fit_it_is_what_scikit_learn_shows(model):
    new = clone(model)
    assert html.learned(new) == ""
    ids = re.compile(r"-\d+")
    once = super(sf.estimators.StructFormerEstimator, new)._repr_html_inner()
    assert ids.sub("", new._repr_html_()) == ids.sub("", once)


def test_nothing_is_run_or_fetched_and_no_data_is_told(model):
    block = html.learned(model)
    assert "<script" not in block
    assert "src=" not in block
    assert "url(" not in block
    assert "http" not in block.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "secret" not in model._repr_html_()


def test_counts_are_those_of_the_data():
    table = fitted("StructFormerClassifier")
    found = rows(table)
    assert found["learned from"] == "40 rows, 3 columns"
    assert found["kinds of columns"] == "number 2, string 1"
    assert found["rows listen to"] == "up to 32 training rows, in 1 step"
    assert found["2 classes"] == f"{EVIL}"
    assert found["epochs"] == "3, 3 (all that were planned)"
    assert len(found["kept validation loss"].split(", ")) == 2
    graph, _ = club()
    nodes = fitted("NodeClassifier")
    edges = 2 * graph.number_of_edges()
    assert nodes._seen == {"graphs": 1, "nodes": 34, "features": 18, "directed edges": edges, "labels": 2}
    sets = point_sets()
    assert fitted("SetEncoder")._seen == {"sets": 24, "elements": sum(map(len, sets)), "features": 2}


def test_numeric_targets_say_mean_and_spread():
    assert rows(fitted("StructFormerRegressor"))["target"] == "19.5 ± 11.5"
    assert rows(fitted("SetRegressor"))["2 targets"] == "11.5 ± 6.92, 18.5 ± 6.92"


def test_classes_of_every_kind_are_shown():
    labels = [f"{EVIL}{'n' * 100}{number}" for number in range(20)] * 2
    model = sf.StructFormerClassifier(members=1, **FAST).fit(frame(), labels)
    block = html.learned(model)
    assert "&lt;script&gt;" in block
    assert "and 12 more" in block
    assert len(block) < 10_000


def test_a_network_that_stopped_early_says_why():
    model = sf.SetClassifier(
        width=16, epochs=40, random_state=0, callbacks=[lambda epoch, _: epoch.number == 2]
    )
    model.fit(point_sets(), classes(24))
    assert rows(model)["epochs"] == "2 (a callback asked to stop)"


def test_a_fit_that_failed_shows_nothing_learned():
    model = fitted("StructFormerRegressor")
    with pytest.raises(ValueError, match="y"):
        model.fit(frame(), ["a"] * 40)
    assert html.learned(model) == ""
    model._repr_html_()
    new = sf.SetClassifier(**FAST, learning_rate=-1.0)
    with pytest.raises(ValueError, match="learning_rate"):
        new.fit(point_sets(), classes(24))
    assert html.learned(new) == ""
    new._repr_html_()


def test_a_table_whose_rows_stand_alone_offers_no_graph_of_rows():
    model = sf.StructFormerClassifier(members=1, row_steps=0, **FAST).fit(frame(), classes(40))
    assert rows(model)["rows listen to"] == "nobody"
    assert "learned_graph(X)" not in said(model)
    assert "column_graph(X)" in said(model)


def test_a_model_saved_without_its_history_is_shown(tmp_path):
    model = fitted("SetEncoder")
    state = {"class": "SetEncoder", "parameters": model._plain_parameters(), "state": model._state()}
    old = sf.estimators.SetEncoder._from_saved(state, model._tensors())
    assert old.history_ is None
    found = rows(old)
    assert "learned from" not in found
    assert "epochs" not in found
    assert found["network"] == rows(model)["network"]
