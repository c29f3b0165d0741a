import entmax
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from structformer.ops import (
    naive,
    normalize_rows,
    segment_entmax,
    segment_softmax,
    segment_sparsemax,
)

RAGGED, EVEN = torch.tensor([0, 3, 3, 10, 11, 23]), torch.arange(0, 36, 7)
ALPHAS = [1.0, 1.05, 1.3, 1.5, 1.9, 2.0, 2.5, 4.0]
LAYOUTS = pytest.mark.parametrize("rowptr", [RAGGED, EVEN], ids=["ragged", "even"])


def random(*shape, seed=0, scale=2.0):
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(*shape, generator=generator, dtype=torch.float64)).requires_grad_()


@LAYOUTS
@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("heads", [(), (1,), (3,)])
def test_values_and_gradients_equal_the_twin(rowptr, alpha, heads):
    scores = random(int(rowptr[-1]), *heads)
    weights, expected = segment_entmax(scores, rowptr, alpha), naive.segment_entmax(scores, rowptr, alpha)
    torch.testing.assert_close(weights, expected, rtol=1e-9, atol=1e-10)
    upstream = random(*weights.shape, seed=1)
    (grad,) = torch.autograd.grad(weights, scores, upstream)
    (expected_grad,) = torch.autograd.grad(expected, scores, upstream)
    torch.testing.assert_close(grad, expected_grad, rtol=1e-8, atol=1e-9)


@LAYOUTS
@pytest.mark.parametrize("shape", ["scalar", "per head"])
@pytest.mark.parametrize("base", [1.2, 1.5, 1.97, 2.6])
def test_a_learned_alpha_gets_the_gradient_of_the_twin(rowptr, shape, base):
    scores = random(int(rowptr[-1]), 3)
    values = torch.tensor([base, 1.7, 1.31], dtype=torch.float64)
    alpha = (values if shape == "per head" else values[0].clone()).requires_grad_()
    upstream = random(*scores.shape, seed=1)
    grads = torch.autograd.grad(segment_entmax(scores, rowptr, alpha), (scores, alpha), upstream)
    expected = torch.autograd.grad(naive.segment_entmax(scores, rowptr, alpha), (scores, alpha), upstream)
    torch.testing.assert_close(grads, expected, rtol=1e-8, atol=1e-9)


@LAYOUTS
@pytest.mark.parametrize("alpha", [1.0, 1.3, 1.5, 2.0, 2.6])
def test_scores_pass_gradcheck(rowptr, alpha):
    assert torch.autograd.gradcheck(lambda s: segment_entmax(s, rowptr, alpha), random(int(rowptr[-1]), 2))


@LAYOUTS
def test_alpha_passes_gradcheck(rowptr):
    scores = random(int(rowptr[-1]), 2).detach()
    alpha = torch.tensor([1.4, 1.8], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a: segment_entmax(scores, rowptr, a), alpha)


def package(scores, rowptr, alpha):
    """The entmax package, on rows that −inf fills up to the longest; it has nothing for a row of nothing."""
    degree = rowptr.diff()
    degree = degree[degree > 0]
    inside = torch.arange(int(degree.max())) < degree[:, None]
    rows = torch.full((*inside.shape, scores.shape[1]), float("-inf"), dtype=torch.float64)
    rows = rows.index_put(inside.nonzero(as_tuple=True), scores)
    if isinstance(alpha, torch.Tensor):
        return entmax.entmax_bisect(rows, alpha.view(1, 1, -1), dim=1, n_iter=60)[inside]
    exact = {1.5: entmax.entmax15, 2.0: entmax.sparsemax}
    if alpha in exact:
        return exact[alpha](rows, dim=1)[inside]
    return entmax.entmax_bisect(rows, alpha, dim=1, n_iter=60)[inside]


