import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from structformer.nn import FeedForward
from structformer.nn.moe import (
    MixtureOfExperts,
    MixtureOfExpertsConfig,
    balance_loss,
    router_z_loss,
)

TOKENS, WIDTH, HIDDEN, EXPERTS, ACTIVE = 23, 5, 13, 7, 3
PTR = torch.tensor([0, 11, 11, 12, 23])  # sets of 11, 0, 1 and 11 tokens
# grouped_mm wants rows that fill a multiple of 16 bytes: 4 floats, or 8 of half precision.
ALIGNED = {"width": 8 * 3, "expansion": 5 / 3}

needs_grouped = pytest.mark.skipif(not hasattr(F, "grouped_mm"), reason="this torch has no grouped_mm")


def layer(**changes):
    config = {"width": WIDTH, "experts": EXPERTS, "active": ACTIVE, "expansion": HIDDEN / WIDTH, **changes}
    return MixtureOfExperts(MixtureOfExpertsConfig(**config)).double()


def states(rng, tokens=TOKENS, width=WIDTH):
    return torch.randn(tokens, width, generator=rng, dtype=torch.float64)


def expert(mixture, number, h):
    a, b = (mixture.inner.weight[number] @ h + mixture.inner.bias[number]).chunk(2)
    return mixture.outer.weight[number] @ (a * F.gelu(b)) + mixture.outer.bias[number]


def twin(mixture, x, limit=None):
    """The formula of the docstring, token by token and expert by expert: outputs, gates, and overflow."""
    experts, active = mixture.config.experts, mixture.config.active
    p = (x @ mixture.router.weight.T).softmax(-1)
    ranks = [sorted(range(experts), key=lambda e, row=row: (-row[e], e))[:active] for row in p.tolist()]
    wanting = {e: [t for t in range(len(x)) if e in ranks[t]] for e in range(experts)}
    kept = {e: sorted(ts, key=lambda t, e=e: -p[t, e].item())[:limit] for e, ts in wanting.items()}
    outs, gates = [], []
    for t, chosen in enumerate(ranks):
        total = sum(p[t, e] for e in chosen) if active > 1 else 1.0
        gate = [p[t, e] / total if t in kept[e] else p[t, e] * 0 for e in chosen]
        outs.append(sum(g * expert(mixture, e, x[t]) for g, e in zip(gate, chosen, strict=True)))
        gates.append(torch.stack(gate))
    overflow = sum(len(wanting[e]) - len(kept[e]) for e in range(experts))
    return torch.stack(outs), torch.stack(gates), torch.tensor(ranks), overflow


def check_gradients(ours, theirs, inputs, rng, **tolerance):
    upstream = torch.randn(ours.shape, generator=rng, dtype=torch.float64).to(ours.dtype)
    found = torch.autograd.grad((ours * upstream).sum(), inputs)
    expected = torch.autograd.grad((theirs * upstream).sum(), inputs)
    torch.testing.assert_close(found, expected, **tolerance)
    assert all(grad.abs().sum() > 0 for grad in found), "every parameter must take part"


@pytest.mark.parametrize("active", [1, ACTIVE, EXPERTS])
def test_equals_the_twin_token_by_token(rng, active):
    mixture, x = layer(active=active), states(rng).requires_grad_()
    found = mixture(x)
    tokens, gates, chosen, _ = twin(mixture, x)
    torch.testing.assert_close(found.tokens, tokens, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found.gates, gates, rtol=1e-10, atol=1e-12)
    assert torch.equal(found.chosen, chosen)
    assert found.overflow == 0
    # With a single active expert the router learns too: its gate is the probability itself.
    check_gradients(found.tokens, tokens, [x, *mixture.parameters()], rng, rtol=1e-8, atol=1e-10)


def test_gates_of_a_token_sum_to_one(rng):
    gates = layer()(states(rng)).gates
    torch.testing.assert_close(gates.sum(1), torch.ones(TOKENS, dtype=torch.float64))
    assert (gates.diff(dim=1) <= 0).all()


