import pytest
import torch
from structformer.tasks import efficiency_arms as arms
from structformer.tasks.efficiency_arms import OURS, Case
from structformer.tasks.efficiency_inputs import random_graph

CASE = Case(tokens=37, neighbors=5, heads=2, channels=3, layers=2)
SPARSE = [arm for arm in arms.attention_arms() if arm not in ("SDPA, all pairs", "TransformerConv")]


def test_the_paths_are_those_that_run_here():
    paths = arms.attention_paths()
    assert "gather" in paths
    assert set(paths) <= set(arms.PATHS)
    assert [arm for arm in arms.attention_arms() if arm.startswith(f"{OURS}, ")] == [
        f"{OURS}, {path}" for path in paths
    ]


def test_a_path_the_library_refuses_is_no_arm(monkeypatch):
    monkeypatch.setattr(arms, "PATHS", ("teleport", "gather"))
    assert arms.attention_paths() == ["gather"]


@pytest.mark.parametrize("graph", ["random", "clustered"])
@pytest.mark.parametrize("arm", SPARSE)
def test_sparse_arms_work_on_the_same_inputs_and_weights(arm, graph):
    case = Case(**{**vars(CASE), "graph": graph})
    ours, found = arms.attention(OURS, case)(), arms.attention(arm, case)()
    assert [grad.shape for grad in found] == [grad.shape for grad in ours]
    torch.testing.assert_close(found, ours, rtol=1e-4, atol=1e-4)


def test_transformer_conv_trains_as_many_weights():
    ours, found = arms.attention(OURS, CASE)(), arms.attention("TransformerConv", CASE)()
    assert sorted(tuple(grad.shape) for grad in found) == sorted(tuple(grad.shape) for grad in ours)


def test_a_step_can_be_repeated_and_leaves_the_global_stream_alone():
    before = torch.random.get_rng_state()
    step = arms.attention(OURS, CASE)
    torch.testing.assert_close(step(), step())
    assert torch.equal(torch.random.get_rng_state(), before)


def test_another_seed_is_another_input():
    first, second = (arms.attention(OURS, Case(**{**vars(CASE), "seed": seed}))()[0] for seed in (0, 1))
    assert not torch.allclose(first, second)


def test_an_arm_with_a_normaliser_uses_it(rng):
    graph = random_graph(CASE.tokens, CASE.neighbors, rng)
    modules = [arms.attention_module(f"{OURS}, {name}", CASE, graph) for name in arms.NORMALIZERS]
    assert [module.normalizer for module in modules] == ["softmax", "sparsemax", "entmax15", 1.3]
    assert all(module.path is None for module in modules)
    assert arms.attention_module(f"{OURS}, gather", CASE, graph).path == "gather"


def test_bare_attention_returns_the_three_gradients_whoever_computes_them():
    assert "TransformerConv" not in arms.bare_attention_arms()
    ours = arms.bare_attention(OURS, CASE)()
    assert [tuple(grad.shape) for grad in ours] == 3 * [(37, 2, 3)]
    assert all(grad.abs().sum() > 0 for grad in ours)
    for arm in arms.bare_attention_arms():
        if arm != "SDPA, all pairs":
            torch.testing.assert_close(arms.bare_attention(arm, CASE)(), ours, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("arm", arms.NORMALIZERS)
def test_a_normalisers_gradient_sums_to_zero_in_each_row(arm):
    (grad,) = arms.normalizer(arm, CASE)()
    rows = grad.view(CASE.tokens, CASE.neighbors, CASE.heads)
    torch.testing.assert_close(rows.sum(1), torch.zeros(CASE.tokens, CASE.heads), rtol=0, atol=1e-5)
    assert grad.abs().sum() > 0


@pytest.mark.parametrize("set_size", [0, 7])
@pytest.mark.parametrize("arm", arms.ENCODERS)
def test_an_encoders_step_trains_it(arm, set_size, monkeypatch):
    made = []
    builder = arms.ENCODERS[arm]
    monkeypatch.setitem(arms.ENCODERS, arm, lambda case: made.append(builder(case)) or made[-1])
    step = arms.encoder(arm, Case(**{**vars(CASE), "set_size": set_size}))
    before = [weight.clone() for weight in made[0].parameters()]
    step()
    moved = [not torch.equal(a, b) for a, b in zip(before, made[0].parameters(), strict=True)]
    assert sum(moved) > 0.7 * len(moved)
    assert all(weight.grad is None for weight in made[0].parameters())


def test_an_unknown_graph_is_named(rng):
    with pytest.raises(ValueError, match=r'"random" or "clustered" \(got \'ring\'\)'):
        arms.make_graph(Case(11, 2, graph="ring"), rng)
