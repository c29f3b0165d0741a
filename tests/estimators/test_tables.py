import pickle
import time

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_diabetes, load_wine
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.model_selection import train_test_split

import structformer as sf

FAST = {"width": 16, "heads": 2, "members": 1, "epochs": 6, "learning_rate": 0.01, "random_state": 0}


def noise(rows: int, columns: int = 3, seed: int = 0) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    return pd.DataFrame(draw.normal(size=(rows, columns)), columns=[f"c{i}" for i in range(columns)])


def halves(frame: pd.DataFrame) -> np.ndarray:
    return (frame["c0"] > 0).to_numpy().astype(int)


@pytest.fixture(scope="module")
def fitted() -> sf.StructFormerClassifier:
    frame = noise(40)
    return sf.StructFormerClassifier(**FAST).fit(frame, halves(frame))


def test_wine_is_learned():
    X, y = load_wine(return_X_y=True, as_frame=True)
    names = np.array(["barolo", "grignolino", "barbera"])[y]
    train, test, y_train, y_test = train_test_split(X, names, random_state=0, stratify=y)
    model = sf.StructFormerClassifier(**FAST | {"members": 2, "epochs": 15}).fit(train, y_train)
    assert model.score(test, y_test) >= 0.93
    assert list(model.classes_) == ["barbera", "barolo", "grignolino"]
    np.testing.assert_allclose(model.predict_proba(test).sum(1), 1)
    assert (model.classes_[model.predict_proba(test).argmax(1)] == model.predict(test)).all()
    # The rows that a row listens to are mostly of its own class.
    assert model.learned_graph(test).homophily(y_test) > 0.7


def test_diabetes_is_learned():
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    train, test, y_train, y_test = train_test_split(X, y, random_state=0)
    model = sf.StructFormerRegressor(**FAST | {"epochs": 12}).fit(train, y_train)
    assert model.score(test, y_test) > 0.3


def test_several_outputs_are_learned():
    frame = noise(150, seed=4)
    y = np.column_stack([frame["c0"], -3 * frame["c0"] + 7])
    model = sf.StructFormerRegressor(**FAST | {"epochs": 15}).fit(frame, y)
    found = model.predict(frame)
    assert found.shape == (150, 2)
    assert model.score(frame, y) > 0.7
    assert sf.StructFormerRegressor(**FAST).fit(frame, y[:, :1]).predict(frame).shape == (150,)


def test_random_labels_cannot_be_foretold():
    # A model whose rows see their own labels in training learns to copy them, and says nothing of new rows;
    # one whose new rows saw the labels of the test would beat chance.
    frame = noise(400, seed=5)
    y = np.random.default_rng(6).permutation(np.arange(400) % 2)
    model = sf.StructFormerClassifier(**FAST).fit(frame.iloc[:200], y[:200])
    assert abs(model.score(frame.iloc[200:], y[200:]) - 0.5) < 0.11  # three standard deviations
    # In training, where a row hears others only, the labels stay unknown too: no loss far below log 2.
    assert min(epoch.loss for epoch in model.history_.epochs) > 0.5


@pytest.mark.parametrize("row_steps", [1, 2])
def test_in_training_a_row_does_not_hear_its_own_label(row_steps):
    frame = noise(29)
    model = sf.StructFormerClassifier(row_steps=row_steps, **FAST).fit(frame, halves(frame))
    network = model.model_[0].double()
    cells = model.tokenizer_.transform(frame)
    cells["x"] = cells["x"].double()
    labels = torch.nn.functional.one_hot(torch.from_numpy(halves(frame))).double().requires_grad_()
    out = network(cells, labels=labels)
    assert all((graph.row != graph.col).all() for graph in out.row_graphs)
    for row in range(29):
        (heard,) = torch.autograd.grad(out.outputs[row].sum(), labels, retain_graph=True)
        assert not heard[row].any()
        assert heard.any()


@settings(deadline=None, max_examples=3)
@given(seed=st.integers(0, 2**31), weighted=st.booleans())
def test_shuffling_the_training_table_changes_nothing(seed, weighted):
    # Few distinct rows: many are exact copies, some with another label.
    draw = np.random.default_rng(seed)
    frame = noise(60).round(0).assign(kind=draw.choice(["a", "b", None], 60))
    y = draw.permutation(np.where(halves(frame), "yes", "no"))
    weight = draw.random(60) if weighted else None
    rows, columns = draw.permutation(60), draw.permutation(frame.columns)
    for kind, target in ((sf.StructFormerClassifier, y), (sf.StructFormerRegressor, draw.lognormal(size=60))):
        one = kind(**FAST).fit(frame, target, sample_weight=weight)
        moved = None if weight is None else weight[rows]
        other = kind(**FAST).fit(frame.iloc[rows][columns], target[rows], sample_weight=moved)
        here, there = one._predicted(frame), other._predicted(frame[columns])
        np.testing.assert_allclose(there, here, rtol=1e-6, atol=1e-9)
        assert (one.predict(frame) == other.predict(frame)).all() or kind is sf.StructFormerRegressor


