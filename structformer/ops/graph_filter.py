"""Polynomial graph filters: what a number of steps along the edges bring, added up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from structformer.graph import TokenGraph
from structformer.ops.fused_operator import edge_scores, edge_sums
from structformer.ops.linear_maps import same_precision
from structformer.ops.paths import csr_available, product_path
from structformer.ops.pattern import Pattern, dot_kernel, sum_kernel

CHANNELS = 256
"""Channels of all steps whose products with gradients are taken at a time."""


def graph_filter(
    weights: Float[Tensor, "edges"],
    h: Float[Tensor, "tokens channels"],
    graph: TokenGraph,
    coefficients: Sequence[float],
    path: str | None = None,
) -> Float[Tensor, "tokens channels"]:
    """Return Σ_t c_t Aᵗ h for t = 0 … R, where A_ij is the weight of the edge j → i.

    Personalised PageRank (arXiv 1810.05997) and the mean of several steps are such filters (arXiv 2006.07988). The
    gradient of the weights is one product of all steps together, ∂/∂A_ij = Σ_t ⟨r_t[i], (Aᵗ⁻¹ h)[j]⟩ with r_R = c_R g
    and r_t = Aᵀ r_{t+1} + c_t g, so that it costs little more than one step's. It is differentiable once.

    Args:
        weights: One weight an edge, in the order of the graph's edges.
        h: One vector a token.
        graph: Edges among the tokens; their own weights play no part.
        coefficients: c_0 to c_R; R steps are taken.
        path: As in `edge_dot`; None takes "csr" before "fused": for one head it is faster, up to 8 times where there
            are few channels.

    Raises:
        ValueError: If the shapes do not fit each other and the graph, the graph is bipartite, there are no
            coefficients, or the path is not possible.
    """
    if graph.num_targets != graph.num_sources:
        raise ValueError(
            f"graph must have as many targets as sources (got {graph.num_targets} and {graph.num_sources})"
        )
    if h.ndim != 2 or len(h) != graph.num_targets:
        raise ValueError(f"h must be [{graph.num_targets}, channels] (got {list(h.shape)})")
    if weights.shape != (graph.num_edges,):
        raise ValueError(f"weights must be [{graph.num_edges}], one an edge (got {list(weights.shape)})")
    if not coefficients:
        raise ValueError("coefficients must be at least one (got none)")
    dtype, (weights, h) = same_precision(weights, h)
    if path is None and h.device.type == "cpu" and csr_available():
        path = "csr"
    path = product_path(path, weights, h)
    return _Filter.apply(weights, h, Pattern.of(graph), tuple(coefficients), path).to(dtype)


class _Filter(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, weights: Tensor, h: Tensor, pattern: Pattern, coefficients: tuple[float, ...], path: str
    ) -> Tensor:
        states = [h.contiguous()]
        out = coefficients[0] * h
        for c in coefficients[1:]:
            states.append(_step(weights, states[-1], pattern, path))
            out.add_(states[-1], alpha=c)
        ctx.pattern, ctx.coefficients, ctx.path = pattern, coefficients, path
        # The last state moves no weight; without weights to move none does.
        ctx.save_for_backward(weights, *(states[:-1] if ctx.needs_input_grad[0] else ()))
        return out

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        weights, *states = ctx.saved_tensors
        grad = grads[0].contiguous()
        transposed, perm = ctx.pattern.transposed
        turned = weights.index_select(0, perm)
        *lower, last = ctx.coefficients
        reached = [last * grad]
        # What reaches the states themselves is one step more than what reaches the weights.
        for c in reversed(lower if ctx.needs_input_grad[1] else lower[1:]):
            reached.append(_step(turned, reached[-1], transposed, ctx.path).add_(grad, alpha=c))
        grad_h = reached.pop() if ctx.needs_input_grad[1] else None
        grad_weights = None
        if ctx.needs_input_grad[0]:
            grad_weights = torch.zeros_like(weights)
            together = max(1, CHANNELS // max(1, grad.shape[1]))
            for at in range(0, len(states), together):
                some = slice(at, at + together)
                pair = torch.cat(reached[::-1][some], 1), torch.cat(states[some], 1)
                grad_weights += _products(*pair, ctx.pattern, ctx.path)
        return grad_weights, grad_h, None, None, None


def _step(
    weights: Float[Tensor, "edges"],
    h: Float[Tensor, "tokens channels"],
    pattern: Pattern,
    path: str,
) -> Float[Tensor, "tokens channels"]:
    if path == "fused":
        return edge_sums(weights[:, None], h[:, None], pattern.rowptr, pattern.col)[:, 0]
    return sum_kernel(weights[None], h[None], pattern, path)[0]


def _products(
    query: Float[Tensor, "tokens channels"],
    key: Float[Tensor, "tokens channels"],
    pattern: Pattern,
    path: str,
) -> Float[Tensor, "edges"]:
    if path == "fused":
        return edge_scores(query[:, None], key[:, None], pattern.rowptr, pattern.col)[:, 0]
    return dot_kernel(query[None], key[None], pattern, path)[0]
