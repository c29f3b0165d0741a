import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from structformer.ops.topk import segment_top

RAGGED, EVEN = torch.tensor([0, 3, 3, 10, 11, 30]), torch.arange(0, 36, 7)
LAYOUTS = pytest.mark.parametrize("rowptr", [RAGGED, EVEN], ids=["ragged", "even"])


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def twin(scores, rowptr, k):
    """Count, for each score, the larger ones of its row."""
    rows = scores.tensor_split(rowptr[1:-1])
    return torch.cat([(row[None] > row[:, None]).sum(1) < k for row in rows])


@LAYOUTS
@pytest.mark.parametrize("heads", [(), (1,), (3,)])
@pytest.mark.parametrize("k", [1, 2, 3, 5, 7, 19, 23])
def test_equals_the_twin(rowptr, heads, k):
    scores = random(int(rowptr[-1]), *heads)
    kept = segment_top(scores, rowptr, k)
    assert torch.equal(kept, twin(scores, rowptr, k))
    counts = torch.stack([row.sum(0) for row in kept.tensor_split(rowptr[1:-1])])
    expected = rowptr.diff().clamp(max=k)
    assert (counts == expected.view(-1, *[1] * len(heads))).all()


@LAYOUTS
def test_half_precision_ties_equal_scores_alone(rowptr):
    scores = random(int(rowptr[-1]), 3).bfloat16()
    assert torch.equal(segment_top(scores, rowptr, 2), twin(scores.double(), rowptr, 2))


def test_ties_are_kept_together():
    rowptr = torch.tensor([0, 5, 11])
    scores = torch.tensor([1.0, 3.0, 2.0, 2.0, 2.0, 7.0, 7.0, 7.0, 7.0, 6.0, 5.0])
    expected = torch.tensor([0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0]).bool()
    assert torch.equal(segment_top(scores, rowptr, 2), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [0.0, 1e-3, 1.0, 1e3])
def test_differences_of_rounding_are_ties(dtype, size):
    step = torch.finfo(dtype).eps * max(size, 1)
    apart = torch.tensor([0, 3, -5, 7, -1000, 1000], dtype=dtype) * step
    kept = segment_top(size + apart, torch.tensor([0, 6]), 2)
    assert kept.tolist() == [True, True, True, True, False, True]


@LAYOUTS
@given(seed=st.integers(0, 10**6), k=st.integers(1, 11))
@settings(max_examples=25, deadline=None)
def test_permuting_a_row_permutes_what_is_kept(rowptr, shuffled, seed, k):
    scores = random(int(rowptr[-1]), 3, seed=seed).round()  # with many ties
    perm = shuffled(rowptr, seed)
    assert torch.equal(segment_top(scores[perm], rowptr, k), segment_top(scores, rowptr, k)[perm])


def test_minus_infinity_comes_last():
    scores = torch.tensor([-torch.inf, 1.0, -torch.inf, 0.0])
    rowptr = torch.tensor([0, 4])
    assert segment_top(scores, rowptr, 2).tolist() == [False, True, False, True]
    assert segment_top(scores, rowptr, 3).tolist() == [True] * 4  # all that are left tie


def test_a_broken_score_shows_and_leaves_other_rows_alone():
    scores = random(30)
    scores[4] = torch.nan
    for k in (1, 2, 5):
        kept = segment_top(scores, RAGGED, k)
        assert kept[4]
        other_rows = torch.arange(30).ge(10) | torch.arange(30).lt(3)
        assert torch.equal(kept[other_rows], twin(scores, RAGGED, k)[other_rows])


@pytest.mark.parametrize("rowptr", [torch.tensor([0]), torch.tensor([0, 0, 0])])
def test_nothing_to_choose_from(rowptr):
    assert segment_top(torch.ones(0, 3), rowptr, 2).shape == (0, 3)


class Largest(TorchDispatchMode):
    """Remembers the size of the largest tensor that was made."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        sizes = [leaf.numel() for leaf in tree_leaves(out) if isinstance(leaf, torch.Tensor)]
        self.numel = max([self.numel, *sizes])
        return out


def test_one_long_row_among_short_ones_takes_no_more_memory():
    degree = torch.full((503,), 3)
    degree[7] = 997
    rowptr = torch.cat([torch.zeros(1, dtype=torch.long), degree.cumsum(0)])
    scores = random(int(rowptr[-1]), 2)
    with Largest() as largest:
        kept = segment_top(scores, rowptr, 2)
    assert torch.equal(kept, twin(scores, rowptr, 2))
    assert scores.numel() <= largest.numel <= 2 * scores.numel()


@pytest.mark.usefixtures("unchecked")
def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"k must be at least 1 \(got 0\)"):
        segment_top(torch.ones(5), torch.tensor([0, 5]), 0)
    with pytest.raises(ValueError, match=r"rowptr must end at the number of entries, 5 \(got 4\)"):
        segment_top(torch.ones(5), torch.tensor([0, 4]), 2)
