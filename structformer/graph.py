"""TokenGraph: a sparse directed graph over tokens, stored by target, with its weights and names.

Row i of the adjacency lists the sources that token i listens to, so `rowptr` and `col` are a CSR
matrix whose rows are targets: the message from j to i belongs to row i.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import networkx as nx
import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch_geometric.data import Data, HeteroData

from structformer import graph_convert, graph_export, graph_stats, graph_structure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

T = TypeVar("T")
Labels = Tensor | np.ndarray | pd.Series | Sequence[Any]


@dataclass(eq=False, repr=False)
class TokenGraph:
    """A directed graph over tokens in CSR form, rows being targets.

    The constructor takes its fields as they are: it is called several times in a training step.
    Data from outside goes through `from_edge_index`, `from_scipy`, `from_networkx` or `from_pyg`,
    which check it. Treat an instance as frozen: a changed graph is a new one.

    Attributes:
        rowptr: `[targets + 1]` where each target's edges begin; the last entry is the edge count.
        col: `[edges]` source of each edge, ascending inside a row.
        num_sources: Number of source tokens; differs from the number of targets when new tokens
            listen to known ones.
        weight: `[edges]` or `[edges, heads]`, or None for an unweighted graph.
        given: `[edges]` True where the edge came with the data, or None.
        names: One name for each target, or None.
        source_names: One name for each source. None means that sources and targets are the same
            tokens; a square graph with source names counts as bipartite.
        ptr: `[sets + 1]` boundaries of the targets' sets, or None for a single set.
        labels: One label for each target, for colouring and homophily, or None.
        source_labels: One label for each source of a bipartite graph, or None.
        earlier: The graphs of the steps before this one, oldest first.
    """

    rowptr: Int[Tensor, "rows"]
    col: Int[Tensor, "edges"]
    num_sources: int
    weight: Float[Tensor, "edges *heads"] | None = None
    given: Bool[Tensor, "edges"] | None = None
    names: list[str] | None = None
    source_names: list[str] | None = None
    ptr: Int[Tensor, "boundaries"] | None = None
    labels: Any = None
    source_labels: Any = None
    earlier: tuple["TokenGraph", ...] = ()
    # What depends on the pattern alone; copies that differ only in weight share it.
    _pattern: dict[str, Any] = field(default_factory=dict, init=False)

    @property
    def num_targets(self) -> int:
        """Number of tokens that listen (rows)."""
        return self.rowptr.numel() - 1

    @property
    def num_tokens(self) -> int:
        """Number of targets; for a square graph, of tokens."""
        return self.num_targets

    @property
    def num_edges(self) -> int:
        """Number of stored edges, self-loops included."""
        return self.col.numel()

    @property
    def is_bipartite(self) -> bool:
        """Whether sources and targets are different tokens."""
        return self.num_sources != self.num_targets or self.source_names is not None

    @property
    def steps(self) -> tuple["TokenGraph", ...]:
        """The graphs of all steps, oldest first; this graph is the last."""
        return (*self.earlier, self)

    @property
    def row(self) -> Int[Tensor, "edges"]:
        """`[edges]` target of each edge, computed once."""
        if "row" not in self._pattern:
            targets = torch.arange(self.num_targets, device=self.col.device)
            self._pattern["row"] = torch.repeat_interleave(
                targets, self.rowptr.diff(), output_size=self.num_edges
            )
        return self._pattern["row"]

    @property
    def transpose(self) -> tuple[Int[Tensor, "rows"], Int[Tensor, "edges"], Int[Tensor, "edges"]]:
        """The same edges by source, computed once: `(rowptr_t, row_t, perm)`.

        `rowptr_t` `[sources + 1]` says where each source's edges begin, `row_t` `[edges]` holds
        their targets, ascending inside a source, and `perm` `[edges]` maps each position of that
        order to the edge it came from, so that `weight[perm]` are the transposed weights.
        """
        if "transpose" not in self._pattern:
            self._pattern["transpose"] = graph_convert.transpose(self)
        return self._pattern["transpose"]

    @property
    def compact(self) -> tuple[Int[Tensor, "rows"], Int[Tensor, "edges"]]:
        """`(rowptr, col)` as int32 where that holds them, computed once: sparse products take it as it is."""
        if "compact" not in self._pattern:
            self._pattern["compact"] = self._narrowed(self.rowptr), self._narrowed(self.col)
        return self._pattern["compact"]

    @property
    def compact_transpose(self) -> tuple[Int[Tensor, "rows"], Int[Tensor, "edges"], Int[Tensor, "edges"]]:
        """`transpose` with its first two parts as in `compact`, computed once."""
        if "compact_transpose" not in self._pattern:
            rowptr_t, row_t, perm = self.transpose
            self._pattern["compact_transpose"] = self._narrowed(rowptr_t), self._narrowed(row_t), perm
        return self._pattern["compact_transpose"]

    def _narrowed(self, indices: Tensor) -> Tensor:
        fits = max(self.num_edges, self.num_sources, self.num_targets) < 2**31
        return indices.int() if fits else indices

    def once(self, name: str, compute: Callable[[], T]) -> T:
        """Return what depends on the pattern alone, computed at the first call; copies by `with_weight` share it."""
        if name not in self._pattern:
            self._pattern[name] = compute()
        return self._pattern[name]

    def with_weight(self, weight: Float[Tensor, "edges *heads"] | None) -> "TokenGraph":
        """The same edges with other weights; what was computed from the pattern is shared."""
        other = copy.copy(self)
        other.weight = weight
        return other

    def with_steps(self, earlier: Sequence["TokenGraph"]) -> "TokenGraph":
        """The same graph, remembering the graphs of the steps before it (oldest first)."""
        other = copy.copy(self)
        other.earlier = tuple(earlier)
        return other

    def to(self, device: torch.device | str) -> "TokenGraph":
        """A copy on `device`, earlier steps included."""
        other = copy.copy(self)
        for name in ("rowptr", "col", "weight", "given", "ptr", "labels", "source_labels"):
            value = getattr(self, name)
            setattr(other, name, value.to(device) if isinstance(value, Tensor) else value)
        other.earlier = tuple(graph.to(device) for graph in self.earlier)
        other._pattern = {}
        return other

    def permute(self, perm: Int[Tensor, "tokens"]) -> "TokenGraph":
        """The same graph with its tokens in another order, earlier steps included.

        Args:
            perm: Token t of the result is token `perm[t]` of this graph, and of the same set.

        Raises:
            ValueError: If the graph is bipartite, or `perm` is no permutation of the tokens of each set.
        """
        return graph_convert.permute(self, perm)

    @property
    def active(self) -> Bool[Tensor, "edges"]:
        """`[edges]` True where any head's weight is not zero, so everywhere in an unweighted graph.

        Sparsemax and entmax give many edges a weight of exactly zero: nothing is heard over those.
        """
        return graph_stats.active(self)

    def pruned(self) -> "TokenGraph":
        """The graph of its `active` edges alone; so are earlier steps, each by its own weights."""
        return graph_stats.pruned(self)

    def mean_weight(self) -> Float[Tensor, "edges"]:
        """`[edges]` weight of each edge averaged over heads; ones when the graph has no weights."""
        if self.weight is None:
            return torch.ones(self.num_edges, device=self.col.device)
        return self.weight if self.weight.ndim == 1 else self.weight.mean(1)

    @classmethod
    def from_edge_index(
        cls,
        edge_index: Tensor,
        num_tokens: int,
        weight: Tensor | None = None,
        num_sources: int | None = None,
        ptr: Tensor | None = None,
        names: Sequence[str] | None = None,
        coalesce: bool = True,
    ) -> "TokenGraph":
        """Build from a list of edges in any order.

        Args:
            edge_index: `[2, edges]` integers; row 0 holds sources j, row 1 targets i, as in PyG.
            num_tokens: Number of targets, and of sources unless `num_sources` says otherwise.
            weight: `[edges]` or `[edges, heads]`, following the order of `edge_index`.
            num_sources: Number of sources of a bipartite graph.
            ptr: `[sets + 1]` boundaries of sets that no edge may cross (square graphs).
            names: One name for each target.
            coalesce: Merge repeated edges and add their weights; when False they are an error.

        Raises:
            ValueError: If an argument has the wrong shape or type, an edge names a token that does
                not exist or joins two sets, a weight is not finite, or an edge is repeated and
                `coalesce` is False. The message names the culprit.
        """
        return graph_convert.from_edge_index(
            cls, edge_index, num_tokens, weight, num_sources, ptr, names, coalesce
        )

    @classmethod
    def from_scipy(cls, matrix: sp.sparray | sp.spmatrix, names: Sequence[str] | None = None) -> "TokenGraph":
        """Build from a scipy sparse matrix `[targets, sources]`; its values become the weights."""
        return graph_convert.from_scipy(cls, matrix, names)

    @classmethod
    def from_networkx(cls, graph: nx.Graph, weight: str | None = "weight") -> "TokenGraph":
        """Build from a networkx graph, directed or not, multi or not.

        An undirected edge becomes two, parallel edges are merged and their weights added. Names
        are `str(node)`, in the graph's own order. Weights are read from the edge attribute
        `weight` if any edge has it (1 where it is missing).
        """
        return graph_convert.from_networkx(cls, graph, weight)

    @classmethod
    def from_pyg(cls, data: Data) -> "TokenGraph":
        """Build from a PyG `Data`: `edge_index`, `edge_weight`, `ptr` and `names` as far as present."""
        return graph_convert.from_pyg(cls, data)

    def to_edge_index(self) -> tuple[Int[Tensor, "2 edges"], Float[Tensor, "edges *heads"] | None]:
        """`(edge_index, weight)` as in PyG: `[2, edges]` with sources in row 0 and targets in row 1."""
        return torch.stack([self.col, self.row]), self.weight

    def to_scipy(self) -> sp.csr_matrix:
        """A scipy CSR matrix `[targets, sources]` of the weights averaged over heads."""
        return graph_convert.to_scipy(self)

    def to_networkx(self) -> nx.DiGraph:
        """A networkx graph whose nodes are the names and whose edges run from source to target.

        Without names, or when two tokens share one, nodes are positions (sources of a bipartite
        graph counted after the targets). Nodes carry `name`, and `label` and `side` ("target" or
        "source", bipartite only) where they apply; edges carry `weight`, and `given` if known.
        """
        return graph_convert.to_networkx(self)

    def to_pyg(self) -> Data | HeteroData:
        """A PyG `Data` with `edge_index` and `edge_weight` (`edge_attr` for weights per head).

        A bipartite graph becomes a `HeteroData` with node types "source" and "target" and the
        edge type `("source", "to", "target")`.
        """
        return graph_convert.to_pyg(self)

    def to_frame(self) -> pd.DataFrame:
        """A table of the edges of all steps, one row an edge, in the order of steps, targets and sources.

        Returns:
            A DataFrame with the columns `step` (1 is the first), `source` and `target` (positions of
            tokens), `weight` (the mean over heads; 1 without weights); `head_0`, `head_1`, … with weights
            for each head (missing in steps that have fewer); `given`, True where the edge came with the
            data (if known); `source_name` and `target_name` (where there are names).
        """
        return graph_export.to_frame(self)

    def to_parquet(self, path: str | Path) -> Path:
        """Write the table of `to_frame` to a `.parquet` file, which is there as a whole or not at all.

        Returns:
            The path written.

        Raises:
            ValueError: If the path has another suffix or is a directory.
            OSError: If the file cannot be written.
        """
        return graph_export.to_parquet(self, path)

    def to_graphml(self, path: str | Path) -> Path:
        """Write this step of the graph to a `.graphml` (or `.xml`) file, there as a whole or not at all.

        Nodes are as in `to_networkx`, with the attributes `name`, `label` (known labels alone), `set`
        (its number, where there are boundaries) and `side` ("target" or "source", bipartite only);
        edges run from source to target and have `weight` and, if known, `given`. Labels of several types
        become texts. Characters that XML cannot hold become U+FFFD, carriage returns line feeds. Where
        names are missing, empty or no longer differ, nodes are positions, and `name` still has the name.

        Returns:
            The path written.

        Raises:
            ValueError: If the path has another suffix or is a directory.
            OSError: If the file cannot be written.
        """
        return graph_export.to_graphml(self, path)

    def to_gexf(self, path: str | Path) -> Path:
        """Write this step of the graph to a `.gexf` file, as Gephi reads it.

        As `to_graphml`, but for GEXF's own `label`, which is a token's name; the token's label is
        `token_label`.

        Returns:
            The path written.

        Raises:
            ValueError: If the path has another suffix or is a directory.
            OSError: If the file cannot be written.
        """
        return graph_export.to_gexf(self, path)

    def degree(self) -> Int[Tensor, "targets"]:
        """`[targets]` number of edges into each target."""
        return self.rowptr.diff()

    def entropy(self) -> Float[Tensor, "targets"]:
        """`[targets]` entropy in nats of each target's weights, their mean over heads scaled to sum to 1."""
        return graph_stats.entropy(self)

    def effective_degree(self) -> Float[Tensor, "targets"]:
        """`[targets]` exp of the entropy: how many equal neighbours each target in effect listens to."""
        return self.entropy().exp()

    def homophily(self, labels: Labels | None = None, source_labels: Labels | None = None) -> float:
        """Weighted share of edges whose two ends have the same label, self-loops left out.

        Args:
            labels: One label for each target; by default the graph's own. Negative integers and
                None mark unknown labels, whose edges are left out.
            source_labels: One label for each source of a bipartite graph.

        Returns:
            A number in [0, 1], or nan if no edge counts.

        Raises:
            ValueError: If labels are missing or their number does not fit.
        """
        return graph_stats.homophily(self, labels, source_labels)

    def change(self, other: "TokenGraph") -> Float[Tensor, ""]:
        """How far the weights moved: ‖A − B‖²_F over the union of both supports, per target.

        The penalty of ReSSFormer on how fast the graph may change; differentiable in both graphs'
        weights. Weights per head are compared head by head and averaged when both graphs have as
        many heads, otherwise averaged first.

        Raises:
            ValueError: If the graphs are not over the same tokens.
        """
        return graph_stats.change(self, other)

    def head(self, index: int) -> "TokenGraph":
        """The same edges with the weights of one head.

        In earlier steps without that head the mean over heads stands for it.

        Args:
            index: The head, from 0.

        Raises:
            ValueError: If the graph has no weights for each head, or not that head.
        """
        return graph_structure.head(self, index)

    def hubs(self, top: int | None = 10) -> pd.DataFrame:
        """The sources listened to most, by weighted out-degree; self-loops are left out.

        Args:
            top: How many to return; None for all.

        Returns:
            A DataFrame indexed by `token`, the source's position, the greatest first, with the columns
            `name` (where there are names); `weight`, the sum of its edges' mean weights; `share` of all
            such weight; `listeners`, the number of its edges whose weight is not zero.
        """
        return graph_structure.hubs(self, top)

    def communities(self, resolution: float = 1.0, seed: int = 0) -> Int[np.ndarray, "nodes"]:
        """Communities of tokens that listen to each other more than to the rest, by Louvain's method.

        Modularity of the weights of both directions added, self-loops and negative weights left out
        (Blondel et al. 2008, arXiv 0803.0476). The same seed gives the same communities.

        Args:
            resolution: Above 1 for more and smaller communities, below for fewer and larger.
            seed: Seed of the order in which tokens are moved.

        Returns:
            `[tokens]` number of each token's community, 0 the largest; of a bipartite graph
            `[targets + sources]`, the sources after the targets. A token without edges is alone.

        Raises:
            ValueError: If `resolution` is not greater than 0.
        """
        return graph_structure.communities(self, resolution, seed)

    def reciprocity(self) -> float:
        """Share of all weight that is mutual: Σ min(w_ij, w_ji) / Σ w_ij over pairs of different tokens.

        For an unweighted graph the share of edges whose reverse is there too (Squartini et al. 2013,
        arXiv 1208.4208). Weights are taken as not negative.

        Returns:
            A number in [0, 1], or nan if no edge counts.

        Raises:
            ValueError: If the graph is bipartite.
        """
        return graph_structure.reciprocity(self)

    def summary(self) -> "graph_stats.GraphSummary":
        """Size, degrees, self-weight, homophily and change between steps; prints as a small table."""
        return graph_stats.summarize(self)

    def plot(
        self,
        ax: "Axes | None" = None,
        labels: Labels | None = None,
        threshold: float | None = None,
        max_nodes: int = 300,
        large: Literal["communities", "hubs"] = "communities",
        seed: int = 0,
    ) -> "Axes":
        """Draw the graph; direction, self-loops and edges of weight zero are not drawn.

        Connected parts, and so the sets of a batch, are drawn side by side. Names are written where
        there is room, those of the best connected tokens first.

        Args:
            ax: matplotlib axes to draw on; by default a new figure.
            labels: One label for each target, shown as colour; by default the graph's own. Many
                different numbers make a scale, all else makes classes.
            threshold: Lines of a smaller weight are not drawn. By default all are, or if there are more
                than six for each node drawn, that many of the strongest.
            max_nodes: How many tokens are drawn one by one.
            large: What is drawn of more tokens than that, as the title says. `"communities"`: up to
                40 of them as discs, the area being the number of tokens, a pie the shares of their labels,
                the width of a line the total weight between two. `"hubs"`: the `max_nodes` tokens of the
                greatest weighted degree.
            seed: Seed of the layout and of the communities.

        Returns:
            The axes drawn on.

        Raises:
            ValueError: If `max_nodes` is less than 1, `large` is unknown or the labels do not fit.
        """
        from structformer.graph_plot import draw

        return draw(self, ax, labels, threshold, max_nodes, large, seed)

    def plot_steps(
        self,
        labels: Labels | None = None,
        threshold: float | None = None,
        max_nodes: int = 300,
        large: Literal["communities", "hubs"] = "communities",
        seed: int = 0,
        columns: int = 4,
    ) -> "list[Axes]":
        """Draw every step beside the others in a new figure, each token in the same place in all.

        Lines are as dark and as wide in one step as lines of the same weight in another.

        Args:
            labels: As in `plot`.
            threshold: As in `plot`.
            max_nodes: As in `plot`.
            large: As in `plot`; communities are those of all steps together.
            seed: As in `plot`.
            columns: Pictures in a row.

        Returns:
            The axes drawn on, one for each step.

        Raises:
            ValueError: As `plot`, or if `columns` is less than 1.
        """
        from structformer.graph_plot import draw_steps

        return draw_steps(self, labels, threshold, max_nodes, large, seed, columns)

    def _repr_html_(self) -> str:
        """What a notebook shows: statistics, a small picture, the strongest edges by name."""
        from structformer.graph_html import to_html

        return to_html(self)

    def __repr__(self) -> str:
        tokens = f"{self.num_targets} targets from {self.num_sources} sources"
        parts = [tokens if self.is_bipartite else f"{self.num_tokens} tokens", f"{self.num_edges} edges"]
        if self.weight is not None and not self.weight.is_meta and (zero := graph_stats.num_inactive(self)):
            parts[-1] += f" ({zero} of weight zero)"
        if self.weight is not None and self.weight.ndim > 1:
            heads = self.weight.shape[1]
            parts.append(f"{heads} head{'' if heads == 1 else 's'}")
        if self.ptr is not None:
            sets = self.ptr.numel() - 1
            parts.append(f"{sets} set{'' if sets == 1 else 's'}")
        if self.earlier:
            parts.append(f"{len(self.steps)} steps")
        return f"TokenGraph({', '.join(parts)})"
