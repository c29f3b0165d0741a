"""Operations of a forward pass, counted while it runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop

Shape = Sequence[int]


def forward_flops(module: nn.Module, *inputs: Tensor) -> int:
    """Return the operations of one forward pass: two a multiplication and addition, in products of matrices.

    torch's counter, with what it passes over in silence: attention on the CPU and triangular systems. Attention that
    is masked causally counts in full, as torch counts it everywhere. What goes number by number does not count.
    """
    kept = module.training
    # The counter follows modules through their gradients' graph, and fails where there is none.
    with torch.enable_grad(), FlopCounterMode(display=False, custom_mapping=FORMULAS) as counter:
        module.eval()(*inputs)
    module.train(kept)
    return counter.get_total_flops()


def _attention(query: Shape, key: Shape, value: Shape, *rest: Any, **named: Any) -> int:
    return sdpa_flop(query, key, value)


def _triangular(matrix: Shape, right: Shape, *rest: Any, **named: Any) -> int:
    # Half of the square is zeros: n(n − 1)/2 multiplications and additions for each of the right side's columns.
    size = matrix[-1]
    return math.prod(matrix[:-2]) * size * (size - 1) * right[-1]


FORMULAS: dict[Any, Callable[..., int]] = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten.linalg_solve_triangular: _triangular,
}
