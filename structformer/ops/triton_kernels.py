"""Triton kernels of softmax attention over CSR rows; `triton_attention` launches them.

One program serves one row of the pattern and a block of heads, and walks along the row's edges a block at a
time. Vectors of an edge live in registers only. Tiles are [edges, heads, channels], tokens that a whole
program shares being tiles with a single edge; sizes that are no powers of two are masked. Sums are taken in
`ACC`, the type of `lse`, always in the same order: no atomics, so results repeat bit for bit.

Arguments are those of `triton_attention`, all contiguous, and: kept, 1 − dropout; H, C and V, the numbers of
heads, channels and values; BIAS, the columns of the bias, 0, 1 or H; DROPOUT, whether there is any; and the
sizes of a tile. Importing this module imports triton, and fixes whether its interpreter is used.
"""

from typing import no_type_check

import triton
import triton.language as tl

from structformer.ops.triton_tiles import (
    finite,
    load_numbers,
    load_tile,
    own_place,
    scores_of,
    store_vectors,
    survival,
)


@triton.jit(do_not_specialize=["seed"])
@no_type_check
def forward_kernel(
    query,
    key,
    value,
    bias,
    rowptr,
    col,
    out,
    lse,
    scale: tl.float64,
    kept: tl.float64,
    seed,
    H: tl.constexpr,
    C: tl.constexpr,
    V: tl.constexpr,
    BIAS: tl.constexpr,
    DROPOUT: tl.constexpr,
    BLOCK_E: tl.constexpr,
    BLOCK_H: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_V: tl.constexpr,
):
    """Attend from one target: `out` [T, H, V], and `lse` [T, H], the log of the row's sum of exp(score)."""
    ACC: tl.constexpr = lse.dtype.element_ty
    row, here, head, start, end = own_place(rowptr, BLOCK_H)
    q = load_tile(query, row, head, here, H, C, BLOCK_C, ACC) * tl.full([], scale, ACC)
    # Every lane of the block of edges keeps a softmax of its own; they meet once, after the loop.
    level = tl.full([BLOCK_E, BLOCK_H], float("-inf"), ACC)
    total = tl.zeros([BLOCK_E, BLOCK_H], ACC)
    summed = tl.zeros([BLOCK_E, BLOCK_H, BLOCK_V], ACC)
    for first in range(start, end, BLOCK_E):
        edge = first + tl.arange(0, BLOCK_E)
        valid = edge < end
        source = tl.load(col + edge, mask=valid, other=0).to(tl.int64)
        k = load_tile(key, source, head, valid, H, C, BLOCK_C, ACC)
        v = load_tile(value, source, head, valid, H, V, BLOCK_V, ACC)
        scores = scores_of(q, k, bias, edge, head, valid, H, BIAS, ACC)
        higher = tl.maximum(level, scores)
        shrink = tl.exp(level - finite(higher))
        p = tl.exp(scores - finite(higher))
        total = total * shrink + p
        if DROPOUT:
            p *= survival(kept, edge, head, seed, ACC)
        summed = summed * shrink[:, :, None] + p[:, :, None] * v
        level = higher
    top = tl.max(level, 0)
    share = tl.exp(level - finite(top)[None, :])
    mass = tl.sum(total * share, 0)
    some = mass > 0
    mass = tl.where(some, mass, 1.0)
    mean = tl.sum(summed * share[:, :, None], 0) / mass[:, None]
    tl.store(lse + row * H + head, tl.where(some, top + tl.log(mass), float("-inf")), mask=head < H)
    store_vectors(out, row, head, mean, H, V, BLOCK_V)


@triton.jit(do_not_specialize=["seed"])
@no_type_check
def rows_kernel(
    grad_out,
    query,
    key,
    value,
    bias,
    out,
    lse,
    rowptr,
    col,
    grad_query,
    grad_bias,
    delta,
    scale: tl.float64,
    kept: tl.float64,
    seed,
    H: tl.constexpr,
    C: tl.constexpr,
    V: tl.constexpr,
    BIAS: tl.constexpr,
    DROPOUT: tl.constexpr,
    BLOCK_E: tl.constexpr,
    BLOCK_H: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_V: tl.constexpr,
):
    """Backward of one target: its query's gradient, its edges' bias gradient, and `delta` [T, H].

    delta = ⟨out, grad_out⟩ is what the softmax subtracts from every edge's gradient. `grad_bias` is [E, H],
    or, for a bias that heads share, [E, blocks of heads], each of which leaves its sum; or None.
    """
    ACC: tl.constexpr = lse.dtype.element_ty
    row, here, head, start, end = own_place(rowptr, BLOCK_H)
    q = load_tile(query, row, head, here, H, C, BLOCK_C, ACC) * tl.full([], scale, ACC)
    g = load_tile(grad_out, row, head, here, H, V, BLOCK_V, ACC)
    mean = tl.sum(g * load_tile(out, row, head, here, H, V, BLOCK_V, ACC), 2)
    level = finite(load_numbers(lse, row, head, here, H))
    tl.store(delta + row[:, None] * H + head[None, :], mean, mask=here[:, None] & (head < H)[None, :])
    summed = tl.zeros([BLOCK_E, BLOCK_H, BLOCK_C], ACC)
    for first in range(start, end, BLOCK_E):
        edge = first + tl.arange(0, BLOCK_E)
        valid = edge < end
        source = tl.load(col + edge, mask=valid, other=0).to(tl.int64)
        k = load_tile(key, source, head, valid, H, C, BLOCK_C, ACC)
        v = load_tile(value, source, head, valid, H, V, BLOCK_V, ACC)
        p = tl.exp(scores_of(q, k, bias, edge, head, valid, H, BIAS, ACC) - level)
        grad = tl.sum(g * v, 2)
        if DROPOUT:
            grad *= survival(kept, edge, head, seed, ACC)
        grad = p * (grad - mean)
        summed += grad[:, :, None] * k
        if grad_bias is not None:
            if BIAS > 1:
                place = edge[:, None] * H + head[None, :]
                tl.store(grad_bias + place, grad, mask=valid[:, None] & (head < H)[None, :])
            else:
                place = edge * tl.num_programs(1) + tl.program_id(1)
                tl.store(grad_bias + place, tl.sum(grad, 1), mask=valid)
    total = tl.sum(summed, 0) * tl.full([], scale, ACC)
    store_vectors(grad_query, row, head, total, H, C, BLOCK_C)


