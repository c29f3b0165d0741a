"""Less memory for more time: what a step computed is forgotten, and computed again on the way back."""

import gc

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from structformer.graph import TokenGraph
from structformer.models import encoder as encoder_module
from structformer.models.encoder import SOESEncoder, SOESEncoderConfig
from structformer.nn import soes

WIDTH, HEADS, STEPS, TOKENS = 10, 2, 3, 19
PTR = torch.tensor([0, 7, 8, 8, 19])
EDGES = torch.tensor([[0, 6, 2, 18, 9], [1, 1, 3, 8, 9]])


class Alive(TorchDispatchMode):
    """Counts the bytes of all that was computed inside and is still there."""

    def __init__(self, *known):
        super().__init__()
        self.known, self.seen = {x.untyped_storage()._cdata for x in known}, {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for x in tree_leaves(out):
            if isinstance(x, torch.Tensor) and x.layout == torch.strided:
                storage = x.untyped_storage()
                if storage._cdata not in self.known:
                    self.seen[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        return out

    def bytes(self):
        return sum(size for reference, size in self.seen.values() if not reference.expired())


def build(checkpoint, **changes):
    arguments = {
        "width": WIDTH,
        "heads": HEADS,
        "neighbors": 3,
        "affinity": 5,
        "dropout": 0.3,
        "steps": STEPS,
    }
    torch.manual_seed(7)
    return SOESEncoder(SOESEncoderConfig(**arguments | changes, checkpoint=checkpoint)).double()


def outcome(model, h, **arguments):
    """Tokens, weights and every gradient, of a loss in which all that is returned has a part."""
    torch.manual_seed(11)
    h = h.clone().requires_grad_()
    encoded = model(h, **arguments)
    weights = [graph.weight for graph in encoded.graphs]
    loss = encoded.tokens.square().sum() + encoded.smoothness + sum(w.square().sum() for w in weights)
    grads = torch.autograd.grad(loss, [h, *model.parameters()], allow_unused=True)
    patterns = [x for graph in encoded.graphs for x in (graph.rowptr, graph.col, graph.given)]
    return [encoded.tokens, *weights, *grads, *patterns, torch.rand(3)]


@pytest.mark.parametrize(
    ("changes", "arguments"),
    [
        ({}, {"ptr": PTR}),
        ({"shared": True, "normalizer": "entmax15"}, {"ptr": PTR, "causal": True}),
        ({"normalizer": "sparsemax", "edge_features": 5}, {"ptr": PTR, "edge_index": EDGES}),
        ({"neighbors": 50}, {"ptr": PTR, "edge_index": EDGES}),
        ({"learn": False}, {"ptr": PTR, "edge_index": EDGES}),
        ({}, {"graph": TokenGraph.from_edge_index(EDGES, TOKENS)}),
    ],
    ids=["searched", "shared", "edge features", "complete", "own edges", "a graph"],
)
def test_everything_is_the_same_to_the_last_bit(rng, changes, arguments):
    h = torch.randn(TOKENS, WIDTH, generator=rng, dtype=torch.float64)
    if "edge_features" in changes:
        attributes = torch.randn(EDGES.shape[1], 5, generator=rng, dtype=torch.float64)
        arguments = arguments | {"edge_attr": attributes}
    plain = outcome(build(False, **changes), h, **arguments)
    found = outcome(build(True, **changes), h, **arguments)
    for one, other in zip(plain, found, strict=True):
        assert one is other is None or torch.equal(one, other)


def test_gradients_add_up_over_two_ways_back(rng):
    h = torch.randn(TOKENS, WIDTH, generator=rng, dtype=torch.float64, requires_grad=True)
    encoded = build(True)(h, PTR)
    both = torch.autograd.grad(encoded.tokens.sum() + encoded.smoothness, h, retain_graph=True)[0]
    first = torch.autograd.grad(encoded.tokens.sum(), h, retain_graph=True)[0]
    torch.testing.assert_close(both, first + torch.autograd.grad(encoded.smoothness, h)[0])


def test_nothing_is_searched_twice(rng, monkeypatch):
    calls = []
    search = soes.neighbors
    monkeypatch.setattr(soes, "neighbors", lambda *a, **k: calls.append(1) or search(*a, **k))
    h = torch.randn(TOKENS, WIDTH, generator=rng, dtype=torch.float64)
    build(True)(h, PTR).tokens.sum().backward()
    assert len(calls) == STEPS


def test_only_where_a_gradient_is_wanted_in_training(rng, monkeypatch):
    calls = []
    checkpoint = encoder_module.checkpoint
    monkeypatch.setattr(encoder_module, "checkpoint", lambda *a, **k: calls.append(1) or checkpoint(*a, **k))
    model, h = build(True), torch.randn(TOKENS, WIDTH, generator=rng, dtype=torch.float64)
    model(h, PTR)
    assert len(calls) == STEPS
    with torch.no_grad():
        model(h, PTR)
    model.eval()(h, PTR)
    assert len(calls) == STEPS


def test_little_more_than_the_states_is_kept_and_nothing_for_good(rng):
    h, ptr, kept = torch.randn(307, 64, generator=rng), torch.tensor([0, 149, 307]), {}
    for checkpoint in (False, True):
        model = build(checkpoint, width=64, heads=4, neighbors=11).float()
        with Alive(h, ptr, *model.parameters()) as alive:
            encoded = model(h, ptr)
        kept[checkpoint] = alive.bytes()
        assert encoded.tokens.requires_grad
        del encoded
        gc.collect()
        assert alive.bytes() == 0
    assert kept[True] < kept[False] / 4, kept
