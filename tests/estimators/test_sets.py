"""Sets as arrays and frames. Learning, invariance, bad input: test_pooled."""

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits

import structformer as sf

FAST = {"width": 16, "heads": 2, "epochs": 3, "random_state": 0, "verbose": False}


def test_frames_give_their_names():
    draw = np.random.default_rng(0)
    frames = [
        pd.DataFrame(draw.normal(size=(5, 2)), columns=["across", "down"], index=[f"{i}{c}" for c in "abcde"])
        for i in range(12)
    ]
    model = sf.SetClassifier(**FAST).fit(frames, ["left", "right"] * 6)
    assert model.n_features_in_ == 2
    graph = model.learned_graph(frames[3:5])
    assert graph.names == [*frames[3].index, *frames[4].index]
    assert graph.ptr.tolist() == [0, 5, 10]
    assert len(graph.steps) == 2
    turned = [frame[["down", "across"]] for frame in frames]
    np.testing.assert_array_equal(model.predict_proba(turned), model.predict_proba(frames))
    with pytest.raises(ValueError, match=r"set 0 lacks the columns \['down'\]"):
        model.predict([frames[0][["across"]]])


def test_names_follow_shuffled_elements():
    draw = np.random.default_rng(1)
    frames = [
        pd.DataFrame(draw.normal(size=(23, 2)), index=[f"{i}-{j}" for j in range(23)]) for i in range(8)
    ]
    model = sf.SetClassifier(**FAST, neighbors=3).fit(frames, [0, 1] * 4)

    def named(graph):
        edges, weight = graph.to_edge_index()
        pairs = [(graph.names[a], graph.names[b]) for a, b in edges.T.tolist()]
        return dict(zip(pairs, weight.tolist(), strict=True))

    first, second = (
        named(model.learned_graph(frames)),
        named(model.learned_graph([f.sample(frac=1, random_state=3) for f in frames])),
    )
    assert first.keys() == second.keys()
    assert all(abs(first[pair] - second[pair]) < 1e-9 for pair in first)
    assert len(first) == 8 * 23 * 4


@pytest.mark.parametrize("options", [None, {"halting": "convergence", "threshold": 0.9}])
def test_a_large_batch_is_read_in_parts(monkeypatch, options):
    draw = np.random.default_rng(2)
    sets = [draw.normal(size=(draw.integers(1, 40), 2)) for _ in range(30)]
    model = sf.SetRegressor(**FAST, model="ressformer" if options else "soes", model_options=options)
    model.fit(sets, draw.normal(size=30))
    whole, graph = model.predict(sets), model.learned_graph(sets)
    monkeypatch.setattr("structformer.estimators.packed.batches.__defaults__", (50,))
    np.testing.assert_allclose(model.predict(sets), whole, rtol=1e-9)
    parts = model.learned_graph(sets)
    assert parts.col.equal(graph.col)
    assert parts.rowptr.equal(graph.rowptr)
    assert parts.ptr.equal(graph.ptr)


def test_four_digits_as_point_sets():
    images, y = load_digits(return_X_y=True)
    some = np.flatnonzero(y < 4)[:360]
    place = np.stack(np.meshgrid(range(8), range(8), indexing="ij"), -1).reshape(-1, 2)
    draw = np.random.default_rng(0)
    sets = [draw.permutation(np.column_stack([place, images[i]])[images[i] > 2]) for i in some]
    model = sf.SetClassifier(width=32, epochs=12, random_state=0, verbose=False).fit(
        sets[:270], y[some[:270]]
    )
    assert model.score(sets[270:], y[some[270:]]) > 0.93
