"""Linear layers."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from structformer.ops.linear import linear, linears


class Linear(nn.Linear):
    """`torch.nn.Linear` by the library that is fastest here; see `structformer.ops.linear`."""

    def forward(self, input: Float[Tensor, "*tokens inputs"]) -> Float[Tensor, "*tokens outputs"]:
        """Return x Wᵀ + b."""
        return linear(input, self.weight, self.bias)


def together(
    x: Float[Tensor, "*tokens inputs"], *layers: nn.Module
) -> tuple[Float[Tensor, "*tokens _"], ...]:
    """Return what each of the layers makes of the same tokens; see `structformer.ops.linear.linears`.

    Layers that were replaced by others (adapters) or have hooks are called as they are.
    """
    plain = [layer for layer in layers if type(layer) is Linear and not _hooked(layer)]
    if len(plain) < len(layers):
        return tuple(layer(x) for layer in layers)
    return linears(x, [(layer.weight, layer.bias) for layer in plain])


def _hooked(layer: nn.Module) -> bool:
    names = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return any(getattr(layer, name) for name in names)
