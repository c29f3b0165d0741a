import pytest
import torch

from structformer.nn import CellEmbedding, FeatureEmbedding
from structformer.nn.embedding import piecewise_linear
from structformer.tokenize.columns import Column

WIDTH, ROWS, STRINGS, TEXT = 11, 7, 5, 13
QUANTILES = tuple(torch.linspace(-2, 2, 49).tolist())
COLUMNS = (
    Column("age", "age", "numeric", "number", quantiles=QUANTILES),
    Column("job", "job", "categorical", "string", categories=("cook", "smith")),
    Column("note", "note", "text", "string"),
    Column("two", "two", "numeric", "number", quantiles=(-1.0,) * 24 + (1.0,) * 25),
)


def cells(rng):
    """Rows in which every kind of cell, and of missing cell, occurs."""
    x = torch.zeros(ROWS, 4, dtype=torch.float64)
    x[:, 0] = torch.randn(ROWS, generator=rng, dtype=torch.float64)
    x[:, 3] = torch.tensor([-1.0, 1.0, 1.0, -1.0, -1.0, 1.0, 1.0])
    code = torch.ones(ROWS, 4, dtype=torch.long)
    code[:, 1] = torch.tensor([2, 3, 1, 0, 2, 2, 3])
    code[:, 2] = torch.tensor([1, 2, 3, 4, 1, 0, 2])
    code[3, 0] = 0
    text = torch.randn(STRINGS, TEXT, generator=rng, dtype=torch.float64)
    return x, code, text


def layer():
    embedding = CellEmbedding(COLUMNS, WIDTH, bins=4, text_features=TEXT).double().eval()
    with torch.no_grad():  # away from the initial zeros
        embedding.missing.normal_()
        embedding.numeric.linear.weight.normal_()
    return embedding


def embed(embedding, x, code, text):
    return embedding(x.reshape(-1, 1), code.reshape(-1), text).view(len(x), -1, WIDTH)


def test_each_cell_is_its_column_plus_its_value(rng):
    embedding, (x, code, text) = layer(), cells(rng)
    out = embed(embedding, x, code, text)
    numbers = embedding.numeric(x[:, [0, 3]])
    category = embedding.category.weight.view(4, WIDTH)
    for row in range(ROWS):
        values = [
            numbers[row, 0],
            category[code[row, 1]],
            text[code[row, 2]] @ embedding.text.weight.T,
            numbers[row, 1],
        ]
        for place, value in enumerate(values):
            value = embedding.missing[place] if code[row, place] == 0 else value
            torch.testing.assert_close(out[row, place], embedding.identity[place] + value)


def test_what_a_missing_cell_holds_does_not_matter(rng):
    embedding, (x, code, text) = layer(), cells(rng)
    before = embed(embedding, x, code, text)[3, 0]
    x[3, 0] = 5.0
    assert torch.equal(embed(embedding, x, code, text)[3, 0], before)


def test_a_row_does_not_depend_on_the_others(rng):
    embedding, (x, code, text) = layer(), cells(rng)
    torch.testing.assert_close(
        embed(embedding, x[2:3], code[2:3], text)[0], embed(embedding, x, code, text)[2]
    )


def test_at_first_a_missing_cell_reads_as_neutral():
    embedding = CellEmbedding(COLUMNS[:1], WIDTH)
    out = embedding(torch.zeros(1, 1), torch.zeros(1, dtype=torch.long))
    assert torch.equal(out, embedding.identity)


def test_gradients_reach_every_parameter(rng):
    embedding = layer()
    embed(embedding, *cells(rng)).square().sum().backward()
    for name, parameter in embedding.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_training_hides_some_categories_behind_unseen():
    embedding = CellEmbedding(COLUMNS[1:2], WIDTH)
    x, code = torch.zeros(997, 1), torch.full((997,), 2)
    code[:100] = 0
    out = embedding(x, code)
    assert torch.equal(out[:100], (embedding.identity + embedding.missing).expand(100, -1))
    unseen = (out == embedding(x[:1], torch.ones(1, dtype=torch.long))).all(1)
    assert 0 < unseen.sum() < 60
    embedding.eval()
    assert (embedding(x, code)[100:] == embedding(x, code)[100]).all()


def test_no_rows_give_no_cells():
    out = CellEmbedding(COLUMNS[:2], WIDTH)(torch.zeros(0, 1), torch.zeros(0, dtype=torch.long))
    assert out.shape == (0, WIDTH)


def test_text_must_come_with_text_columns(rng):
    x, code, _ = cells(rng)
    with pytest.raises(ValueError, match="text is missing"):
        embed(layer(), x, code, None)


def test_a_piecewise_linear_embedding_bends_at_its_edges():
    bend = piecewise_linear([[-1.0, 0.0, 2.0]], WIDTH)
    with torch.no_grad():
        bend.linear.weight.normal_()
    points = torch.tensor([[-0.8], [-0.5], [-0.2], [0.4], [1.0], [1.6]])
    left, right = bend(points)[:3, 0], bend(points)[3:, 0]
    torch.testing.assert_close(left[2] - left[1], left[1] - left[0])
    torch.testing.assert_close(right[2] - right[1], right[1] - right[0])
    assert ((left[1] - left[0]) / 0.3 - (right[1] - right[0]) / 0.6).abs().max() > 0.1


def features(rng, **changes):
    arguments = {"num_features": 3, "width": WIDTH, "bins": [[-1.0, 0.0, 1.0], [], [0.0, 1.0]], **changes}
    return FeatureEmbedding(**arguments).double(), torch.randn(ROWS, 3, generator=rng, dtype=torch.float64)


def test_features_are_a_linear_and_a_bent_part_and_a_type(rng):
    embedding, x = features(rng, token_types=2)
    kind = torch.tensor([0, 1, 1, 0, 1, 0, 0])
    expected = embedding.linear(x) + embedding.mix(embedding.numeric(x[:, [0, 2]]).flatten(1))
    torch.testing.assert_close(embedding(x), expected)
    torch.testing.assert_close(embedding(x, kind), expected + embedding.token_type.weight[kind])
    embedding(x, kind).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in embedding.parameters())


@pytest.mark.parametrize("bins", [None, [[], [1.0], []]])
def test_without_bins_the_embedding_is_linear(rng, bins):
    embedding, x = features(rng, bins=bins)
    assert torch.equal(embedding(x, torch.zeros(ROWS, dtype=torch.long)), embedding.linear(x))


def test_raw_features_are_dropped_in_training_only(rng):
    embedding, x = features(rng, dropout=0.5)
    assert not torch.equal(embedding(x), embedding(x))
    embedding.eval()
    assert torch.equal(embedding(x), embedding(x))


def test_bins_must_be_given_for_every_feature(rng):
    with pytest.raises(ValueError, match=r"each of 3 features \(got 1\)"):
        features(rng, bins=[[0.0, 1.0]])


def test_mixed_precision_reads_all_kinds_of_cells(rng):
    embedding, (x, code, text) = layer().float(), cells(rng)
    expected = embed(embedding, x.float(), code, text.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = embed(embedding, x.float(), code, text.float())
    torch.testing.assert_close(found.float(), expected, rtol=0.05, atol=0.05)
