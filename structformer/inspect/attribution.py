"""Gradient-based attribution: how much each edge of a learned graph counts for what was predicted."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

from structformer.graph import TokenGraph
from structformer.models.support import attributions, learned_graphs
from structformer.nn.soes import SOES


@runtime_checkable
class Explainable(Protocol):
    """An estimator whose learned graph can be reached inside its networks."""

    def learned_graph(self, X: Any, *, support: bool = True) -> TokenGraph:
        """The graph over the tokens of ``X``; of one that predicts with support, unless that is not wanted."""
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
        graphs = learned_graphs(out)
        slopes = attributions(
            network, args, kwargs, layers, hasattr(model, "classes_"), hasattr(model, "predict")
        )
        graphs[:] = [graph.with_weight(slope.abs()) for graph, slope in zip(graphs, slopes, strict=True)]

    with ExitStack() as stack:
        for network in networks:
            stack.callback(network.register_forward_hook(relabel, with_kwargs=True).remove)
        return model.learned_graph(X, support=False)


@contextmanager
def collected(
    networks: Sequence[nn.Module], layers: Sequence[SOES], classes: bool, predicts: bool
) -> Generator[list[Float[Tensor, "edges"]]]:
    """Collect, while the context lasts, the attributions of all that the networks are asked, signed, call by call."""
    found: list[Tensor] = []

    def ask(network: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        found.extend(attributions(network, args, kwargs, layers, classes, predicts))

    with ExitStack() as stack:
        for network in networks:
            stack.callback(network.register_forward_pre_hook(ask, with_kwargs=True).remove)
        yield found
