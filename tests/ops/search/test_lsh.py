import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from structformer.graph import TokenGraph
from structformer.ops import neighbor_recall, neighbors
from structformer.ops.search import limits

pytestmark = pytest.mark.usefixtures("_tiny")


class Largest(TorchDispatchMode):
    """Remembers the size of the largest tensor made."""

    def __init__(self):
        super().__init__()
        self.size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor) and out._base is None and out.layout == torch.strided:
            self.size = max(self.size, out.numel())
        return out


def test_rounds_along_the_graph_find_more(clustered):
    x = clustered(1009, affinity=13, clusters=31, noise=0.4)
    recalls = [
        neighbor_recall(neighbors(x, x, 7, method="lsh", rounds=rounds), x, x, 7) for rounds in (0, 1, 2)
    ]
    assert recalls[0] + 0.1 < recalls[1] < recalls[2]
    assert recalls[2] > 0.85


def test_keys_of_any_length(clustered):
    query = clustered(1009, seed=1)
    key = clustered(1009, seed=1) * torch.rand(1009, 1, dtype=torch.float64).add(0.2)
    assert neighbor_recall(neighbors(query, key, 7, method="lsh"), query, key, 7) > 0.9


def test_keys_that_point_the_same_way(clustered):
    x = clustered(1009) + 20
    with Largest() as largest:
        graph = neighbors(x, x, 7, method="lsh")
    assert neighbor_recall(graph, x, x, 7) > 0.9
    assert largest.size < 1009**2 / 5


@pytest.mark.parametrize("causal", [False, True])
def test_nothing_of_size_tokens_by_tokens(causal, clustered, monkeypatch):
    monkeypatch.setattr(limits, "BLOCK", 20_011)
    monkeypatch.setattr(limits, "CACHED", 20_011)
    x = clustered(2003)
    with Largest() as largest:
        neighbors(x, x, 7, method="lsh", causal=causal)
    assert largest.size < 2003**2 / 25


def test_a_moved_graph_is_put_right(clustered):
    before = clustered(1009, affinity=13, clusters=31)
    after = torch.nn.functional.normalize(before + 0.1 * clustered(1009, affinity=13, seed=5), dim=1)
    after[:101] = after[:101].flip(0)  # some have moved far
    stale = neighbors(before, before, 7, method="exact", exclude_self=True)
    warm = neighbors(after, after, 7, start=stale, exclude_self=True)
    cold = neighbors(after, after, 7, method="lsh", rounds=0, exclude_self=True)
    recall = [neighbor_recall(g, after, after, 7, exclude_self=True) for g in (stale, cold, warm)]
    assert recall[2] > recall[0] + 0.1
    assert recall[2] > recall[1]
    assert recall[2] >= 0.9
    more = neighbors(after, after, 7, start=stale, exclude_self=True, rounds=3)
    assert neighbor_recall(more, after, after, 7, exclude_self=True) >= recall[2]


def test_starting_from_what_is_right_loses_nothing(clustered):
    x = clustered(503, noise=0.5)
    exact = neighbors(x, x, 7, method="exact", causal=True)
    assert torch.equal(neighbors(x, x, 7, method="warm", start=exact, causal=True).col, exact.col)


def test_forbidden_edges_of_the_start_are_dropped(clustered):
    x = clustered(503)
    everything = torch.cartesian_prod(torch.arange(503), torch.arange(31))
    start = TokenGraph.from_edge_index(everything.T, 503)
    graph = neighbors(x, x, 7, method="warm", start=start, causal=True, exclude_self=True)
    assert (graph.col < graph.row).all()


def test_an_empty_start(clustered):
    x = clustered(503)
    start = TokenGraph.from_edge_index(torch.zeros(2, 0, dtype=torch.long), 503)
    assert (neighbors(x, x, 7, method="warm", start=start).degree() == 7).all()
