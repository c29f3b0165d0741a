from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import nn

from structformer.nn.r2mu import R2MU, BlockOutput, R2MUConfig, step_embedding

WIDTH, SLOTS = 14, 3
CONFIG = R2MUConfig(width=WIDTH, heads=2, steps=4, slots=SLOTS, cache=2)
PTR = torch.tensor([0, 5, 16, 23])
VARIANTS = {
    "all": {},
    "no memory": {"slots": 0},
    "no gate": {"gated": False},
    "no cache": {"cache": 0},
    "no input": {"reinject": False},
    "act": {"halting": "act"},
    "convergence": {"halting": "convergence", "threshold": 0.6},
    "checkpoint": {"checkpoint": True},
}
variants = pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)


class Rows(nn.Module):
    """A block that mixes the tokens of a set, each with those before it and itself, and uses dropout."""

    def __init__(self, dropout=0.0):
        super().__init__()
        self.inner, self.dropout = nn.Linear(WIDTH, WIDTH), nn.Dropout(dropout)
        self.calls = []

    def forward(self, h, step):
        self.calls.append(step)
        return BlockOutput(h + self.dropout(self.inner(h).tanh()), losses=[h.square().mean()])


def make(changes=None, seed=0):
    torch.manual_seed(seed)
    unit, block = R2MU(replace(CONFIG, **(changes or {}))).double(), Rows().double()
    if unit.reinjection is not None:
        nn.init.normal_(unit.reinjection.weight, std=0.2)
    return unit, block


def states():
    return torch.randn(23, WIDTH, dtype=torch.float64)


@variants
def test_what_tokens_and_slots_read_is_told_of_every_step(changes):
    unit, block = make(changes)
    found = unit(block, states(), PTR, whole=True)
    if unit.memory is None:
        assert found.read == found.written == []
        return
    assert len(found.read) == len(found.written) == len(found.gates) == CONFIG.steps
    for read, written in zip(found.read, found.written, strict=True):
        torch.testing.assert_close(read.sum(1), torch.ones(23, dtype=torch.float64))
        sums = [written[a:b].sum(0) for a, b in pairwise(PTR.tolist())]
        torch.testing.assert_close(torch.stack(sums), torch.ones(3, SLOTS, dtype=torch.float64))
        assert not read.requires_grad
        assert not written.requires_grad


@variants
def test_a_packed_batch_equals_one_set_at_a_time(changes):
    unit, block = make(changes)
    h = states()
    whole = unit(block, h, PTR)
    for number, (a, b) in enumerate(pairwise(PTR.tolist())):
        alone = unit(block, h[a:b])
        torch.testing.assert_close(alone.tokens, whole.tokens[a:b], rtol=1e-9, atol=1e-9)
        assert torch.equal(alone.steps, whole.steps[a:b])
        if whole.memory is not None:
            torch.testing.assert_close(alone.memory[0], whole.memory[number], rtol=1e-9, atol=1e-9)


@variants
def test_no_parameter_depends_on_the_steps_which_can_be_changed_afterwards(changes):
    unit, block = make(changes)
    other = R2MU(replace(unit.config, steps=9))
    assert {k: v.shape for k, v in other.state_dict().items()} == {
        k: v.shape for k, v in unit.state_dict().items()
    }
    other.double().load_state_dict(unit.state_dict())
    h = states()
    torch.testing.assert_close(other(block, h, PTR, steps=4).tokens, unit(block, h, PTR).tokens)
    if unit.halting is None:
        assert not torch.allclose(other(block, h, PTR).tokens, unit(block, h, PTR).tokens)
        assert other(block, h, PTR).steps.tolist() == [9] * 23


@pytest.mark.parametrize("part", ["memory", "cache", "reinjection", "scale_step"])
def test_every_part_is_heard(part):
    unit, block = make()
    h = states()
    thought = unit(block, h, PTR)
    grads = torch.autograd.grad(
        thought.tokens.square().sum(),
        [p for name, p in unit.named_parameters() if name.startswith(part) and "seed" not in name],
        allow_unused=True,
    )
    assert all(grad is not None and grad.abs().sum() > 0 for grad in grads)


