from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from structformer.models.language_state import (
    LanguageState,
    Past,
    appended,
    bounds_of,
    forgotten,
    graph_of_next,
    window_graph,
)
from structformer.nn.memory_signals import MemoryState
from structformer.ops import neighbors

SIZES = st.lists(st.integers(0, 6), min_size=1, max_size=5)


@settings(deadline=None)
@given(SIZES)
def test_one_row_more_at_the_end_of_each_set(sizes: list[int]):
    ptr = bounds_of(torch.tensor(sizes))
    before = torch.arange(float(sum(sizes)))[:, None]
    new = -1 - torch.arange(float(len(sizes)))[:, None]
    parts = [torch.cat([before[a:b], new[i : i + 1]]) for i, (a, b) in enumerate(pairwise(ptr.tolist()))]
    assert torch.equal(appended(before, ptr, new), torch.cat(parts))


@settings(deadline=None)
@given(SIZES, st.integers(0, 4), st.booleans())
def test_a_window_never_leaves_its_set(sizes: list[int], size: int, causal: bool):
    ptr = bounds_of(torch.tensor(sizes))
    graph = window_graph(ptr, size, causal)
    expected = [
        (i, j)
        for a, b in pairwise(ptr.tolist())
        for i in range(a, b)
        for j in range(max(a, i - size), min(b, i + size + 1))
        if j != i and not (causal and j > i)
    ]
    assert list(zip(graph.row.tolist(), graph.col.tolist(), strict=True)) == expected
    assert graph.given.all()


@pytest.mark.parametrize("window", [0, 2])
def test_the_next_token_is_linked_as_a_search_over_the_whole_set_would(rng, window: int):
    sizes = torch.tensor([5, 1, 3])
    ptr = bounds_of(sizes)
    whole = torch.randn(int(ptr[-1]), 4, generator=rng)
    ends = ptr[1:] - 1
    kept = torch.ones(len(whole), dtype=torch.bool).index_fill(0, ends, False)
    u, w = whole[ends] + 0.1, whole[kept]
    both = whole.index_copy(0, ends, u)
    searched = neighbors(
        both, whole, 2, ptr, method="exact", causal=True, exclude_self=True, include_self=False,
        given=window_graph(ptr, window, causal=True),
    )  # fmt: skip
    found = graph_of_next(u, w, bounds_of(sizes - 1), 2, window, "exact")
    own = [set(searched.col[searched.row == end].tolist()) | {int(end)} for end in ends]
    assert [set(found.col[found.row == i].tolist()) for i in range(3)] == own
    marked = [set(found.col[(found.row == i) & found.given].tolist()) for i in range(3)]
    assert marked == [set(range(max(int(ptr[i]), int(end) - window), int(end))) for i, end in enumerate(ends)]


def past(requires_grad: bool = False) -> Past:
    memory = MemoryState(torch.ones(2, 1, 3, 3), torch.ones(2, 1, 2, 3, 3), torch.ones(2, 4, 5))
    heard = torch.ones(6, 3).requires_grad_(requires_grad)
    return Past(torch.ones(2, 2, 3), memory, heard, torch.ones(2, 1, 3).requires_grad_(requires_grad))


def test_texts_that_begin_anew_forget_and_the_others_do_not():
    found = forgotten(past(), torch.tensor([True, False]))
    for kept in (found.line, found.shift, *found.recurrence.parts()):
        assert not kept[0].any()
        assert kept[1].all()
    assert found.heard.all()
    assert forgotten(Past(), torch.tensor([True])) == Past()


def test_everything_that_is_kept_counts_and_lets_no_gradient_back():
    state = LanguageState(
        torch.tensor([0, 2, 6]), torch.ones(6, 3).requires_grad_(), None, {(0, 0): past(True)}
    )
    memory = 2 * 9 + 2 * 2 * 9 + 2 * 4 * 5
    assert state.numbers == 6 * 3 + 2 * 2 * 3 + memory + 6 * 3 + 2 * 3
    assert state.sets == 2
    loose = state.detach()
    assert loose.numbers == state.numbers
    assert not loose.finals.requires_grad
    assert not loose.pasts[0, 0].heard.requires_grad
    assert not loose.pasts[0, 0].shift.requires_grad
