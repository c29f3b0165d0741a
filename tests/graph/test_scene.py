import networkx as nx
import numpy as np
import torch
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from structformer.graph import TokenGraph
from structformer.graph.scene import Scene, placed
from structformer.graph.selection import select


def scene_of(graph: TokenGraph, max_nodes: int = 300, width: float = 6.0) -> tuple[Scene, Figure]:
    figure = Figure(figsize=(width, 4))
    shown = select([graph], None, max_nodes)
    return Scene.of(graph, shown, None, *placed(shown, 0), figure.add_subplot()), figure


def test_tokens_are_points_and_communities_discs_of_their_size():
    cliques = TokenGraph.from_networkx(nx.disjoint_union(nx.complete_graph(9), nx.complete_graph(4)))
    assert scene_of(cliques)[0].radii is None
    discs = scene_of(cliques, max_nodes=5)[0]
    assert discs.radii is not None
    assert np.allclose(discs.radii**2 / discs.radii[-1] ** 2, [9 / 4, 1])


def test_the_more_tokens_and_the_less_paper_the_smaller_a_token():
    few, many = (scene_of(TokenGraph.from_networkx(nx.path_graph(n)))[0].areas for n in (30, 200))
    narrow = scene_of(TokenGraph.from_networkx(nx.path_graph(30)), width=3)[0].areas
    assert many.max() < few.min()
    assert narrow.max() < few.min()


def test_a_line_of_given_strength_looks_the_same_in_every_step():
    strong = TokenGraph.from_edge_index(torch.tensor([[0, 1], [1, 2]]), 3, torch.tensor([0.9, 0.3]))
    weak = TokenGraph.from_edge_index(torch.tensor([[0, 1], [1, 2]]), 3, torch.tensor([0.1, 0.3]))
    shown = select([weak, strong], None, 300)
    figure = Figure()
    axes = figure.subplots(1, 2)
    scene = Scene.of(strong, shown, None, *placed(shown, 0), axes[0])
    looks = []
    for ax, edges in zip(axes, shown.steps, strict=True):
        scene.fill(ax, edges)
        lines = next(item for item in ax.collections if isinstance(item, LineCollection))
        looks.append(dict(zip(np.sort(edges.weight).round(3).tolist(), lines.get_linewidths(), strict=True)))
    assert looks[0][0.3] == looks[1][0.3]
    assert looks[0][0.1] < looks[0][0.3] < looks[1][0.9]