def test_slots_are_written_after_every_step_and_gates_reported():
    unit, block = make()
    thought = unit(block, states(), PTR)
    assert len(thought.gates) == 4
    assert thought.gates[0].shape == (3, SLOTS)
    assert len(thought.norms) == len(thought.losses) == 4


def test_in_causal_text_the_memory_is_read_as_it_came():
    unit, block = make()
    h, memory = states().requires_grad_(), torch.randn(3, SLOTS, WIDTH, dtype=torch.float64)
    thought = unit(block, h, PTR, memory=memory, causal=True)
    assert torch.equal(thought.memory, memory)
    assert not thought.gates
    # The block of this test looks at one token at a time, so that a token could only hear another by the slots.
    (grad,) = torch.autograd.grad(thought.tokens[7].sum(), h)
    assert grad[7].abs().sum() > 0
    assert grad[:7].abs().sum() == grad[8:].abs().sum() == 0
    assert not torch.allclose(unit(block, h, PTR, memory=-memory, causal=True).tokens, thought.tokens)


def test_halted_tokens_stay_as_they_are_and_the_steps_end_early():
    unit, block = make({"halting": "act"})
    with torch.no_grad():
        unit.halting.probability.bias.fill_(50.0)
    thought = unit(block, states(), PTR, steps=7)
    assert block.calls == [0]
    assert thought.steps.tolist() == [1] * 23
    torch.testing.assert_close(thought.ponder, torch.full((23,), 2.0, dtype=torch.float64))
    torch.testing.assert_close(unit(block, states(), PTR, steps=7, whole=True).steps, thought.steps)
    assert block.calls == [0, *range(7)]


def test_checkpointing_changes_nothing_but_memory():
    torch.manual_seed(0)
    h, results = states(), []
    for changes in ({}, {"checkpoint": True}):
        unit, block = make(changes)
        block.dropout.p = 0.4
        torch.manual_seed(1)
        thought = unit(block, h, PTR)
        loss = thought.tokens.square().sum() + sum(thought.losses)
        results.append(
            torch.autograd.grad(loss, [*unit.parameters(), *block.parameters()], allow_unused=True)
        )
        assert len(block.calls) == (8 if changes else 4)
    torch.testing.assert_close(*results)


def test_thirty_two_steps_stay_finite():
    unit, block = make()
    h = states().requires_grad_()
    thought = unit(block, h, PTR, steps=32)
    (grad,) = torch.autograd.grad(thought.tokens.square().mean(), h)
    assert grad.isfinite().all()
    assert len(thought.norms) == 32
    assert all(norm.isfinite() for norm in thought.norms)


def test_step_embeddings_differ_and_exist_for_any_step():
    like = torch.zeros(1, 13)
    found = torch.stack([step_embedding(step, like) for step in (0, 1, 2, 100, 10_000)])
    assert found.shape == (5, 13)
    assert (torch.cdist(found, found) + 9 * torch.eye(5) > 0.3).all()
    assert found.abs().max() <= 1


def test_bad_arguments_are_named():
    unit, block = make()
    with pytest.raises(ValueError, match=r"steps must be at least 1 \(got 0\)"):
        unit(block, states(), PTR, steps=0)
    with pytest.raises(ValueError, match=r"memory must be .*\[3, 3, 14\] \(got \[2, 3, 14\]\)"):
        unit(block, states(), PTR, memory=torch.zeros(2, 3, 14).double())
    with pytest.raises(ValueError, match="no slots"):
        make({"slots": 0})[0](block, states(), PTR, memory=torch.zeros(3, 3, 14).double())
    for name in ("slots", "cache"):
        with pytest.raises(ValueError, match=rf"{name} must be at least 0 \(got -1\)"):
            R2MUConfig(**{name: -1})
    with pytest.raises(ValueError, match=r"steps must be at least 1 \(got 0\)"):
        R2MUConfig(steps=0)
