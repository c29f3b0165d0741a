from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from structformer.models.ressformer import ReSSFormer, ReSSFormerConfig

WIDTH = 12
CONFIG = ReSSFormerConfig(
    width=WIDTH, heads=2, steps=3, neighbors=3, affinity=7, depth=2, slots=3, dropout=0.0, experts=3
)
PTR = torch.tensor([0, 5, 16, 23])
VARIANTS = {
    "all": {},
    "one expert": {"experts": 1},
    "no memory": {"slots": 0, "cache": 0},
    "sparse": {"normalizer": "entmax15", "top": 2},
    "no gate": {"gated": False, "structure_gate": False},
    "act": {"halting": "act"},
    "convergence": {"halting": "convergence", "threshold": 0.6},
}
variants = pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)


def make(changes=None):
    return ReSSFormer(replace(CONFIG, **(changes or {}))).double()


def states(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(23, WIDTH, generator=generator, dtype=torch.float64)


@variants
def test_a_packed_batch_equals_one_set_at_a_time(changes):
    model, h = make(changes), states()
    whole = model(h, PTR)
    for a, b in pairwise(PTR.tolist()):
        torch.testing.assert_close(model(h[a:b]).tokens, whole.tokens[a:b], rtol=1e-9, atol=1e-9)


@variants
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1000))
def test_permuting_tokens_permutes_states_and_leaves_the_memory(changes, seed, shuffled):
    model, h, order = make(changes), states(seed), shuffled(PTR, seed)
    found, expected = model(h[order], PTR), model(h, PTR)
    torch.testing.assert_close(found.tokens, expected.tokens[order], rtol=1e-9, atol=1e-9)
    if expected.thought.memory is not None:
        torch.testing.assert_close(found.thought.memory, expected.thought.memory, rtol=1e-9, atol=1e-9)


def test_sets_never_meet():
    model, h = make(), states().requires_grad_()
    (grad,) = torch.autograd.grad(model(h, PTR).tokens[5:16].square().sum(), h)
    assert grad[5:16].abs().sum() > 0
    assert grad[:5].abs().sum() == grad[16:].abs().sum() == 0


@variants
def test_causal_states_hear_nothing_that_comes_later(changes):
    model, h = make(changes), states().requires_grad_()
    (grad,) = torch.autograd.grad(model(h, PTR, causal=True).tokens[9].square().sum(), h)
    assert (grad[5:10].abs().sum(1) > 0).any()
    assert grad[:5].abs().sum() == grad[10:].abs().sum() == 0


def test_it_tells_what_happened():
    model = make({"halting": "act"})
    found = model(states(), PTR)
    thought = found.thought
    assert len(found.graphs) == len(thought.usages) == len(thought.losses) == 2 * len(thought.norms)
    assert len(thought.chosen) == len(thought.shares) == len(thought.usages)
    for usage, chosen, shares in zip(thought.usages, thought.chosen, thought.shares, strict=True):
        torch.testing.assert_close(usage.sum(), torch.ones_like(usage.sum()))
        counts = chosen.flatten().bincount(minlength=len(usage)).to(usage)
        torch.testing.assert_close(counts / counts.sum(), usage)
        assert shares.shape == chosen.shape
        assert not shares.requires_grad
    assert thought.ponder is not None
    assert thought.steps.min() >= 1
    assert found.loss > 0
    assert found.smoothness > 0
    assert make({"experts": 1})(states(), PTR).loss == 0


@pytest.mark.parametrize("halting", ["act", "convergence", None])
def test_routing_costs_and_under_act_pondering_does(halting):
    model = make({"halting": halting, "ponder": 0.3})
    found = model(states(), PTR)
    expected = torch.stack(found.thought.losses).mean()
    if halting == "act":
        expected = expected + 0.3 * found.thought.ponder.mean()
        (grad,) = torch.autograd.grad(found.loss, model.unit.halting.probability.bias, retain_graph=True)
        assert grad < 0, "the sooner a token halts, the less it costs"
    torch.testing.assert_close(found.loss, expected)


def test_stopping_early_saves_graphs_and_changes_nothing_else():
    model = make({"halting": "act"})
    torch.nn.init.constant_(model.unit.halting.probability.bias, 9.0)
    whole, saved = model(states(), PTR), model(states(), PTR, whole=False)
    assert (whole.thought.steps == 1).all()
    assert (len(whole.graphs), len(saved.graphs)) == (2 * 3, 2)
    torch.testing.assert_close(saved.tokens, whole.tokens)
    torch.testing.assert_close(saved.thought.memory, whole.thought.memory)


