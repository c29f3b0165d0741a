"""What the Triton kernels of attention share: where a program works, its loads and stores, scores, dropout.

Tiles are [tokens or edges, heads, channels]; sizes that are no powers of two are masked. The tests' run-time
shape checks would wrap functions that triton reads as source, hence `no_type_check` on every one.
"""

from typing import no_type_check

import triton
import triton.language as tl


@triton.jit
@no_type_check
def own_place(rowptr, BLOCK_H: tl.constexpr):
    """This program's row and its mask `[1]`, its heads `[BLOCK_H]`, and where the row starts and ends."""
    row = tl.program_id(0).to(tl.int64)
    start, end = tl.load(rowptr + row).to(tl.int64), tl.load(rowptr + row + 1).to(tl.int64)
    head = tl.program_id(1) * BLOCK_H + tl.arange(0, BLOCK_H)
    one = tl.arange(0, 1)
    return row + one, one == 0, head, start, end


@triton.jit
@no_type_check
def load_tile(
    base, token, head, valid, H: tl.constexpr, C: tl.constexpr, BLOCK_C: tl.constexpr, ACC: tl.constexpr
):
    """Load the vectors of some tokens and heads, `[tokens, heads, BLOCK_C]`, from a contiguous [T, H, C]."""
    channel = tl.arange(0, BLOCK_C)
    vector = token[:, None, None] * (H * C) + head[None, :, None] * C
    mask = valid[:, None, None] & (head < H)[None, :, None] & (channel < C)[None, None, :]
    return tl.load(base + vector + channel[None, None, :], mask=mask, other=0.0).to(ACC)


@triton.jit
@no_type_check
def store_vectors(base, row, head, x, H: tl.constexpr, C: tl.constexpr, BLOCK_C: tl.constexpr):
    """Write the vectors of one token, `[heads, BLOCK_C]`, into a contiguous [T, H, C]."""
    channel = tl.arange(0, BLOCK_C)[None, :]
    place = (row * H + head)[:, None] * C + channel
    tl.store(base + place, x, mask=(head < H)[:, None] & (channel < C))


@triton.jit
@no_type_check
def load_numbers(base, token, head, valid, H: tl.constexpr):
    """Load one number a token and head, `[tokens, heads]`, from a contiguous [T, H]."""
    return tl.load(
        base + token[:, None] * H + head[None, :], mask=valid[:, None] & (head < H)[None, :], other=0.0
    )


@triton.jit
@no_type_check
def scores_of(q, k, bias, edge, head, valid, H: tl.constexpr, BIAS: tl.constexpr, ACC: tl.constexpr):
    """⟨q, k⟩ + bias, `[edges, heads]`; −inf where there is no edge. BIAS: columns of the bias, 0, 1 or H."""
    scores = tl.sum(q * k, 2)
    if BIAS > 0:
        place = edge[:, None] * BIAS + head[None, :] * (BIAS > 1)
        scores += tl.load(bias + place, mask=valid[:, None] & (head < H)[None, :], other=0.0).to(ACC)
    return tl.where(valid[:, None], scores, float("-inf"))


@triton.jit
@no_type_check
def finite(level):
    """The level to subtract before exp: −inf, which stands for no edge at all, becomes 0."""
    return tl.where(level == float("-inf"), 0.0, level)


@triton.jit
@no_type_check
def survival(kept, edge, head, seed, ACC: tl.constexpr):
    """Factors of dropout `[edges, heads]`: 0, or 1 / kept with probability `kept`.

    The random bits are counted by edge and head, not drawn in turn, so every pass sees the same ones.
    """
    zeros = edge[:, None].to(tl.int32) * 0 + head[None, :] * 0
    low, high = edge[:, None].to(tl.int32) + zeros, (edge >> 32)[:, None].to(tl.int32) + zeros
    bits, _, _, _ = tl.philox(seed, low, high, head[None, :] + zeros, zeros)
    uniform = (bits >> 8).to(tl.int32).to(tl.float32) * (1.0 / (1 << 24))
    return tl.where(uniform < tl.full([], kept, tl.float32), 1.0 / tl.full([], kept, ACC), 0.0)
