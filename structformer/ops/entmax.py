"""Softmax, sparsemax and entmax over the rows of a CSR matrix."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from structformer.ops.rows import Rows
from structformer.ops.segment import check_rowptr

# How scores become weights: "softmax", "sparsemax", "entmax15", or the α of α-entmax.
Normalizer = str | float | Tensor

_ALPHA = {"softmax": 1.0, "sparsemax": 2.0, "entmax15": 1.5}


def normalize_rows(
    scores: Float[Tensor, "edges *heads"], rowptr: Int[Tensor, "pointers"], normalizer: Normalizer = "softmax"
) -> Float[Tensor, "edges *heads"]:
    """Normalise the scores of each row by the named rule.

    Args:
        scores: One score an edge, or one an edge and head.
        rowptr: Where each row's edges begin and end.
        normalizer: "softmax", "sparsemax", "entmax15", or the α of α-entmax (see `segment_entmax`).

    Raises:
        ValueError: If the normaliser is unknown, or as in `segment_entmax`.
    """
    return segment_entmax(scores, rowptr, alpha_of(normalizer))


def alpha_of(normalizer: Normalizer) -> float | Tensor:
    """Return the α of α-entmax that a normaliser is; 1 is softmax.

    Raises:
        ValueError: If the normaliser is unknown, or a number below 1 or not finite.
    """
    if isinstance(normalizer, str):
        if normalizer not in _ALPHA:
            known = ", ".join(f'"{name}"' for name in _ALPHA)
            raise ValueError(f"normalizer must be {known}, or the alpha of entmax (got {normalizer!r})")
        return _ALPHA[normalizer]
    if not isinstance(normalizer, Tensor) and not 1 <= normalizer < float("inf"):
        raise ValueError(f"alpha must be at least 1 and finite (got {normalizer})")
    return normalizer if isinstance(normalizer, Tensor) else float(normalizer)


def segment_softmax(
    scores: Float[Tensor, "edges *heads"], rowptr: Int[Tensor, "pointers"]
) -> Float[Tensor, "edges *heads"]:
    """Softmax over each row: p_e = exp(s_e) / Σ_{e' in the row} exp(s_e').

    A score of −inf gives 0, and a row of nothing else gives zeros.

    Raises:
        ValueError: If `scores` is not `[edges]` or `[edges, heads]` in floating point, or `rowptr`
            does not describe it.
    """
    return segment_entmax(scores, rowptr, 1.0)


def segment_sparsemax(
    scores: Float[Tensor, "edges *heads"], rowptr: Int[Tensor, "pointers"]
) -> Float[Tensor, "edges *heads"]:
    """Sparsemax over each row (Martins and Astudillo 2016, arXiv 1602.02068, eq. 2): 2-entmax.

    The Euclidean projection of a row's scores on the simplex: p_e = max(s_e − τ, 0), τ such that
    the row sums to one. Limits and errors as in `segment_softmax`.
    """
    return segment_entmax(scores, rowptr, 2.0)


def segment_entmax(
    scores: Float[Tensor, "edges *heads"],
    rowptr: Int[Tensor, "pointers"],
    alpha: float | Float[Tensor, "..."] = 1.5,
) -> Float[Tensor, "edges *heads"]:
    """α-entmax over each row (Peters et al. 2019, arXiv 1905.05702, eq. 10).

    p_e = max((α − 1) s_e − τ, 0)^{1/(α − 1)}, τ such that the row sums to one. α = 1 is softmax, α = 2
    sparsemax; the larger α, the more weights are exactly zero. A score of −inf gives 0, and a
    row of nothing else gives zeros.

    Args:
        scores: One score an edge, or one an edge and head.
        rowptr: Where each row's edges begin and end.
        alpha: A number of at least 1, or a tensor above 1 holding one value or one a head, which
            then receives a gradient (Correia et al. 2019, arXiv 1909.00015, proposition 1).

    Raises:
        ValueError: If α is out of range or has the wrong shape, or as in `segment_softmax`.
    """
    _check(scores, rowptr)
    if isinstance(alpha, Tensor):
        heads = 1 if scores.ndim == 1 else scores.shape[1]
        if alpha.numel() not in (1, heads):
            raise ValueError(f"alpha must hold 1 value, or one a head, {heads} (got {alpha.numel()})")
        if not bool((alpha > 1).all()) or not bool(alpha.isfinite().all()):
            raise ValueError(f"a tensor alpha must be greater than 1 and finite (got {alpha.tolist()})")
    else:
        alpha = alpha_of(alpha)
    if scores.numel() == 0:
        return scores.clone()
    rows = Rows.of(rowptr, scores.shape[0])
    x = rows.enter(_full(scores))
    if isinstance(alpha, Tensor):
        alpha = alpha.to(x)
    weights = _Normalize.apply(x, alpha, rows)
    return rows.leave(weights, scores.ndim).to(scores.dtype)


def _check(scores: Tensor, rowptr: Tensor) -> None:
    if scores.ndim not in (1, 2) or not scores.is_floating_point():
        raise ValueError(
            "scores must be [edges] or [edges, heads] in floating point "
            f"(got {scores.dtype} of shape {list(scores.shape)})"
        )
    check_rowptr(scores, rowptr)


def _full(scores: Tensor) -> Tensor:
    # Half precision is for storage: sums of its rounded exponentials drift.
    return scores.float() if scores.dtype in (torch.float16, torch.bfloat16) else scores


def _below_largest(x: Tensor, rows: Rows) -> Tensor:
    # A row of −inf alone has no largest score to subtract (−inf + inf is nan); 0 leaves it as it is.
    largest = rows.max(x)
    return x.sub_(rows.spread(largest.masked_fill_(largest == float("-inf"), 0.0)))


def weights_of(x: Tensor, alpha: float | Tensor, rows: Rows) -> Tensor:
    """Normalise scores in the layout of ``rows``, outside autograd; ``x`` is overwritten."""
    z = _below_largest(x, rows)
    if not isinstance(alpha, Tensor):
        if alpha == 1:
            p = z.exp_()
            # A row with a finite score sums to at least exp(0), so 1 only stands in for the sum of nothing.
            return p.div_(rows.spread(rows.sum(p).clamp_(min=1)))
        alpha = torch.tensor(alpha, dtype=x.dtype, device=x.device)
    exponent = alpha - 1
    z = z.mul_(rows.per_head(exponent))
    solve = _tau_newton if bool((alpha <= 2).all()) else _tau_bisection
    tau = solve(z, exponent.reciprocal(), rows)
    p = _power(z.sub_(rows.spread(tau)).clamp_(min=0), exponent.reciprocal(), rows)
    total = rows.sum(p)
    return p.div_(rows.spread(total.masked_fill_(total == 0, 1.0)))


def scores_gradient(p: Tensor, grad: Tensor, alpha: float | Tensor, rows: Rows) -> Tensor:
    """Return the gradient of the scores, given that of the weights p, both in the layout of ``rows``.

    ∂p/∂s = diag(r) − r rᵀ / Σr with r = p^{2 − α} on the support and 0 beside it; softmax has r = p.
    ``grad`` is overwritten.
    """
    if not isinstance(alpha, Tensor) and alpha == 1:
        weighted = grad.mul_(p)
        return weighted.addcmul_(p, rows.spread(rows.sum(weighted)), value=-1)
    alpha = torch.as_tensor(alpha, dtype=p.dtype, device=p.device)
    r = _power(p, 2 - alpha, rows).masked_fill_(p == 0, 0.0)
    total = rows.sum(r)
    mean = rows.sum(r * grad).div_(total.masked_fill_(total == 0, 1.0))
    return grad.sub_(rows.spread(mean)).mul_(r)


class _Normalize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, alpha: float | Tensor, rows: Rows) -> Tensor:
        p = weights_of(x.clone(), alpha, rows)
        ctx.rows, ctx.alpha = rows, None if isinstance(alpha, Tensor) else alpha
        ctx.save_for_backward(p, *([alpha] if isinstance(alpha, Tensor) else []))
        return p

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor, Tensor | None, None]:
        p, *learned = ctx.saved_tensors
        (alpha,) = learned or [ctx.alpha]
        grad_alpha = _alpha_gradient(p, grads[0], alpha, ctx.rows) if ctx.needs_input_grad[1] else None
        return scores_gradient(p, grads[0].clone(), alpha, ctx.rows), grad_alpha, None


def _alpha_gradient(p: Tensor, grad: Tensor, alpha: Tensor, rows: Rows) -> Tensor:
    """∂p/∂α = (p − q)/(α − 1)² − (h − q Σh)/(α − 1) with h = p log p and q = r/Σr."""
    r = _power(p, 2 - alpha, rows).masked_fill_(p == 0, 0.0)
    total = rows.sum(r)
    q = r / rows.spread(total.masked_fill_(total == 0, 1.0))
    h = torch.xlogy(p, p)
    exponent = rows.per_head(alpha - 1)
    by_alpha = (p - q) / exponent**2 - (h - q * rows.spread(rows.sum(h))) / exponent
    by_head = (grad * by_alpha).flatten(1).sum(1)
    return (by_head if alpha.numel() == by_head.numel() else by_head.sum()).reshape(alpha.shape)


def _power(x: Tensor, exponent: Tensor, rows: Rows) -> Tensor:
    # Powers of 1 and 2 (sparsemax, 1.5-entmax) are worth a branch: pow costs ten times a product.
    if exponent.numel() == 1:
        power = exponent.item()
        if power in (0.5, 1, 2):
            return x.sqrt() if power == 0.5 else x.clone() if power == 1 else x.square()
        return x.pow(power)
    return x.pow(rows.per_head(exponent))


def _tau_newton(z: Tensor, exponent: Tensor, rows: Rows) -> Tensor:
    """Solve ‖(z − τ)₊‖_m = 1 for every row, m = exponent ≥ 1, z ≤ 0 with a largest entry of 0.

    The norm is convex and falls with τ, so Newton's steps from τ = −1 (where it is at least 1)
    rise to the solution without passing it; for m = 1 they end at it after finitely many.
    """
    m = rows.per_head(exponent)
    tau = rows.filled(z, -1.0)
    resolution = 4 * torch.finfo(z.dtype).eps
    x = torch.empty_like(z)
    for _ in range(64):
        torch.sub(z, rows.spread(tau), out=x).clamp_(min=0)
        lower = _power(x, exponent - 1, rows).masked_fill_(x == 0, 0.0)
        power_sum, slope = rows.sum(lower * x), rows.sum(lower)
        # f = Σ xᵐ, ‖x‖ = f^{1/m}, −d‖x‖/dτ = f^{1/m − 1} Σ x^{m − 1}
        norm = power_sum.pow(1 / m)
        step = (norm - 1) * power_sum / (norm * slope)
        step = step.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0).clamp_(min=0)
        tau += step
        if bool((step <= resolution).all()):
            break
    return tau


def _tau_bisection(z: Tensor, exponent: Tensor, rows: Rows) -> Tensor:
    """Solve Σ (z − τ)₊ᵐ = 1 for every row by halving [−1, 0]; for m < 1 the sum is not convex in τ."""
    low = rows.filled(z, -1.0)
    width = 1.0
    for _ in range(1 - round(torch.log2(torch.tensor(torch.finfo(z.dtype).eps)).item())):
        width /= 2
        x = (z - rows.spread(low + width)).clamp_(min=0)
        too_low = rows.sum(_power(x, exponent, rows)) >= 1
        low += width * too_low
    return low
