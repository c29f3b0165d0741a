import sys

import pytest
import torch

from structformer.ops import neighbor_recall, neighbors
from structformer.ops.search import ivf as ivf_module

faiss = pytest.importorskip("faiss")
pytestmark = pytest.mark.usefixtures("_tiny")


@pytest.mark.parametrize("recall", [0.5, 0.9, 0.99])
def test_reaches_the_wanted_recall(recall, clustered):
    x = clustered(1009, noise=0.5) * torch.linspace(0.5, 2.0, 1009)[:, None].double()
    graph = neighbors(x, x, 7, method="ivf", recall=recall, exclude_self=True)
    assert neighbor_recall(graph, x, x, 7, exclude_self=True) >= recall


def test_looks_no_further_than_it_must(clustered, monkeypatch):
    probes = []
    search = ivf_module._search
    monkeypatch.setattr(
        ivf_module, "_search", lambda index, *a: probes.append(index.nprobe) or search(index, *a)
    )
    x = clustered(1009, noise=0.5)
    for recall in (0.3, 0.999):
        neighbors(x, x, 7, method="ivf", recall=recall)
        probes.append(None)
    easy, hard = probes[: probes.index(None)], probes[probes.index(None) + 1 : -1]
    assert easy[-1] == 4
    assert hard[-1] > 4
    assert hard[:-1] == sorted(hard[:-1])


def test_early_and_late_tokens_of_a_drifting_sequence(clustered):
    """Each token is most like those that come after it: what is fetched holds little it may listen to."""
    angle = torch.linspace(0, 1.5, 499, dtype=torch.float64)
    key = torch.stack([angle.cos(), angle.sin()], dim=1)
    query = torch.stack([(angle + 0.3).cos(), (angle + 0.3).sin()], dim=1)
    graph = neighbors(query, key, 5, method="ivf", causal=True)
    assert neighbor_recall(graph, query, key, 5, causal=True) >= 0.95
    early = neighbors(query[:101], key[:101], 5, method="exact", causal=True)
    assert (graph.col[: early.num_edges] == early.col).double().mean() >= 0.9


def test_threads_are_torchs_and_given_back():
    """FAISS may share torch's OpenMP, or bring its own with as many threads as there are cores."""

    class Own:
        threads = 13

        def omp_get_max_threads(self):
            return self.threads

        def omp_set_num_threads(self, number):
            self.threads = number

    own, inside = Own(), []

    def fail():
        inside.append(own.threads)
        raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"), ivf_module._threads(own):
        fail()
    assert inside == [torch.get_num_threads()] == [1]
    assert own.threads == 13


def test_torchs_threads_stay(clustered):
    x = clustered(211)
    neighbors(x, x, 5, method="ivf")
    assert torch.get_num_threads() == 1


def test_says_what_to_install(clustered, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    x = clustered(211)
    with pytest.raises(ModuleNotFoundError, match="pip install faiss-cpu"):
        neighbors(x, x, 5, method="ivf")


def test_says_nothing(clustered, capfd):
    x = clustered(211)
    neighbors(x, x, 5, method="ivf")
    assert capfd.readouterr() == ("", "")
