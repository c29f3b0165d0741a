"""GraphClassifier and GraphRegressor: a list of graphs in, one target a graph out."""

from __future__ import annotations

from structformer.estimators.pooled import PooledClassifier, PooledRegressor
from structformer.tokenize import GraphTokenizer


class _Graphs:
    """What both read: graphs, whose nodes also carry degrees and walks, which attention alone does not see."""

    _thing = "graph"
    _tokenizer = GraphTokenizer

    def _new_tokenizer(self) -> GraphTokenizer:
        return GraphTokenizer(structure=True)


class GraphClassifier(_Graphs, PooledClassifier):
    """Classify graphs.

    The nodes of a graph listen to each other along the graph's own edges and along those learned from what the nodes
    hold; attention pools them into one vector, from which the class is read. How nodes are numbered does not matter.

    Graphs are networkx graphs (directed or not, multi or not, attributes of any type on nodes and edges) or PyG Data
    or HeteroData. Beside its attributes a node carries where it stands in its graph: degrees, and the probabilities
    that a random walk is back after so many steps.

    Args:
        model: "soes", which learns the graph anew in every step, or "ressformer", which repeats one block with a memory
            and several experts (`ReSSFormer`).
        model_options: Further settings of that model by name, such as {"experts": 8}: fields of `SOESEncoderConfig` or
            `ReSSFormerConfig`.
        width: Features of an embedded node.
        steps: Times that the graph is learned anew and listened along.
        heads: Attention heads; must divide ``width``.
        neighbors: Nodes that a node may listen to besides itself and those it has an edge from.
        dropout: Probability of dropping a feature or an attention weight.
        epochs: Most passes over the training graphs; None plans some 400 steps, in 10 to 100 passes.
        learning_rate: Peak learning rate.
        weight_decay: Decoupled weight decay.
        batch_size: Graphs in a batch; None chooses it from their sizes.
        patience: Epochs without a better validation score before stopping; None trains on all graphs to the end.
        validation_fraction: Share of the graphs held out for early stopping when no ``eval_set`` is given.
        max_time: Seconds that training may take.
        class_weight: None, "balanced", or a dict from label to weight.
        device: "auto" or "cpu".
        random_state: Seed; the same seed gives the same model.
        verbose: Show a progress bar; None shows one on a terminal only.
        callbacks: Called after each epoch with the epoch and the model; True stops training.

    Attributes:
        classes_: The class labels in sorted order.
        tokenizer_: The fitted `GraphTokenizer`.
        model_: The trained network.
        history_: What happened in training; saved with the model.

    Examples:
        >>> import networkx as nx
        >>> from structformer.estimators.graphs import GraphClassifier
        >>> graphs = [nx.cycle_graph(n) for n in range(5, 25)] + [nx.path_graph(n) for n in range(5, 25)]
        >>> model = GraphClassifier(epochs=5, random_state=0).fit(graphs, ["cycle"] * 20 + ["path"] * 20)
        >>> model.predict(graphs[:3]).shape
        (3,)
    """


class GraphRegressor(_Graphs, PooledRegressor):
    """Predict a number, or several, for each graph.

    Graphs are read as in `GraphClassifier`; targets are standardised for training. The parameters are the same,
    without ``class_weight``.

    Attributes:
        tokenizer_: The fitted `GraphTokenizer`.
        model_: The trained network.
        history_: What happened in training; saved with the model.
    """
