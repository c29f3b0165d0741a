import pytest
import torch

from structformer.graph import TokenGraph
from structformer.ops import compiled, edge_dot
from structformer.ops.compiled import _library, kernel, loaded


@pytest.mark.skipif(not compiled.available(), reason="built without a compiler")
@pytest.mark.parametrize(
    ("able", "build"), [("AVX512", "x86_v4"), ("AVX2", "x86_v3"), ("DEFAULT", "any"), ("SVE256", "any")]
)
def test_the_processor_decides(able, build, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: able)
    assert _library.__wrapped__() is loaded(build)


def test_without_kernels_all_goes_on(monkeypatch):
    monkeypatch.setattr(compiled.importlib.util, "find_spec", lambda _: None)
    assert loaded.__wrapped__("any") is None
    monkeypatch.setattr(compiled, "loaded", loaded.__wrapped__)
    assert _library.__wrapped__() is None
    monkeypatch.setattr(compiled, "_library", _library.__wrapped__)
    assert not compiled.available()
    with pytest.raises(RuntimeError, match="installed without its compiled kernels"):
        kernel("attend")
    graph = TokenGraph.from_edge_index(torch.randint(5, (2, 11)), 5)
    x = torch.randn(graph.num_sources, 2, 3)
    assert edge_dot(x, x, graph).shape == (graph.num_edges, 2)
