import pytest
import torch

from structformer.nn.dropout import Dropout
from structformer.nn.embedding import FeatureEmbedding
from structformer.nn.sparse_features import MANY, SHARE, sparse_features, sparse_linear

TOKENS, FEATURES, OUTPUTS = 53, 97, 7


def words(rng, share=0.03, tokens=TOKENS, features=FEATURES):
    x = torch.randn(tokens, features, generator=rng, dtype=torch.float64)
    return x * (torch.rand(tokens, features, generator=rng) < share)


def test_a_linear_map_equals_the_dense_one(rng):
    x = words(rng)
    assert (x == 0).all(1).any(), "a token without features is among them"
    weight = torch.randn(OUTPUTS, FEATURES, generator=rng, dtype=torch.float64).requires_grad_()
    bias = torch.randn(OUTPUTS, generator=rng, dtype=torch.float64).requires_grad_()
    outs = sparse_linear(sparse_features(x), weight, bias), x @ weight.T + bias
    torch.testing.assert_close(*outs, rtol=1e-12, atol=1e-12)
    upstream = torch.randn(outs[0].shape, generator=rng, dtype=torch.float64)
    torch.testing.assert_close(*(torch.autograd.grad(out, (weight, bias), upstream) for out in outs))


def test_what_is_dense_small_or_empty_stays_as_it_is(rng):
    assert sparse_features(words(rng, share=2 * SHARE)) is None
    assert sparse_features(words(rng, features=MANY - 1)) is None
    assert sparse_features(words(rng)[:0]) is None
    assert sparse_features(torch.zeros(3, MANY)).num_edges == 0


def test_dropped_features_are_zeros_of_the_dense_map(rng):
    torch.manual_seed(0)
    x = words(rng)
    there = sparse_features(x)
    out = sparse_linear(there, torch.eye(FEATURES, dtype=torch.float64), dropout=Dropout(0.5))
    assert ((out == 0) | ((out - 2 * x).abs() < 1e-12)).all()
    assert 0.3 < float((out[x != 0] == 0).double().mean()) < 0.7


def test_an_embedding_reads_both_forms_alike(rng):
    x = words(rng)
    embedding = FeatureEmbedding(FEATURES, 16, dropout=0.5).double().eval()
    torch.testing.assert_close(embedding(x, sparse=sparse_features(x)), embedding(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_take_the_type_of_the_weights(dtype, rng):
    x = words(rng).to(torch.float32)
    weight = torch.randn(OUTPUTS, FEATURES, dtype=dtype)
    assert sparse_linear(sparse_features(x), weight).dtype == dtype
