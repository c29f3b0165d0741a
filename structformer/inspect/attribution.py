"""Gradient-based attribution: how much each edge of a learned graph counts for what was predicted."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from structformer.graph import TokenGraph
from structformer.nn.soes import SOES


@runtime_checkable
class Explainable(Protocol):
    """An estimator whose learned graph can be reached inside its networks."""

    def learned_graph(self, X: Any) -> TokenGraph:
        """The graph over the tokens of ``X``."""
        ...

    def graph_layers(self) -> tuple[Sequence[nn.Module], Sequence[SOES]]:
        """The networks that predict, and those of their layers that learn the graph which is shown."""
        ...


def edge_attribution(model: Explainable, X: Any) -> TokenGraph:
    """Return the learned graph with each edge weighed by how much the predictions hang on it, to first order.

    The attribution of an edge is |∂ s / ∂ log Â_ij| where Â are the learned weights of its step and s is summed over
    what is predicted: for classes the log-probability of the predicted one, for numbers their size, for vectors their
    length (gradient times input: Shrikumar et al. 2016, arXiv 1605.01713; as a mask on edges in PyG's ``explain``).
    Unlike the weights Â, attributions into a token need not sum to one, and they cost one pass backwards.

    Args:
        model: A fitted estimator.
        X: What its ``learned_graph`` takes.

    Returns:
        The graph of `learned_graph`, earlier steps included, weights replaced.

    Raises:
        NotFittedError: Before `fit`.
        ValueError: ``X`` cannot be read.
    """
    networks, layers = model.graph_layers()

    def relabel(network: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        scores = attributions(
            network, args, kwargs, layers, hasattr(model, "classes_"), hasattr(model, "predict")
        )
        graphs: list[TokenGraph] = out.row_graphs if hasattr(out, "row_graphs") else out.encoded.graphs
        graphs[:] = [graph.with_weight(score) for graph, score in zip(graphs, scores, strict=True)]

    with ExitStack() as stack:
        for network in networks:
            stack.callback(network.register_forward_hook(relabel, with_kwargs=True).remove)
        return model.learned_graph(X)


def attributions(
    network: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    layers: Sequence[SOES],
    classes: bool,
    predicts: bool,
) -> list[Float[Tensor, "edges"]]:
    """Run a network again and return the attributions of the edges that each layer learned, call by call.

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
    return [torch.zeros_like(g) if d is None else d.abs() for g, d in zip(gates, found, strict=True)]


@contextmanager
def collected(
    networks: Sequence[nn.Module], layers: Sequence[SOES], classes: bool, predicts: bool
) -> Generator[list[Float[Tensor, "edges"]]]:
    """Collect the attributions of all that the networks are asked while the context lasts, call by call."""
    found: list[Tensor] = []

    def ask(network: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        found.extend(attributions(network, args, kwargs, layers, classes, predicts))

    with ExitStack() as stack:
        for network in networks:
            stack.callback(network.register_forward_pre_hook(ask, with_kwargs=True).remove)
        yield found


def _told(out: Any, classes: bool, predicts: bool) -> Float[Tensor, ""]:
    if predicts:
        return out.outputs.log_softmax(-1).amax(-1).sum() if classes else out.outputs.abs().sum()
    return (out.rows if hasattr(out, "rows") else out.tokens).norm(dim=-1).sum()