def unusual(kind, rowptr):
    """Scores of which many are equal, or some −inf, though never all of a row."""
    scores = random(int(rowptr[-1]), 3)
    if kind == "ties":
        return scores.detach()[torch.arange(len(scores)) // 2 * 2].requires_grad_()
    if kind == "impossible edges":
        removed = torch.rand(scores.shape, generator=torch.Generator().manual_seed(5)) < 0.4
        removed[rowptr[:-1][rowptr.diff() > 0]] = False
        return scores.detach().masked_fill(removed, float("-inf")).requires_grad_()
    return scores


@LAYOUTS
@pytest.mark.parametrize("kind", ["plain", "ties", "impossible edges"])
@pytest.mark.parametrize("alpha", [1.05, 1.3, 1.5, 1.9, 2.0, 2.5, 4.0])
def test_the_entmax_package_agrees_on_padded_rows(rowptr, alpha, kind):
    scores = unusual(kind, rowptr)
    ours, theirs = segment_entmax(scores, rowptr, alpha), package(scores, rowptr, alpha)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)
    upstream = random(*scores.shape, seed=1)
    (grad,) = torch.autograd.grad(ours, scores, upstream)
    (expected,) = torch.autograd.grad(theirs, scores, upstream)
    torch.testing.assert_close(grad, expected, rtol=1e-8, atol=1e-9)


@LAYOUTS
@pytest.mark.parametrize("kind", ["plain", "ties", "impossible edges"])
@pytest.mark.parametrize("shape", ["scalar", "per head"])
def test_the_entmax_package_agrees_on_the_gradient_of_alpha(rowptr, shape, kind):
    scores, values = unusual(kind, rowptr), torch.tensor([1.3, 1.7, 2.6], dtype=torch.float64)
    alpha = (values if shape == "per head" else values[0].clone()).requires_grad_()
    ours, theirs = segment_entmax(scores, rowptr, alpha), package(scores, rowptr, alpha)
    upstream = random(*scores.shape, seed=1)
    grads = torch.autograd.grad(ours, (scores, alpha), upstream)
    expected = torch.autograd.grad(theirs, (scores, alpha), upstream)
    torch.testing.assert_close(grads, expected, rtol=1e-8, atol=1e-9)


@LAYOUTS
@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_rows_sum_to_one_in_single_precision(rowptr, alpha, scale):
    scores = random(int(rowptr[-1]), 3, scale=scale).float()
    weights = segment_entmax(scores, rowptr, alpha)
    assert (weights >= 0).all()
    sums = naive.segment_sum(weights, rowptr)[rowptr.diff() > 0]
    torch.testing.assert_close(sums, torch.ones_like(sums), rtol=0, atol=2e-6)


@LAYOUTS
@pytest.mark.parametrize("alpha", ALPHAS)
def test_impossible_edges_get_nothing_and_give_no_gradient(rowptr, alpha):
    scores = random(int(rowptr[-1]), 2)
    removed = torch.zeros(scores.shape, dtype=torch.bool)
    removed[1], removed[rowptr[2] : rowptr[3], 0] = True, True  # one edge, and all of a row for one head
    masked = scores.masked_fill(removed, float("-inf"))
    weights = segment_entmax(masked, rowptr, alpha)
    assert (weights[removed] == 0).all()
    torch.testing.assert_close(weights, naive.segment_entmax(masked, rowptr, alpha), rtol=1e-9, atol=1e-10)
    (grad,) = torch.autograd.grad(weights, scores, random(*scores.shape, seed=1))
    assert grad.isfinite().all()
    assert (grad[removed] == 0).all()


@LAYOUTS
@pytest.mark.parametrize("alpha", ALPHAS)
def test_tied_scores_share_equally(rowptr, alpha):
    weights = segment_entmax(torch.full((int(rowptr[-1]),), 3.7), rowptr, alpha)
    degree = naive.gather(rowptr.diff().float(), rowptr)
    torch.testing.assert_close(weights, 1 / degree)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_rows_of_one_entry_get_all_and_no_gradient(alpha):
    scores = random(5)
    weights = segment_entmax(scores, torch.arange(6), alpha)
    assert weights.tolist() == [1.0] * 5
    (grad,) = torch.autograd.grad(weights, scores, random(5, seed=1))
    torch.testing.assert_close(grad, torch.zeros_like(grad))


