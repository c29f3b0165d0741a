import pickle
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import NotFittedError

import structformer as sf
from structformer.estimators import rows as rows_module
from structformer.models.encoder import Encoded, SOESEncoder
from structformer.models.ressformer import ReSSFormer

FAST = {"width": 16, "heads": 2, "members": 1, "epochs": 6, "learning_rate": 0.01, "random_state": 0}
DATE = pd.Timestamp("2024-02-01")


def mixed(rows: int, seed: int) -> pd.DataFrame:
    """A table of every kind of column, a tenth of its cells missing."""
    draw = np.random.default_rng(seed)
    words = ["slow", "quick", "old", "new", "broken", "fine", "blue", "large"]
    frame = pd.DataFrame(
        {
            "size": draw.normal(size=rows),
            "price": draw.lognormal(4, 1, size=rows),
            "colour": draw.choice(["red", "green", "blue"], rows),
            "used": draw.random(rows) < 0.5,
            "sold": DATE + pd.to_timedelta(draw.integers(0, 500, rows), unit="D"),
            "note": [f"{' '.join(draw.choice(words, 4))} item {draw.integers(999)}" for _ in range(rows)],
        },
        index=[f"s{seed}-{row}" for row in range(rows)],
    )
    for name in ("size", "colour", "sold", "note"):
        frame.loc[draw.random(rows) < 0.1, name] = None
    return frame


def answers(frame: pd.DataFrame) -> np.ndarray:
    return np.where((frame["size"].fillna(0) > 0) ^ (frame["colour"] == "red"), "yes", "no")


@pytest.fixture(scope="module")
def train() -> tuple[pd.DataFrame, np.ndarray]:
    """Training data with exact duplicates that carry another label."""
    frame = mixed(97, seed=1)
    again = frame.iloc[:11].set_axis([f"again-{row}" for row in range(11)])
    y = answers(frame)
    return pd.concat([frame, again]), np.concatenate([y, np.where(y[:11] == "yes", "no", "yes")])


@pytest.fixture(scope="module")
def new() -> pd.DataFrame:
    """New rows, with a category and a text that training never saw."""
    frame = mixed(23, seed=2)
    frame.loc[frame.index[3], "colour"] = "violet"
    frame.loc[frame.index[5], "note"] = "entirely unheard of"
    return frame


@pytest.fixture(scope="module")
def models(train) -> dict[str, sf.estimators.StructFormerEstimator]:
    frame, y = train
    target = frame["price"].to_numpy()
    return {
        "classifier": sf.StructFormerClassifier(
            row_steps=2, class_weight={"no": 2.0}, **FAST | {"members": 2}
        ).fit(frame, y),
        "regressor": sf.StructFormerRegressor(**FAST).fit(frame, np.column_stack([target, -target])),
        "encoder": sf.TableEncoder(**FAST).fit(frame),
        "ressformer": sf.StructFormerClassifier(
            model="ressformer", model_options={"depth": 2, "experts": 3}, **FAST
        ).fit(frame, y),
    }


def output(model, frame) -> np.ndarray:
    for method in ("predict_proba", "predict", "transform"):
        if hasattr(model, method):
            return getattr(model, method)(frame)
    raise AssertionError(model)


KINDS = pytest.mark.parametrize("kind", ["classifier", "regressor", "encoder", "ressformer"])


@KINDS
def test_a_row_reads_the_same_in_any_company(models, new, kind):
    model, crowd = models[kind], mixed(299, seed=3)
    together = output(model, new)
    for row in (0, 3, 5, 22):
        one = new.iloc[[row]]
        np.testing.assert_allclose(output(model, one)[0], together[row], rtol=1e-9)
        crowded = output(model, pd.concat([crowd.iloc[:137], one, crowd.iloc[137:]]))
        np.testing.assert_allclose(crowded[137], together[row], rtol=1e-9)


@KINDS
@settings(deadline=None, max_examples=5)
@given(seed=st.integers(0, 2**31))
def test_shuffled_rows_and_columns_are_read_alike(models, new, kind, seed):
    draw = np.random.default_rng(seed)
    perm, columns = draw.permutation(len(new)), draw.permutation(new.columns)
    found = output(models[kind], new.iloc[perm][columns])
    np.testing.assert_allclose(found, output(models[kind], new)[perm], rtol=1e-9)