def test_gradcheck(rng):
    mixture = layer(width=3, experts=5, active=2, expansion=2 / 3)
    x = states(rng, 7, 3).requires_grad_()
    names, parameters = zip(*mixture.named_parameters(), strict=True)

    def run(x, *values):
        found = torch.func.functional_call(mixture, dict(zip(names, values, strict=True)), (x,))
        return found.tokens, found.loss

    assert torch.autograd.gradcheck(run, (x, *parameters))


def test_one_expert_is_a_feed_forward_block(rng):
    mixture, block, x = layer(experts=1, active=1), FeedForward(WIDTH, HIDDEN / WIDTH).double(), states(rng)
    with torch.no_grad():
        for ours, theirs in ((mixture.inner, block.inner), (mixture.outer, block.outer)):
            ours.weight.copy_(theirs.weight[None])
            ours.bias.copy_(theirs.bias[None])
    torch.testing.assert_close(mixture(x).tokens, block(x), rtol=1e-12, atol=1e-14)


@needs_grouped
@pytest.mark.parametrize("tokens", [TOKENS, 2])  # of which some experts get nothing
@pytest.mark.parametrize("capacity", [None, 0.7])
def test_paths_agree(rng, tokens, capacity):
    mixture = layer(**ALIGNED, capacity=capacity)
    x = states(rng, tokens, 24)
    expected = twin(mixture, x, capacity and math.ceil(capacity * tokens * ACTIVE / EXPERTS))[0]
    mixture, x = mixture.float(), x.float().requires_grad_()
    loop, grouped = mixture(x, path="loop"), mixture(x, path="grouped")
    torch.testing.assert_close(grouped.tokens.double(), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(loop.tokens.double(), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(vars(grouped), vars(loop), rtol=1e-5, atol=1e-6)
    check_gradients(grouped.tokens, loop.tokens, [x, *mixture.parameters()], rng, rtol=1e-4, atol=1e-5)


@needs_grouped
def test_the_forced_path_is_the_one_that_runs(rng, monkeypatch):
    calls = []
    real = F.grouped_mm
    mixture, x = layer(**ALIGNED).float(), states(rng, width=24).float()
    mixture(x, path="grouped")
    monkeypatch.setattr(F, "grouped_mm", lambda *a, **k: calls.append(1) or real(*a, **k))
    mixture(x)
    mixture(x, path="loop")
    assert not calls
    mixture(x, path="grouped")
    assert len(calls) == 2


def test_an_unknown_path_is_refused(rng):
    with pytest.raises(ValueError, match=r"path must be .* \(got 'bmm'\)"):
        layer()(states(rng), path="bmm")


@pytest.mark.parametrize("path", ["loop", pytest.param("grouped", marks=needs_grouped)])
def test_half_precision_is_routed_in_float32(rng, path):
    mixture = layer(**ALIGNED).bfloat16()
    with torch.no_grad():  # equal in half precision, unless computed in more
        mixture.router.weight[:] = 0
        mixture.router.weight[4, :2] = torch.tensor([1.0, 2**-11])
        mixture.router.weight[2, 0] = 1.0
    found = mixture(torch.ones(5, 24, dtype=torch.bfloat16), path=path)
    assert found.chosen[:, :2].tolist() == [[4, 2]] * 5
    assert (found.tokens.dtype, found.gates.dtype, found.loss.dtype) == (
        torch.bfloat16,
        *[torch.float32] * 2,
    )


@pytest.mark.parametrize("path", ["loop", pytest.param("grouped", marks=needs_grouped)])
def test_autocast_leaves_the_router_alone(rng, path):
    mixture, x = layer(**ALIGNED).float(), states(rng, width=24).float()
    plain = mixture(x, path=path)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        lowered = mixture(x, path=path)
    assert lowered.tokens.dtype == torch.bfloat16
    torch.testing.assert_close(lowered.gates, plain.gates, rtol=0, atol=0)
    torch.testing.assert_close(lowered.loss, plain.loss, rtol=0, atol=0)
    torch.testing.assert_close(lowered.tokens.float(), plain.tokens, rtol=0.05, atol=0.02)
    lowered.tokens.float().sum().backward()
    assert all(parameter.grad is not None for parameter in mixture.parameters())


def test_losses_are_what_they_are_by_hand():
    p = torch.tensor([[0.7, 0.2, 0.1], [0.5, 0.1, 0.4], [0.2, 0.2, 0.6]], dtype=torch.float64)
    shift = torch.tensor([[1.0], [2.0], [-1.0]], dtype=torch.float64)
    # P = (1.4, 0.5, 1.1) / 3; f = (2, 0, 1) / 3 for the first choices, (3, 1, 2) / 6 for the first two:
    # the last token's second choice is a tie. The mean square of the shifts is 2.
    for active, share, expected in ((1, [2 / 3, 0, 1 / 3], 1.3), (2, [1 / 2, 1 / 6, 1 / 3], 1.15)):
        mixture = layer(width=3, experts=3, active=active, balance=0.5, z=0.25)
        with torch.no_grad():
            mixture.router.weight.copy_(torch.eye(3))
        found = mixture(p.log() + shift)
        torch.testing.assert_close(found.usage, torch.tensor(share, dtype=torch.float64))
        torch.testing.assert_close(found.loss.item(), 0.5 * expected + 0.25 * 2.0)
        torch.testing.assert_close(balance_loss(p, found.usage).item(), expected)
    torch.testing.assert_close(router_z_loss(p.log() + shift).item(), 2.0)
    torch.testing.assert_close(router_z_loss(torch.zeros(2, 5)).item(), math.log(5) ** 2)


def test_even_use_costs_one():
    even = torch.full((EXPERTS,), 1 / EXPERTS)
    assert balance_loss(even.expand(TOKENS, -1), even).item() == pytest.approx(1.0)


def test_following_the_loss_evens_the_use(rng):
    mixture, x = layer(z=0.0, balance=1.0), states(rng, 211) + 1
    optimizer = torch.optim.Adam([mixture.router.weight], lr=0.05)
    before = mixture(x).usage
    for _ in range(60):
        optimizer.zero_grad()
        mixture(x).loss.backward()
        optimizer.step()
    after = mixture(x).usage
    assert after.max() < before.max()
    assert after.std() < 0.5 * before.std()


def test_a_dead_expert_is_visible(rng):
    mixture, x = layer(), states(rng).abs()
    with torch.no_grad():
        mixture.router.weight[4] = -50.0
    usage = mixture(x).usage
    assert usage[4] == 0
    counts = torch.bincount(mixture(x).chosen.flatten(), minlength=EXPERTS)
    torch.testing.assert_close(usage, counts / (TOKENS * ACTIVE), check_dtype=False)


def test_the_lower_number_wins_a_tie(rng):
    mixture = layer(experts=211)  # enough for a sort that is not stable to show
    with torch.no_grad():
        mixture.router.weight.zero_()
        mixture.router.weight[100] = 1.0
    found = mixture(states(rng).abs())
    assert found.chosen.tolist() == [[100, 0, 1]] * TOKENS


def test_no_token_hears_another(rng):
    mixture, x = layer(), states(rng).requires_grad_()
    tokens = mixture(x).tokens
    for i in range(TOKENS):
        (grad,) = torch.autograd.grad(tokens[i].sum(), x, retain_graph=True)
        assert grad[i].abs().sum() > 0
        assert (grad[torch.arange(TOKENS) != i] == 0).all()


def test_a_set_alone_gets_what_it_gets_in_company(rng):
    mixture, x = layer(capacity=0.5).eval(), states(rng)
    together = mixture(x).tokens
    for start, stop in zip(PTR[:-1].tolist(), PTR[1:].tolist(), strict=True):
        alone = mixture(x[start:stop]).tokens
        torch.testing.assert_close(together[start:stop], alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("capacity", [None, 0.7])
@given(seed=st.integers(0, 2**31))
@settings(deadline=None, max_examples=15)
def test_permuting_tokens_permutes_the_output(capacity, seed, shuffled):
    rng = torch.Generator().manual_seed(seed)
    mixture, x = layer(capacity=capacity), states(rng)
    perm = shuffled(torch.tensor([0, TOKENS]), seed)
    found, expected = mixture(x[perm]), mixture(x)
    torch.testing.assert_close(found.tokens, expected.tokens[perm], rtol=0, atol=1e-9)
    assert torch.equal(found.chosen, expected.chosen[perm])
    torch.testing.assert_close((found.loss, found.usage), (expected.loss, expected.usage))
    assert found.overflow == expected.overflow


@pytest.mark.parametrize("capacity", [0.1, 0.7, 1.3])
@pytest.mark.parametrize("active", [1, ACTIVE])
def test_full_experts_turn_away_whom_they_fit_least(rng, capacity, active):
    mixture, x = layer(capacity=capacity, active=active), states(rng).requires_grad_()
    found = mixture(x)
    limit = math.ceil(capacity * TOKENS * active / EXPERTS)
    tokens, gates, chosen, overflow = twin(mixture, x, limit)
    assert overflow > 0
    assert found.overflow == overflow
    assert torch.equal(found.chosen, chosen)
    torch.testing.assert_close(found.gates, gates, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found.tokens, tokens, rtol=1e-10, atol=1e-12)
    check_gradients(found.tokens, tokens, [x, *mixture.parameters()], rng, rtol=1e-8, atol=1e-10)


def test_overflow_by_hand():
    mixture = layer(width=2, experts=2, active=2, capacity=0.5)
    with torch.no_grad():
        mixture.router.weight.copy_(torch.eye(2))
    # Each expert takes 2 of 4 tokens; expert 0 fits the first two best, expert 1 the last two.
    x = torch.tensor([[9.0, 0.0], [8.0, 0.0], [0.0, 7.0], [0.0, 6.0]], dtype=torch.float64)
    found = mixture(x)
    assert found.overflow == 4
    assert (found.gates[:, 0] > 0.9).all()
    assert (found.gates[:, 1] == 0).all()
    assert found.usage.tolist() == [0.5, 0.5]  # wanted, not taken
    for t, number in enumerate((0, 0, 1, 1)):
        torch.testing.assert_close(found.tokens[t], found.gates[t, 0] * expert(mixture, number, x[t]))


def test_capacity_limits_training_only(rng):
    limited, x = layer(capacity=0.1), states(rng)
    assert limited(x).overflow > 0
    free = layer()
    free.load_state_dict(limited.state_dict())
    found = limited.eval()(x)
    assert found.overflow == 0
    assert torch.equal(found.tokens, free(x).tokens)


@pytest.mark.parametrize("path", ["loop", pytest.param("grouped", marks=needs_grouped)])
@pytest.mark.parametrize("capacity", [None, 0.7])
def test_no_tokens(path, capacity):
    mixture, x = layer(**ALIGNED, capacity=capacity).float(), torch.zeros(0, 24, requires_grad=True)
    found = mixture(x, path=path)
    assert found.tokens.shape == (0, 24)
    assert found.loss == 0
    assert found.usage.tolist() == [0] * EXPERTS
    (found.tokens.sum() + found.loss).backward()
    assert x.grad.shape == (0, 24)
    assert all((parameter.grad == 0).all() for parameter in mixture.parameters())


def test_features_are_dropped_in_training_only(rng):
    mixture, x = layer(dropout=0.5), states(rng)
    assert not torch.equal(mixture(x).tokens, mixture(x).tokens)
    mixture.eval()
    torch.testing.assert_close(mixture(x).tokens, twin(mixture, x)[0])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("width", 0),
        ("experts", 0),
        ("active", 0),
        ("expansion", 0.0),
        ("capacity", -1.0),
        ("balance", -0.1),
        ("z", -2.0),
    ],
)
def test_a_bad_configuration_names_the_field(field, value):
    with pytest.raises(ValueError, match=rf"{field} must be .*\(got {value}\)"):
        MixtureOfExpertsConfig(**{field: value})


def test_more_active_experts_than_there_are():
    with pytest.raises(ValueError, match=r"active must be at most experts \(got active=3, experts=2\)"):
        MixtureOfExpertsConfig(experts=2, active=3)


def test_the_configuration_is_shown():
    assert "experts=7, active=3" in repr(layer())