@pytest.mark.parametrize("alpha", [1.0, 1.5])
@pytest.mark.parametrize("rowptr", [torch.tensor([0]), torch.tensor([0, 0, 0])])
def test_nothing_to_normalise(alpha, rowptr):
    assert segment_entmax(torch.ones(0, 3), rowptr, alpha).shape == (0, 3)


def test_a_broken_score_shows_in_its_own_row_only():
    scores = random(23).detach()
    scores[4] = torch.nan
    for alpha in ALPHAS:
        weights = segment_entmax(scores, RAGGED, alpha)
        assert weights[3:10].isnan().any()
        assert weights[:3].isfinite().all()
        assert weights[10:].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_kept_outside_and_avoided_inside(dtype):
    scores = random(23, 3).to(dtype)
    weights = segment_softmax(scores, RAGGED)
    assert weights.dtype == dtype
    torch.testing.assert_close(weights, segment_softmax(scores.double(), RAGGED).to(dtype))


@given(seed=st.integers(0, 10**6), alpha=st.sampled_from(ALPHAS), data=st.data())
@settings(max_examples=25, deadline=None)
def test_permuting_a_row_permutes_its_weights(seed, alpha, data):
    scores = random(11, 2, seed=seed).detach()
    perm = torch.tensor(data.draw(st.permutations(range(11))))
    rowptr = torch.tensor([0, 0, 11])
    torch.testing.assert_close(
        segment_entmax(scores[perm], rowptr, alpha), segment_entmax(scores, rowptr, alpha)[perm]
    )


@pytest.mark.parametrize(
    ("name", "alpha"), [("softmax", 1.0), ("sparsemax", 2.0), ("entmax15", 1.5), (1.3, 1.3)]
)
def test_normalisers_by_name(name, alpha):
    scores = random(23, 3)
    torch.testing.assert_close(normalize_rows(scores, RAGGED, name), segment_entmax(scores, RAGGED, alpha))


def test_the_named_functions_are_the_named_rules():
    scores = random(23, 3)
    torch.testing.assert_close(segment_softmax(scores, RAGGED), naive.segment_softmax(scores, RAGGED))
    torch.testing.assert_close(segment_sparsemax(scores, RAGGED), naive.segment_sparsemax(scores, RAGGED))
    assert (segment_sparsemax(scores, RAGGED) == 0).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.ones(5, 2, 2), torch.tensor([0, 5])), r"scores must be \[edges\] or \[edges, heads\]"),
        ((torch.ones(5, dtype=torch.long), torch.tensor([0, 5])), r"floating point \(got torch.int64"),
        ((torch.ones(5), torch.tensor([0, 4])), r"rowptr must end at the number of entries, 5 \(got 4\)"),
        ((torch.ones(5), torch.tensor([0, 5]), 0.9), r"alpha must be at least 1 and finite \(got 0.9\)"),
        ((torch.ones(5), torch.tensor([0, 5]), float("inf")), r"alpha must be at least 1 and finite"),
        ((torch.ones(5), torch.tensor([0, 5]), torch.tensor(1.0)), r"must be greater than 1 and finite"),
        ((torch.ones(5, 3), torch.tensor([0, 5]), torch.tensor([1.5, 2.0])), r"one a head, 3 \(got 2\)"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        segment_entmax(*arguments)


def test_an_unknown_normaliser_is_refused():
    with pytest.raises(ValueError, match='"softmax", "sparsemax", "entmax15", or the alpha of entmax'):
        normalize_rows(torch.ones(5), torch.tensor([0, 5]), "hardmax")
