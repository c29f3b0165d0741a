import torch

from structformer.nn import SOES, SOESConfig
from structformer.nn.edge_features import EdgeFeatures

TOKENS, FEATURES = 19, 3
EDGES = torch.tensor([[0, 6, 18, 9, 9, 0], [1, 1, 8, 9, 17, 1]])


def test_edge_features_are_looked_up_along_any_graph(rng):
    attributes = torch.randn(EDGES.shape[1], FEATURES, generator=rng, dtype=torch.float64)
    graph = SOES(SOESConfig(width=5, neighbors=4)).double()(
        torch.randn(TOKENS, 5, generator=rng, dtype=torch.float64)
    )
    found = EdgeFeatures(EDGES, attributes, TOKENS).along(graph)
    dense = torch.zeros(TOKENS, TOKENS, FEATURES, dtype=torch.float64)
    dense.index_put_((EDGES[1], EDGES[0]), attributes, accumulate=True)  # parallel edges add up
    assert torch.equal(found, dense[graph.row, graph.col])
    nothing = EdgeFeatures(EDGES[:, :0], attributes[:0], TOKENS).along(graph)
    assert torch.equal(nothing, torch.zeros(graph.num_edges, FEATURES, dtype=torch.float64))