def test_the_seed_decides():
    frame = noise(30)
    y = halves(frame)
    one, two, three = (
        sf.StructFormerClassifier(**FAST | {"random_state": seed}).fit(frame, y).predict_proba(frame)
        for seed in (3, 3, 4)
    )
    assert (one == two).all()
    assert (one != three).any()


def test_weights_decide_between_contradictory_rows():
    frame = noise(40)
    twice = pd.concat([frame, frame])
    y, weight = np.repeat([0, 1], 40), np.repeat([9.0, 1.0], 40)
    new = noise(30, seed=1)
    for heavy, expected in ((weight, 0), (weight[::-1], 1)):
        model = sf.StructFormerClassifier(**FAST | {"epochs": 12}).fit(twice, y, sample_weight=heavy)
        assert (model.predict(new) == expected).mean() > 0.9
    model = sf.StructFormerRegressor(**FAST | {"epochs": 12}).fit(twice, y * 100.0, sample_weight=weight)
    assert 0 < model.predict(new).mean() < 30


def test_rows_of_weight_zero_are_not_there():
    frame = noise(80)
    y, weight = halves(frame), np.ones(80)
    weight[40:] = 0
    y[40:] = 1 - y[40:]
    model = sf.StructFormerClassifier(**FAST | {"epochs": 60}).fit(frame, y, sample_weight=weight)
    assert sorted(model.row_names_, key=int) == [str(i) for i in range(40)]
    assert model.score(noise(50, seed=9), halves(noise(50, seed=9))) > 0.8


@pytest.mark.parametrize("rule", ["balanced", {1: 30.0}])
def test_class_weights_help_the_rare_class(rule):
    frame = noise(90, seed=2)
    y = (frame["c0"] + frame["c1"] > 1.8).to_numpy().astype(int)
    plain, fair = (sf.StructFormerClassifier(class_weight=w, **FAST).fit(frame, y) for w in (None, rule))
    new = noise(60, seed=3)
    assert fair.predict_proba(new)[:, 1].mean() > plain.predict_proba(new)[:, 1].mean() + 0.05


def test_class_weights_name_classes():
    frame = noise(20)
    for rule, said in (({"x": 1.0}, "class_weight names 'x'"), ("fair", "class_weight must be None")):
        with pytest.raises(ValueError, match=said):
            sf.StructFormerClassifier(class_weight=rule, **FAST).fit(frame, halves(frame))


def test_an_eval_set_stops_training():
    frame, held = noise(60), noise(19, seed=8)
    wrong = sf.StructFormerClassifier(**FAST | {"epochs": 30, "patience": 3})
    wrong.fit(frame, halves(frame), eval_set=(held, 1 - halves(held)))
    assert wrong.history_.stopped == "patience"
    assert len(wrong.history_.epochs) == wrong.history_.best + 3 < 30
    right = sf.StructFormerClassifier(**FAST).fit(frame, halves(frame), eval_set=(held, halves(held)))
    assert right.history_.best == 6
    scores = [epoch.score for epoch in right.history_.epochs]
    assert None not in scores
    small = sf.StructFormerRegressor(**FAST).fit(frame[:15], frame["c1"][:15], eval_set=(held, held["c1"]))
    assert small.history_.epochs[0].score is not None
    alone = sf.StructFormerRegressor(**FAST).fit(frame[:15], frame["c1"][:15])
    assert alone.history_.epochs[0].score is None


@pytest.mark.parametrize(
    ("held", "said"),
    [
        (noise(5), "eval_set must be a pair"),
        ((noise(5), [0, 1, 0, 1, 2]), "y of eval_set holds 2, which is not among the training classes"),
        ((noise(5), [0, 1]), "y of eval_set has 2 entries, but there are 5 rows"),
        ((noise(5)[["c0"]], [0, 1] * 2), "missing: \\['c1', 'c2'\\]"),
        ((noise(5)[:0], []), "eval_set must have at least one row"),
    ],
)
def test_eval_sets_are_checked(held, said):
    frame = noise(20)
    with pytest.raises(ValueError, match=said):
        sf.StructFormerClassifier(**FAST).fit(frame, halves(frame), eval_set=held)


def test_eval_sets_have_as_many_outputs():
    frame = noise(20)
    with pytest.raises(ValueError, match="y of eval_set has 1 outputs, but y has 2"):
        sf.StructFormerRegressor(**FAST).fit(frame, frame[["c0", "c1"]], eval_set=(frame, frame["c0"]))


def test_time_is_kept():
    frame = noise(200)
    model = sf.StructFormerClassifier(**FAST | {"epochs": 100_000, "patience": None, "max_time": 0.5})
    started = time.monotonic()
    model.fit(frame, halves(frame))
    assert time.monotonic() - started < 10
    assert model.history_.stopped == "max_time"
    assert model.history_.epochs[-1].seconds < 5