@triton.jit(do_not_specialize=["seed"])
@no_type_check
def columns_kernel(
    grad_out,
    query,
    key,
    value,
    bias,
    lse,
    delta,
    rowptr,
    col,
    perm,
    grad_key,
    grad_value,
    scale: tl.float64,
    kept: tl.float64,
    seed,
    H: tl.constexpr,
    C: tl.constexpr,
    V: tl.constexpr,
    BIAS: tl.constexpr,
    DROPOUT: tl.constexpr,
    BLOCK_E: tl.constexpr,
    BLOCK_H: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_V: tl.constexpr,
):
    """Backward of one source: the gradients of its key and value, from the transposed pattern.

    `rowptr`, `col` (the targets) and `perm` (each edge's place in the order of rows) are the transpose.
    """
    ACC: tl.constexpr = lse.dtype.element_ty
    row, here, head, start, end = own_place(rowptr, BLOCK_H)
    k = load_tile(key, row, head, here, H, C, BLOCK_C, ACC) * tl.full([], scale, ACC)
    v = load_tile(value, row, head, here, H, V, BLOCK_V, ACC)
    summed_k = tl.zeros([BLOCK_E, BLOCK_H, BLOCK_C], ACC)
    summed_v = tl.zeros([BLOCK_E, BLOCK_H, BLOCK_V], ACC)
    for first in range(start, end, BLOCK_E):
        place = first + tl.arange(0, BLOCK_E)
        valid = place < end
        target = tl.load(col + place, mask=valid, other=0).to(tl.int64)
        edge = place
        if BIAS > 0 or DROPOUT:
            edge = tl.load(perm + place, mask=valid, other=0).to(tl.int64)
        q = load_tile(query, target, head, valid, H, C, BLOCK_C, ACC)
        g = load_tile(grad_out, target, head, valid, H, V, BLOCK_V, ACC)
        level = finite(load_numbers(lse, target, head, valid, H))
        p = tl.exp(scores_of(q, k, bias, edge, head, valid, H, BIAS, ACC) - level)
        grad = tl.sum(g * v, 2)
        used = p
        if DROPOUT:
            factor = survival(kept, edge, head, seed, ACC)
            grad, used = grad * factor, p * factor
        grad = p * (grad - load_numbers(delta, target, head, valid, H))
        summed_k += grad[:, :, None] * q
        summed_v += used[:, :, None] * g
    store_vectors(grad_key, row, head, tl.sum(summed_k, 0) * tl.full([], scale, ACC), H, C, BLOCK_C)
    store_vectors(grad_value, row, head, tl.sum(summed_v, 0), H, V, BLOCK_V)


@triton.jit(do_not_specialize=["seed"])
@no_type_check
def weights_kernel(
    query,
    key,
    bias,
    lse,
    rowptr,
    col,
    weights,
    scale: tl.float64,
    kept: tl.float64,
    seed,
    H: tl.constexpr,
    C: tl.constexpr,
    BIAS: tl.constexpr,
    DROPOUT: tl.constexpr,
    BLOCK_E: tl.constexpr,
    BLOCK_H: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Write the weights of one target's edges, `weights` [E, H], after dropout."""
    ACC: tl.constexpr = lse.dtype.element_ty
    row, here, head, start, end = own_place(rowptr, BLOCK_H)
    q = load_tile(query, row, head, here, H, C, BLOCK_C, ACC) * tl.full([], scale, ACC)
    level = finite(load_numbers(lse, row, head, here, H))
    for first in range(start, end, BLOCK_E):
        edge = first + tl.arange(0, BLOCK_E)
        valid = edge < end
        source = tl.load(col + edge, mask=valid, other=0).to(tl.int64)
        k = load_tile(key, source, head, valid, H, C, BLOCK_C, ACC)
        p = tl.exp(scores_of(q, k, bias, edge, head, valid, H, BIAS, ACC) - level)
        if DROPOUT:
            p *= survival(kept, edge, head, seed, ACC)
        place = edge[:, None] * H + head[None, :]
        tl.store(weights + place, p, mask=valid[:, None] & (head < H)[None, :])
