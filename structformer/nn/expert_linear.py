"""A linear map for each expert, on rows sorted by expert."""

from __future__ import annotations

import math
from functools import cache

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from structformer.ops.linear import linear


class ExpertLinear(nn.Module):
    """A linear map for each expert, y = W_x h + b_x, over rows sorted by expert; it starts as `nn.Linear` does.

    Args:
        experts: Maps, X.
        inputs: Features that they take.
        outputs: Features that they return.
    """

    def __init__(self, experts: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(experts, outputs, inputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(experts, outputs).uniform_(-bound, bound))

    def forward(
        self,
        x: Float[Tensor, "rows inputs"],
        counts: Int[Tensor, "experts"],
        path: str | None = None,
    ) -> Float[Tensor, "rows outputs"]:
        """Map each row by its expert.

        Args:
            x: The rows of the first expert, then those of the second, and so on.
            counts: Rows of each expert.
            path: As in `expert_path`.

        Raises:
            ValueError: As in `expert_path`.
        """
        if expert_path(path, x, self.weight) == "loop":
            slices = zip(x.split(counts.tolist()), self.weight.unbind(), self.bias.unbind(), strict=True)
            return torch.cat([linear(rows, weight, bias) for rows, weight, bias in slices])
        dtype = _computed_in(x)
        ends = counts.cumsum(0, dtype=torch.int32)
        product = F.grouped_mm(x.to(dtype), self.weight.to(dtype).transpose(1, 2), offs=ends)
        return product + self.bias.to(dtype).repeat_interleave(counts, 0, output_size=len(x))


def expert_path(path: str | None, x: Tensor, weight: Tensor) -> str:
    """Return the path on which experts' weights meet the rows: "grouped" or "loop".

    "grouped" is one `torch.nn.functional.grouped_mm`; "loop" is one product an expert, for any device and type.

    Args:
        path: What the user wants; None takes "loop" on a CPU, where it is no slower, and elsewhere "grouped" if it
            works, as the loop reads the experts' counts off the device, which stalls it.
        x: Rows [rows, inputs].
        weight: Weights [experts, outputs, inputs].

    Raises:
        ValueError: If the path is unknown, or "grouped" is asked for where it does not work.
    """
    if path not in ("grouped", "loop", None):
        raise ValueError(f'path must be "grouped", "loop" or None (got {path!r})')
    if path == "loop" or (path is None and x.device.type == "cpu"):
        return "loop"
    if _grouped_works(x.device, _computed_in(x), *weight.shape[1:]):
        return "grouped"
    if path == "grouped":
        raise ValueError(
            'path "grouped" needs a torch whose grouped_mm serves the device and type, and features that fill a '
            f"multiple of 16 bytes (got {_computed_in(x)} on {x.device}, weights {list(weight.shape)}); "
            'take "loop"'
        )
    return "loop"


def _computed_in(x: Tensor) -> torch.dtype:
    """Return the type in which autocast, where it is on, has a matrix product computed."""
    device = x.device.type
    if x.dtype == torch.float64 or not torch.amp.is_autocast_available(device):
        return x.dtype
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


@cache
def _grouped_works(device: torch.device, dtype: torch.dtype, outputs: int, inputs: int) -> bool:
    """Try it, forward and backward: what it serves differs between versions of torch, devices and types."""
    if not hasattr(F, "grouped_mm"):
        return False
    with torch.inference_mode(False), torch.enable_grad():
        ends = torch.tensor([1, 3], dtype=torch.int32, device=device)
        x = torch.ones(3, inputs, dtype=dtype, device=device, requires_grad=True)
        weight = torch.ones(2, outputs, inputs, dtype=dtype, device=device, requires_grad=True)
        try:
            F.grouped_mm(x, weight.transpose(1, 2), offs=ends).square().sum().backward()
        except RuntimeError:
            return False
    return True