def test_networks_share_the_time():
    frame = noise(50)
    endless = FAST | {"members": 3, "epochs": 100_000, "patience": None, "max_time": 0.6}
    model = sf.StructFormerRegressor(**endless).fit(frame, frame["c0"])
    assert [history.stopped for history in model.histories_] == ["max_time"] * 3
    assert all(history.epochs[-1].seconds >= 0.2 for history in model.histories_)


def test_callbacks_are_called():
    seen = []

    def third_of_the_second(epoch, model):
        assert not model.training
        seen.append(epoch.number)
        return len(seen) == 9

    frame = noise(20)
    model = sf.StructFormerClassifier(**FAST | {"members": 4, "callbacks": [third_of_the_second]})
    model.fit(frame, halves(frame))
    assert seen == [1, 2, 3, 4, 5, 6, 1, 2, 3]
    assert [history.stopped for history in model.histories_] == ["epochs", "callback"]
    assert len(model.model_) == 2, "networks that were not trained have nothing to say"
    assert model.predict(frame).shape == (20,)


def test_networks_differ_and_are_averaged():
    frame, new = noise(60), noise(20, seed=1)
    both = sf.StructFormerRegressor(**FAST | {"members": 2}).fit(frame, frame["c0"])
    one = sf.StructFormerRegressor(**FAST).fit(frame, frame["c0"])
    assert (both.predict(new) != one.predict(new)).all()
    assert len(both.histories_) == len(both.model_) == len(both.memory_) == 2
    alone = [pickle.loads(pickle.dumps(both)) for _ in range(2)]
    for number, model in enumerate(alone):
        model.model_, model.memory_ = both.model_[number : number + 1], [both.memory_[number]]
    mean = (alone[0].predict(new) + alone[1].predict(new)) / 2
    np.testing.assert_allclose(both.predict(new), mean, rtol=1e-9)


@pytest.mark.parametrize(("columns", "members"), [(100, 4), (101, 1)])
def test_small_tables_get_several_networks(columns, members):
    frame = noise(100, columns)
    model = sf.StructFormerRegressor(width=4, heads=1, epochs=1, random_state=0).fit(frame, frame["c0"])
    assert len(model.model_) == members


def test_a_second_fit_forgets_the_first():
    frame = noise(30)
    model = sf.StructFormerClassifier(**FAST).fit(frame, halves(frame))
    other = noise(30, columns=5, seed=1).to_numpy()
    model.fit(other, np.where(other[:, 4] > 0, "x", "y"))
    assert model.n_features_in_ == 5
    assert not hasattr(model, "feature_names_in_")
    assert set(model.predict(other)) <= {"x", "y"}


def test_a_fit_that_fails_leaves_no_half_of_a_model():
    frame = noise(20)
    model = sf.StructFormerClassifier(**FAST).fit(frame, halves(frame))
    with pytest.raises(ValueError, match="at least two classes"):
        model.fit(frame[["c1", "c2"]], np.zeros(20))
    with pytest.raises(NotFittedError):
        model.predict(frame)

    def interrupt(*_):
        raise KeyboardInterrupt

    model.set_params(callbacks=[interrupt])
    with pytest.raises(KeyboardInterrupt):
        model.fit(frame, halves(frame))
    with pytest.raises(NotFittedError):
        model.predict_proba(frame)


def test_equal_weights_are_no_weights():
    frame = noise(30)
    one = sf.StructFormerClassifier(**FAST).fit(frame, halves(frame), sample_weight=np.full(30, 0.25))
    other = sf.StructFormerClassifier(**FAST).fit(frame, halves(frame))
    np.testing.assert_allclose(one.predict_proba(frame), other.predict_proba(frame), rtol=1e-5)


@pytest.mark.parametrize("kind", ["category", "string", object, "tensor"])
def test_labels_come_in_many_ways(kind):
    frame = noise(20)
    numbers = halves(frame)
    words = pd.Series(np.where(numbers, "up", "down"))
    y = torch.from_numpy(numbers) if kind == "tensor" else words.astype(kind)
    model = sf.StructFormerClassifier(**FAST).fit(frame, y)
    assert model.classes_.tolist() == ([0, 1] if kind == "tensor" else ["down", "up"])
    assert set(model.predict(frame)) <= set(model.classes_)


def test_a_column_of_labels_is_warned_about():
    frame = noise(20)
    with pytest.warns(DataConversionWarning, match="column-vector y"):
        sf.StructFormerClassifier(**FAST).fit(frame, halves(frame)[:, None])


def test_numbers_as_text_are_read_at_predict(fitted):
    frame = noise(7)
    spelled = frame.assign(c1=frame["c1"].map(repr))
    np.testing.assert_array_equal(fitted.predict_proba(spelled), fitted.predict_proba(frame))