def test_every_parameter_learns():
    model = make({"halting": "act", "edge_features": 2, "reinject": True})
    torch.nn.init.normal_(model.unit.reinjection.weight)
    edges = torch.tensor([[0, 1, 2, 6], [1, 2, 0, 9]])
    found = model(states(), PTR, edge_index=edges, edge_attr=torch.randn(4, 2).double())
    loss = found.tokens.square().sum() + found.loss + found.thought.ponder.sum()
    names, weights = zip(*model.named_parameters(), strict=True)
    grads = torch.autograd.grad(loss + found.smoothness, weights, allow_unused=True)
    silent = [name for name, grad in zip(names, grads, strict=True) if grad is None or not grad.abs().sum()]
    assert silent == []


def test_parameters_do_not_grow_with_the_steps():
    count = [sum(p.numel() for p in make({"steps": steps}).parameters()) for steps in (1, 7)]
    assert count[0] == count[1]
    model, h = make(), states()
    assert len(model(h, PTR, steps=7).graphs) == 14
    assert not torch.allclose(model(h, PTR, steps=7).tokens, model(h, PTR).tokens)


def test_memory_is_carried_from_segment_to_segment():
    model, h = make(), states()
    first = model(h, PTR)
    again = model(h, PTR, memory=first.thought.memory)
    assert not torch.allclose(again.tokens, first.tokens)
    with pytest.raises(ValueError, match="memory must be"):
        model(h, PTR, memory=first.thought.memory[:2])


def test_checkpointing_changes_no_gradient_and_searches_once(monkeypatch):
    from structformer.nn import soes

    searches, results = [], []
    monkeypatch.setattr(
        soes, "neighbors", lambda *a, inner=soes.neighbors, **b: searches.append(1) or inner(*a, **b)
    )
    for checkpoint in (False, True):
        torch.manual_seed(0)
        model = make({"checkpoint": checkpoint, "dropout": 0.3})
        torch.manual_seed(1)
        found = model(states(), PTR)
        loss = found.tokens.square().sum() + found.loss + found.smoothness
        results.append(torch.autograd.grad(loss, list(model.parameters()), allow_unused=True))
    torch.testing.assert_close(*results)
    assert len(searches) == 2 * 3 * 2


def test_thirty_two_steps_stay_finite():
    model, h = make(), states().requires_grad_()
    found = model(h, PTR, steps=32)
    (grad,) = torch.autograd.grad(found.tokens.square().mean(), h)
    assert grad.isfinite().all()
    assert len(found.thought.norms) == 32
    assert max(found.thought.norms) < 100


def test_it_overfits_sets_that_only_structure_tells_apart():
    """Whether two of a set's tokens are alike: no token knows by itself."""
    torch.manual_seed(0)
    h = torch.randn(32, 6, WIDTH)
    label = torch.arange(32) % 2
    h[label == 1, 3] = h[label == 1, 0]
    ptr = torch.arange(0, 32 * 6 + 1, 6)
    model, head = ReSSFormer(replace(CONFIG, depth=1)), torch.nn.Linear(WIDTH, 2)
    optimizer = torch.optim.Adam([*model.parameters(), *head.parameters()], lr=5e-3)
    for _ in range(150):
        found = model(h.flatten(0, 1), ptr)
        logits = head(found.tokens.view(32, 6, WIDTH).mean(1))
        loss = torch.nn.functional.cross_entropy(logits, label)
        optimizer.zero_grad()
        (loss + found.loss).backward()
        optimizer.step()
    assert loss < 0.05


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"depth must be at least 1 \(got 0\)"):
        ReSSFormerConfig(depth=0)
    with pytest.raises(ValueError, match=r"experts must be at least 1 \(got 0\)"):
        ReSSFormerConfig(experts=0)
    with pytest.raises(ValueError, match=r"h must have 12 features"):
        make()(torch.zeros(3, 5).double())


@pytest.mark.parametrize("checkpoint", [False, True])
def test_set_dropout_keeps_equal_tokens_equal_and_is_for_training_alone(checkpoint):
    torch.manual_seed(0)
    model = make({"set_dropout": 0.5, "checkpoint": checkpoint})
    h = torch.randn(1, WIDTH, dtype=torch.float64).expand(23, WIDTH)
    assert torch.equal(model.eval()(h, PTR).tokens, model(h, PTR).tokens)
    found = model.train()(h, PTR).tokens
    for a, b in pairwise(PTR.tolist()):
        torch.testing.assert_close(found[a:b], found[a : a + 1].expand(b - a, -1))
    assert not torch.allclose(found[0], found[5])


def test_a_step_computed_again_going_back_drops_the_same_features():
    grads = []
    for checkpoint in (False, True):
        torch.manual_seed(0)
        model, h = make({"set_dropout": 0.5, "checkpoint": checkpoint}), states().requires_grad_()
        torch.manual_seed(1)
        grads.append(torch.autograd.grad(model.train()(h, PTR).tokens.square().sum(), h)[0])
    torch.testing.assert_close(*grads)
