"""The pieces of the GPU's kernels one by one; tests/ops/test_triton_attention.py has what they make together."""

import pytest
import torch

triton = pytest.importorskip("triton")

import triton.language as tl  # noqa: E402

from structformer.ops.triton_tiles import (  # noqa: E402
    finite,
    load_numbers,
    load_tile,
    own_place,
    scores_of,
    store_vectors,
    survival,
)

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# No powers of two: the tiles are wider than the tensors.
TOKENS, HEADS, CHANNELS = 5, 3, 6
NAN = float("nan")


@triton.jit
def copy_rows(
    rowptr, src, out, bounds, H: tl.constexpr, C: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_C: tl.constexpr
):
    row, one, head, start, end = own_place(rowptr, BLOCK_H)
    tile = load_tile(src, row, head, one, H, C, BLOCK_C, tl.float32)
    store_vectors(out, tl.program_id(0), head, tl.sum(tile, 0), H, C, BLOCK_C)
    tl.store(bounds + 2 * tl.program_id(0), start)
    tl.store(bounds + 2 * tl.program_id(0) + 1, end)


@triton.jit
def weigh(
    q, k, bias, numbers, out, read, count, seed, kept, drop,
    H: tl.constexpr, C: tl.constexpr, BIAS: tl.constexpr, BLOCK_E: tl.constexpr, BLOCK_H: tl.constexpr,
    BLOCK_C: tl.constexpr,
):  # fmt: skip
    edge = tl.arange(0, BLOCK_E).to(tl.int64)
    head, valid = tl.arange(0, BLOCK_H), edge < count
    x = load_tile(q, edge, head, valid, H, C, BLOCK_C, tl.float32)
    y = load_tile(k, edge, head, valid, H, C, BLOCK_C, tl.float32)
    scores = scores_of(x, y, bias, edge, head, valid, H, BIAS, tl.float32)
    place = edge[:, None] * BLOCK_H + head[None, :]
    tl.store(out + place, finite(scores))
    tl.store(read + place, load_numbers(numbers, edge, head, valid, H))
    tl.store(drop + place, survival(kept, edge, head, seed, tl.float32))


def test_each_program_has_its_row_and_leaves_the_others_alone():
    rowptr = torch.tensor([0, 2, 2, 3, 3, 7], device=DEVICE)
    src = torch.randn(TOKENS, HEADS, CHANNELS, device=DEVICE)
    # One token more, which no program may touch.
    out = torch.full((TOKENS + 1, HEADS, CHANNELS), NAN, device=DEVICE)
    bounds = torch.zeros(TOKENS, 2, dtype=torch.long, device=DEVICE)
    copy_rows[(TOKENS, 2)](rowptr, src, out, bounds, HEADS, CHANNELS, 2, 8)
    assert torch.equal(out[:-1], src)
    assert out[-1].isnan().all()
    assert bounds.tolist() == [[0, 2], [2, 2], [2, 3], [3, 3], [3, 7]]


@pytest.mark.parametrize("columns", [0, 1, HEADS])
def test_scores_stop_where_edges_do(columns: int):
    query, key = (torch.randn(TOKENS, HEADS, CHANNELS, device=DEVICE) for _ in range(2))
    bias = torch.randn(TOKENS, max(columns, 1), device=DEVICE)
    numbers = torch.randn(TOKENS, HEADS, device=DEVICE)
    out, read, drop = (torch.full((8, 4), NAN, device=DEVICE) for _ in range(3))
    weigh[(1,)](
        query, key, bias, numbers, out, read, TOKENS, 11, 0.5, drop, HEADS, CHANNELS, columns, 8, 4, 8
    )
    expected = (query * key).sum(-1) + (bias if columns else 0)
    torch.testing.assert_close(out[:TOKENS, :HEADS], expected)
    assert (out[TOKENS:] == 0).all(), "no edge: infinity below, which is made finite"
    torch.testing.assert_close(read[:TOKENS, :HEADS], numbers)
    assert (read[TOKENS:] == 0).all()
    assert set(drop.flatten().tolist()) == {0.0, 2.0}
