"""Fitted estimators as PyTorch Geometric's explainers take them: a module whose edges can be masked."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

from structformer.graph import TokenGraph
from structformer.inspect.attribution import Explainable


@dataclass(frozen=True, eq=False)
class _Call:
    """A network, what it was called with, and the graphs it learned, call by call of its layers."""

    network: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    graphs: list[TokenGraph]
    first: int  # of its tokens


class ExplainedModel(nn.Module):
    """What a fitted estimator predicts of given data, as a module over its learned edges.

    It is what `torch_geometric.explain.Explainer` asks for, with masks on edges: `GNNExplainer`, `CaptumExplainer`,
    `PGExplainer` and the measures of fidelity. A mask multiplies the learned weights Â before attention hears them, in
    every step and layer, each of which has edges of its own; which edges there are does not change. Beside
    `edge_attribution`, which needs no other library, this brings methods that search for a mask.

    Args:
        model: A fitted estimator that predicts.
        X: What its ``learned_graph`` takes.

    Attributes:
        x: [nodes, 0]: an explainer passes it on; only edges are explained.
        edge_index: Learned edges, [0] = source, [1] = target, of all steps and layers one after the other. Sources that
            are other tokens (a table's training rows) come after the targets.

    Raises:
        ValueError: ``model`` does not predict, or ``X`` cannot be read.
        NotFittedError: Before `fit`.

    Examples:
        >>> import structformer as sf
        >>> from sklearn.datasets import load_iris
        >>> from torch_geometric.explain import Explainer, GNNExplainer
        >>> X, y = load_iris(return_X_y=True, as_frame=True)
        >>> model = sf.StructFormerClassifier(epochs=2, members=1, random_state=0, verbose=False).fit(X, y)
        >>> explained = sf.inspect.ExplainedModel(model, X.head(5))
        >>> settings = {"mode": "multiclass_classification", "task_level": "node", "return_type": "log_probs"}
        >>> explainer = Explainer(
        ...     explained, GNNExplainer(epochs=3), explanation_type="model", edge_mask_type="object",
        ...     model_config=settings,
        ... )
        >>> explanation = explainer(explained.x, explained.edge_index, index=0)
        >>> explained.graph(explanation.edge_mask).num_targets
        5
    """

    x: Tensor
    edge_index: Tensor

    def __init__(self, model: Explainable, X: Any) -> None:
        super().__init__()
        if not hasattr(model, "predict"):
            raise ValueError(f"model must predict (got {type(model).__name__}, which has no predict)")
        self._model, self._data = model, X
        self._classes = hasattr(model, "classes_")
        networks, layers = model.graph_layers()
        self._networks, self._layers = list(networks), tuple(layers)
        self._calls, graph = self._recorded()
        self._order = self._outputs_order()
        self._mask = MessagePassing()  # the explainers look for one, and leave their mask there
        edge_index, nodes = self._edges(graph)
        self.register_buffer("edge_index", edge_index, persistent=False)
        self.register_buffer("x", torch.zeros(nodes, 0), persistent=False)
        self.eval()

    def forward(
        self, x: Float[Tensor, "nodes none"], edge_index: Int[Tensor, "2 edges"]
    ) -> Float[Tensor, "things outputs"]:
        """Return what is predicted, in the order of the data, under the mask that an explainer has set.

        For classes that are log-probabilities (``return_type="log_probs"``), otherwise numbers on the scale on which
        the network was trained (``return_type="raw"``).

        Raises:
            ValueError: ``edge_index`` is not this module's own.
        """
        del x
        if edge_index.shape != self.edge_index.shape or not torch.equal(edge_index, self.edge_index):
            raise ValueError(
                "edge_index must be that of the explained model, whose edges are the learned ones"
            )
        gate = torch.ones(edge_index.shape[1], 1, device=edge_index.device)
        if getattr(self._mask, "_edge_mask", None) is not None:
            gate = self._mask.explain_message(gate, None)
        outputs = self._asked(gate[:, 0])
        return outputs.log_softmax(-1) if self._classes else outputs

    def graph(self, edge_mask: Float[Tensor, "edges"]) -> TokenGraph:
        """Return the learned graph with an explanation's mask as its weights, under the data's own names.

        Several networks are averaged, as in ``learned_graph``.

        Raises:
            ValueError: There is not one number an edge.
        """
        if edge_mask.shape != self.edge_index.shape[1:]:
            raise ValueError(
                f"edge_mask must have {self.edge_index.shape[1]} entries, one an edge (got {list(edge_mask.shape)})"
            )
        counts = [graph.num_edges for call in self._calls for graph in call.graphs]
        parts = iter(edge_mask.detach().split(counts))

        def relabel(network: nn.Module, args: tuple[Any, ...], out: Any) -> None:
            graphs = _graphs(out)
            graphs[:] = [graph.with_weight(next(parts).to(graph.weight)) for graph in graphs]

        with ExitStack() as stack:
            for network in self._networks:
                stack.callback(network.register_forward_hook(relabel).remove)
            return self._model.learned_graph(self._data, support=False)

    def _recorded(self) -> tuple[list[_Call], TokenGraph]:
        """Return what the networks are called with when the estimator is asked for its graph, and that graph."""
        calls: list[_Call] = []
        tokens = dict.fromkeys(map(id, self._networks), 0)

        def record(network: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
            graphs = list(_graphs(out))
            calls.append(_Call(network, args, kwargs, graphs, tokens[id(network)]))
            tokens[id(network)] += graphs[0].num_targets

        with ExitStack() as stack:
            for network in self._networks:
                stack.callback(network.register_forward_hook(record, with_kwargs=True).remove)
            graph = self._model.learned_graph(self._data, support=False)
        return calls, graph

    def _outputs_order(self) -> Int[Tensor, "things"]:
        """Return the place, among what the networks say, of what is said of each thing of the data.

        An estimator may order its data before it asks. It is asked with numbers that rise from thing to thing in place
        of what is said, and its predictions, which rise with them, tell which is whose.
        """
        with torch.no_grad():
            outputs = self._asked(torch.ones(sum(g.num_edges for call in self._calls for g in call.graphs)))
        rising = torch.linspace(-4, 4, len(outputs), dtype=torch.float64)
        told = torch.full((len(outputs), outputs.shape[1]), -torch.inf if self._classes else 0.0).double()
        told[:, 0] = rising
        if self._classes:
            told[:, 1] = 0.0
        at = dict.fromkeys(map(id, self._networks), 0)

        def replace(network: nn.Module, args: tuple[Any, ...], out: Any) -> None:
            begin = at[id(network)]
            at[id(network)] = begin + len(out.outputs)
            out.outputs = told[begin : at[id(network)]].to(out.outputs)

        with ExitStack() as stack:
            for network in self._networks:
                stack.callback(network.register_forward_hook(replace).remove)
            asked = self._model.predict_proba if self._classes else self._model.predict  # pyright: ignore
            answers = np.asarray(asked(self._data)).reshape(len(outputs), -1)[:, 0]
        if len(np.unique(answers)) < len(answers):
            raise ValueError(f"{type(self._model).__name__} gives different outputs the same prediction")
        return torch.from_numpy(np.argsort(np.argsort(answers)))

    def _edges(self, graph: TokenGraph) -> tuple[Int[Tensor, "2 edges"], int]:
        """Return the edges of all calls, and how many nodes they are between."""
        place = torch.arange(graph.num_targets)
        if len(self._order) == graph.num_targets:
            place[self._order] = torch.arange(graph.num_targets)
        edges: list[Tensor] = []
        for call in self._calls:
            for learned in call.graphs:
                source, target = learned.to_edge_index()[0].cpu()
                target = place[target + call.first]
                source = source + graph.num_targets if graph.is_bipartite else place[source + call.first]
                edges.append(torch.stack([source, target]))
        nodes = graph.num_targets + (graph.num_sources if graph.is_bipartite else 0)
        return torch.cat(edges, dim=1), nodes

    def _asked(self, gate: Float[Tensor, "edges"]) -> Float[Tensor, "things outputs"]:
        """Return what the networks say when the weights of their edges are multiplied; their mean where several."""
        said: dict[int, list[Tensor]] = {}
        begin = 0
        for call in self._calls:
            end = begin + sum(graph.num_edges for graph in call.graphs)
            with self._gated(call, gate[begin:end]):
                # Not through __call__, whose hooks are others'.
                said.setdefault(id(call.network), []).append(
                    call.network.forward(*call.args, **call.kwargs).outputs
                )
            begin = end
        outputs = torch.stack([torch.cat(parts) for parts in said.values()]).mean(0)
        order = getattr(self, "_order", None)
        return outputs if order is None else outputs[order]

    @contextmanager
    def _gated(self, call: _Call, gate: Float[Tensor, "edges"]) -> Generator[None]:
        parts = iter(gate.split([graph.num_edges for graph in call.graphs]))
        found = iter(call.graphs)

        def keep(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            # Under a mask states change, and with them the edges that would be found.
            graph = next(found)
            if kwargs.get("topology") is None:
                kwargs = {**kwargs, "topology": graph.with_weight(None)}
            return args, kwargs

        def mask(_: nn.Module, args: tuple[Any, ...], graph: TokenGraph) -> TokenGraph:
            assert graph.weight is not None
            return graph.with_weight(graph.weight * next(parts).to(graph.weight))

        with ExitStack() as stack:
            for layer in self._layers:
                stack.callback(layer.register_forward_pre_hook(keep, with_kwargs=True).remove)
                stack.callback(layer.register_forward_hook(mask).remove)
            yield


def _graphs(out: Any) -> list[TokenGraph]:
    return out.row_graphs if hasattr(out, "row_graphs") else out.encoded.graphs