@KINDS
def test_prediction_works_through_batches_of_bounded_size(models, new, kind, monkeypatch):
    model, whole, seen = models[kind], output(models[kind], new), []
    monkeypatch.setattr(rows_module, "CELLS_A_BATCH", 40)
    hook = model._exact_networks()[0].embedding.register_forward_hook(lambda *call: seen.append(len(call[2])))
    np.testing.assert_allclose(output(model, new), whole, rtol=1e-9)
    graph = model.learned_graph(new)
    hook.remove()
    assert len(seen) > 5
    assert max(seen) <= 40
    monkeypatch.undo()
    whole_graph = model.learned_graph(new)
    assert graph.col.equal(whole_graph.col)
    torch.testing.assert_close(graph.weight, whole_graph.weight)


@KINDS
def test_no_rows_give_no_predictions(models, new, kind):
    model, none = models[kind], new.iloc[:0]
    assert output(model, none).shape == (0, *output(model, new).shape[1:])
    assert model.learned_graph(none).num_targets == 0
    assert (model.column_graph(none) == 0).all(axis=None)


def test_saved_models_predict_the_same_in_a_fresh_process(models, new, tmp_path):
    new.to_pickle(tmp_path / "new.pickle")
    for kind, model in models.items():
        model.save(tmp_path / kind)
    code = (
        "import sys, numpy, pandas, structformer as sf\n"
        f"folder = {str(tmp_path)!r}\n"
        "new = pandas.read_pickle(folder + '/new.pickle')\n"
        "for kind, method in (('classifier', 'predict_proba'), ('regressor', 'predict'),"
        " ('encoder', 'transform'), ('ressformer', 'predict_proba')):\n"
        "    model = sf.load(folder + '/' + kind)\n"
        "    numpy.save(f'{folder}/{kind}.npy', getattr(model, method)(new))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    for kind, model in models.items():
        found = np.load(tmp_path / f"{kind}.npy")
        np.testing.assert_allclose(found, output(model, new), rtol=0, atol=1e-12)


COPIES: dict[str, Callable] = {
    "load": lambda model, folder: sf.load(model.save(folder / "model")),
    "pickle": lambda model, _: pickle.loads(pickle.dumps(model)),
}


@KINDS
@pytest.mark.parametrize("way", COPIES)
def test_a_copy_is_as_the_original(models, new, kind, way, tmp_path):
    model = models[kind]
    again = COPIES[way](model, tmp_path)
    assert type(again) is type(model)
    assert again.get_params() == model.get_params()
    np.testing.assert_array_equal(output(again, new), output(model, new))
    assert again.feature_names_in_.tolist() == model.feature_names_in_.tolist()
    assert again.n_features_in_ == model.n_features_in_ == 6
    one, other = again.learned_graph(new), model.learned_graph(new)
    assert one.source_names == other.source_names
    assert one.source_labels == other.source_labels
    assert one.weight.equal(other.weight)
    pd.testing.assert_frame_equal(again.column_graph(new), model.column_graph(new))


def test_pickles_leave_the_exact_copy_out(models, new):
    model = models["regressor"]
    output(model, new)
    assert "_exact" not in pickle.loads(pickle.dumps(model)).__dict__


@KINDS
def test_rows_listen_to_training_rows_by_name(models, train, new, kind):
    frame, _ = train
    graph = models[kind].learned_graph(new)
    assert graph.is_bipartite
    assert (graph.num_targets, graph.num_sources) == (len(new), len(frame))
    assert graph.names == list(new.index)
    assert sorted(graph.source_names) == sorted(frame.index)
    for step in graph.steps:
        sums = torch.zeros(len(new), dtype=torch.float64).index_add(0, step.row, step.mean_weight())
        torch.testing.assert_close(sums, torch.ones_like(sums))
    assert len(graph.steps) == (2 if kind == "classifier" else 1)


def test_sources_carry_the_labels_of_their_rows(models, train, new):
    frame, y = train
    graph = models["classifier"].learned_graph(new)
    expected = dict(zip(frame.index, y, strict=True))
    assert dict(zip(graph.source_names, graph.source_labels, strict=True)) == expected
    graph = models["regressor"].learned_graph(new)
    found = dict(zip(graph.source_names, graph.source_labels, strict=True))
    for name in frame.index:
        np.testing.assert_allclose(found[name], [frame["price"][name], -frame["price"][name]], rtol=1e-5)
    assert models["encoder"].learned_graph(new).source_labels is None


@KINDS
def test_columns_listen_to_columns(models, new, kind):
    table = models[kind].column_graph(new)
    assert list(table.index) == list(table.columns) == list(models[kind].tokenizer_.column_names)
    np.testing.assert_allclose(table.to_numpy().sum(1), 1)


def test_names_follow_a_shuffle(models, train, new):
    frame, _ = train
    perm = np.random.default_rng(0).permutation(len(frame))
    model = sf.TableEncoder(**FAST).fit(frame.iloc[perm])
    there = model.learned_graph(new.iloc[::-1])
    here = models["encoder"].learned_graph(new)

    def links(graph):
        parts = zip(graph.row.tolist(), graph.col.tolist(), graph.weight.tolist(), strict=True)
        # Of rows that are copies of each other, either may be first.
        plain = {name: name.replace("again-", "s1-") for name in graph.source_names}
        found: dict = {}
        for row, col, weight in parts:
            key = (graph.names[row], plain[graph.source_names[col]])
            found[key] = found.get(key, 0) + weight
        return found

    one, other = links(here), links(there)
    assert one.keys() == other.keys()
    np.testing.assert_allclose([one[key] for key in one], [other[key] for key in one], rtol=1e-6)


def test_without_row_steps_there_is_no_row_graph(train):
    frame, y = train
    model = sf.StructFormerClassifier(row_steps=0, **FAST).fit(frame, y)
    assert model.predict_proba(frame.iloc[:3]).shape == (3, 2)
    with pytest.raises(ValueError, match="row_steps is 0"):
        model.learned_graph(frame)


@pytest.mark.parametrize("method", ["learned_graph", "column_graph", "predict", "predict_proba"])
def test_nothing_works_before_fit(method, new):
    with pytest.raises(NotFittedError):
        getattr(sf.StructFormerClassifier(), method)(new)


@pytest.mark.parametrize("kind", [sf.StructFormerClassifier, sf.StructFormerRegressor, sf.TableEncoder])
def test_what_the_encoder_adds_is_part_of_the_loss(kind, monkeypatch):
    frame, losses = mixed(37, seed=4).drop(columns="note"), []
    for _ in range(2):
        model = kind(**FAST).fit(frame, np.arange(37) % 2)
        losses.append([epoch.loss for epoch in model.history_.epochs])
        monkeypatch.setattr(Encoded, "loss", property(lambda encoded: encoded.tokens.new_tensor(7.0)))
    np.testing.assert_allclose(losses[1], np.add(losses[0], 7), rtol=1e-5)


@pytest.mark.parametrize("kind", [sf.StructFormerClassifier, sf.StructFormerRegressor, sf.TableEncoder])
def test_the_cells_are_read_by_the_model_that_is_asked_for(kind):
    frame, y = mixed(37, seed=4).drop(columns="note"), np.arange(37) % 2
    fast = FAST | {"epochs": 2}
    cells = kind(model="ressformer", model_options={"experts": 3}, **fast).fit(frame, y).model_[0].cells
    assert isinstance(cells, ReSSFormer)
    assert (cells.config.experts, cells.config.steps) == (3, 2)
    asked = kind(model="ressformer", cell_steps=1, **fast).fit(frame, y)
    assert asked.model_[0].cells.config.steps == 1
    cells = kind(**fast).fit(frame, y).model_[0].cells
    assert isinstance(cells, SOESEncoder)
    assert cells.config.steps == 1
    for model, options, message in (
        ("nonsense", None, r"""model must be "soes" or "ressformer" \(got 'nonsense'\)"""),
        ("ressformer", {"neighbors": 3}, r"may name .* \(got 'neighbors'\)"),
    ):
        with pytest.raises(ValueError, match=message):
            kind(model=model, model_options=options, **FAST).fit(frame, y)
