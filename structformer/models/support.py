"""Support: which edges of a learned graph speak for what is predicted."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from structformer.graph import TokenGraph
from structformer.nn.soes import SOES


@contextmanager
def supported(networks: Sequence[nn.Module], layers: Sequence[SOES], classes: bool) -> Generator[None]:
    """Add, while the context lasts, their support to the graphs that networks return beside what they predict.

    Args:
        networks: Models of tables, nodes or sets.
        layers: Those of their layers that learn the graphs.
        classes: Whether outputs are class scores.
    """

    def tell(network: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        graphs, slopes = learned_graphs(out), attributions(network, args, kwargs, layers, classes)
        graphs[:] = [graph.with_support(support(graph, d)) for graph, d in zip(graphs, slopes, strict=True)]

    with ExitStack() as stack:
        for network in networks:
            stack.callback(network.register_forward_hook(tell, with_kwargs=True).remove)
        yield


def support(graph: TokenGraph, attribution: Float[Tensor, "edges"]) -> Float[Tensor, "edges"]:
    """Return the share of each edge in what speaks, among the edges into its token, for the prediction.

    A token that listens more to one source listens less to the others, for its weights sum to one. With
    d_ij = ∂ s / ∂ log Â_ij,

        c_ij = d_ij − Â_ij Σ_k d_ik

    is how s grows when i turns to j away from all (for a softmax, ∂ s by the affinity of the edge), and the support
    max(c_ij, 0) / Σ_k max(c_ik, 0). It sums to one over the edges into a token; where no edge makes a difference, or
    there is but one, it is 0.

    Args:
        graph: The edges with their weights Â.
        attribution: d, with its sign; see `attributions`.
    """

    def into(values: Float[Tensor, "edges"]) -> Float[Tensor, "edges"]:
        return values.new_zeros(graph.num_targets).index_add(0, graph.row, values)[graph.row]

    turned = attribution - graph.mean_weight() * into(attribution)
    # What is left of numbers that cancel is no difference.
    speaking = turned.where(turned > 1e-9 * attribution.abs(), 0)
    total = into(speaking)
    return speaking / torch.where(total > 0, total, 1)


def attributions(
    network: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    layers: Sequence[SOES],
    classes: bool,
    predicts: bool = True,
) -> list[Float[Tensor, "edges"]]:
    """Run a network again and return ∂ s / ∂ log Â of the edges that each layer learned, call by call.

    Â are the learned weights and s is summed over what is predicted: for classes the log-probability of the predicted
    one, for numbers their size, for vectors their length (gradient times input: Shrikumar et al. 2016, arXiv
    1605.01713).

    Args:
        network: A model of tables, nodes or sets.
        args: What it was called with.
        kwargs: The same, by name.
        layers: Those that learn the graph which is shown.
        classes: Whether outputs are class scores.
        predicts: Whether outputs are what the estimator is asked for; otherwise its vectors are.
    """
    gates: list[Tensor] = []

    def gate(_: nn.Module, args: tuple[Any, ...], graph: TokenGraph) -> TokenGraph:
        assert graph.weight is not None
        gates.append(torch.ones_like(graph.weight, requires_grad=True))
        return graph.with_weight(graph.weight * gates[-1])

    with ExitStack() as stack, torch.enable_grad():
        for layer in layers:
            stack.callback(layer.register_forward_hook(gate).remove)
        # Not through __call__, whose hooks are the ones that ask.
        out = network.forward(*args, **kwargs)
        found = torch.autograd.grad(_told(out, classes, predicts), gates, allow_unused=True)
    return [torch.zeros_like(g) if d is None else d for g, d in zip(gates, found, strict=True)]


def learned_graphs(out: Any) -> list[TokenGraph]:
    """Return the graphs in what a model of tables, nodes or sets returned: the list itself, not a copy."""
    return out.row_graphs if hasattr(out, "row_graphs") else out.encoded.graphs


def _told(out: Any, classes: bool, predicts: bool) -> Float[Tensor, ""]:
    if predicts:
        return out.outputs.log_softmax(-1).amax(-1).sum() if classes else out.outputs.abs().sum()
    return (out.rows if hasattr(out, "rows") else out.tokens).norm(dim=-1).sum()
