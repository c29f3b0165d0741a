import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_matrix
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import structformer as sf
from structformer.estimators.rows import grid
from structformer.estimators.table_encoder import corrupt_cells, reconstruction
from structformer.graph import TokenGraph
from structformer.inspect import edge_agreement
from structformer.inspect.planted import planted_columns
from structformer.tokenize.tables import TableTokenizer

FAST = {"width": 16, "heads": 2, "epochs": 6, "learning_rate": 0.01, "random_state": 0}
ROWS = 97


def mixed() -> pd.DataFrame:
    draw = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "colour": draw.choice(["red", "green", "blue"], ROWS),
            "note": [f"something of a certain length about thing {i}" for i in range(ROWS)],
            "size": draw.normal(size=ROWS),
        }
    )
    frame.loc[frame.index[::10], "size"] = np.nan
    return frame


@pytest.fixture(scope="module")
def table():
    tokenizer = TableTokenizer()
    return tokenizer.fit_transform(mixed()), tokenizer.columns_


def test_rows_are_encoded_without_labels():
    X, y = load_iris(return_X_y=True, as_frame=True)
    encoder = sf.TableEncoder(**FAST | {"epochs": 20})
    rows = encoder.fit_transform(X)
    assert rows.shape == (150, 16)
    assert rows.dtype == np.float64
    assert np.isfinite(rows).all()
    np.testing.assert_array_equal(rows, encoder.transform(X))
    # Vectors tell the species apart, which training never heard of.
    assert LogisticRegression(max_iter=2000).fit(rows[::2], y[::2]).score(rows[1::2], y[1::2]) > 0.9
    kinds = y.to_numpy()
    assert encoder.learned_graph(X).homophily(kinds, kinds[list(map(int, encoder.row_names_))]) > 0.8


def test_what_is_hidden_is_learned():
    losses = [epoch.loss for epoch in sf.TableEncoder(**FAST).fit(load_iris().data).history_.epochs]
    assert losses[-1] < 0.9 * losses[0]


def test_targets_are_no_help():
    X, y = load_iris(return_X_y=True)
    one, other = sf.TableEncoder(**FAST).fit(X), sf.TableEncoder(**FAST).fit(X, y)
    np.testing.assert_array_equal(one.transform(X), other.transform(X))


def test_it_works_in_a_pipeline_and_names_its_features():
    X, y = load_iris(return_X_y=True, as_frame=True)
    pipeline = make_pipeline(sf.TableEncoder(**FAST | {"epochs": 2}), LogisticRegression(max_iter=2000))
    assert pipeline.fit(X, y).score(X, y) > 0.8
    encoder = pipeline[0].set_output(transform="pandas")
    named = encoder.transform(X.iloc[7:10])
    assert list(named.columns) == [f"tableencoder{i}" for i in range(16)]
    assert list(named.index) == [7, 8, 9]
    assert encoder.get_feature_names_out().tolist() == list(named.columns)


def test_shuffling_the_training_table_changes_nothing():
    frame = mixed()
    perm = np.random.default_rng(1).permutation(ROWS)
    one = sf.TableEncoder(**FAST).fit(frame)
    other = sf.TableEncoder(**FAST).fit(frame.iloc[perm][["size", "note", "colour"]])
    np.testing.assert_allclose(other.transform(frame), one.transform(frame), rtol=1e-6, atol=1e-9)


def test_rows_of_weight_zero_are_not_there():
    weight = np.arange(ROWS) % 2
    encoder = sf.TableEncoder(**FAST).fit(mixed(), sample_weight=weight)
    assert sorted(map(int, encoder.row_names_)) == list(range(1, ROWS, 2))


def test_an_encoder_is_one_network():
    with pytest.raises(ValueError, match=r"members must be None or 1 for an encoder.*\(got 3\)"):
        sf.TableEncoder(members=3, **FAST).fit(mixed())


def test_nothing_is_encoded_before_fit():
    with pytest.raises(NotFittedError):
        sf.TableEncoder().transform(mixed())


def test_corrupted_cells_come_from_their_own_column_or_are_hidden(table):
    cells, columns = table
    before = [part.clone() for part in grid(cells)]
    draw = torch.Generator().manual_seed(0)
    view, changed = corrupt_cells(cells, 0.4, draw)
    assert all(now.equal(then) for now, then in zip(grid(cells), before, strict=True)), (
        "the table is as it was"
    )
    assert 0.3 < changed.double().mean() < 0.5
    values, codes = grid(view)
    assert values[~changed].equal(before[0][~changed])
    assert codes[~changed].equal(before[1][~changed])
    for place in range(len(columns)):
        pairs = set(zip(before[0][:, place].tolist(), before[1][:, place].tolist(), strict=True))
        found = set(zip(values[:, place].tolist(), codes[:, place].tolist(), strict=True))
        assert found <= pairs | {(0.0, 0)}
    hidden = changed & (codes == 0)
    assert 0.35 < hidden.sum() / changed.sum() < 0.7


def test_the_same_generator_corrupts_the_same_cells(table):
    cells, _ = table
    one, two = (corrupt_cells(cells, 0.3, torch.Generator().manual_seed(4))[0] for _ in range(2))
    assert one.x.equal(two.x)
    assert one.code.equal(two.code)


def test_what_is_said_again_is_compared_with_what_stood_there(table):
    cells, columns = table
    values, codes = grid(cells)
    places = {column.name: place for place, column in enumerate(columns)}
    cardinality = columns[places["colour"]].cardinality
    draw = torch.Generator().manual_seed(0)
    outputs = torch.randn(ROWS, cardinality + 1, generator=draw)
    changed = torch.rand(ROWS, 3, generator=draw) < 0.5
    weight = torch.rand(ROWS, generator=draw)
    expected, count = 0.0, 0.0
    for row in range(ROWS):
        colour, size = places["colour"], places["size"]
        if changed[row, colour]:
            share = outputs[row, :cardinality].softmax(0)[codes[row, colour]]
            expected, count = expected - float(weight[row] * share.log()), count + float(weight[row])
        if changed[row, size] and codes[row, size]:
            error = (outputs[row, -1] - values[row, size]) ** 2
            expected, count = expected + float(weight[row] * error), count + float(weight[row])
    total, number = reconstruction(outputs, cells, changed, columns, weight)
    np.testing.assert_allclose([float(total), float(number)], [expected, count], rtol=1e-5)


def test_a_perfect_answer_costs_nothing(table):
    cells, columns = table
    values, codes = grid(cells)
    sizes = {"colour": columns[0].cardinality}
    onehot = torch.nn.functional.one_hot(codes[:, 0], sizes["colour"]) * 100.0
    outputs = torch.cat([onehot, values[:, 2:]], dim=1)
    changed = torch.ones(ROWS, 3, dtype=torch.bool)
    total, number = reconstruction(outputs, cells, changed, columns, None)
    assert float(total) < 1e-6
    assert float(number) == ROWS + int((codes[:, 2] > 0).sum())


def test_the_column_graph_shows_what_depends_on_what():
    planted = planted_columns(seed=0, rows=400, columns=8, family=2)
    encoder = sf.TableEncoder(width=32, heads=2, epochs=60, patience=None, learning_rate=4e-3, random_state=0)
    found = encoder.fit(planted.frame).column_graph(planted.frame)
    learned = TokenGraph.from_scipy(csr_matrix(found.to_numpy()), names=list(found.columns))
    assert edge_agreement(learned, planted.truth).roc_auc.item() > 0.9
