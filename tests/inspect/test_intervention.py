import pytest
import torch

from structformer.graph import TokenGraph
from structformer.inspect.intervention import edited, recorded, strongest, without
from structformer.models import ReSSFormer, ReSSFormerConfig, SOESEncoder, SOESEncoderConfig
from structformer.nn.soes import SOES

PTR = torch.tensor([0, 5, 19])


def graph(weights=(0.1, 0.6, 0.3, 0.5, 0.5, 1.0)):
    index = torch.tensor([[0, 1, 2, 0, 2, 2], [0, 0, 0, 1, 1, 2]])
    return TokenGraph.from_edge_index(index, 3, torch.tensor(weights, dtype=torch.float64))


def layers(model):
    return [module for module in model.modules() if isinstance(module, SOES)]


@pytest.mark.parametrize(
    ("share", "loops", "chosen"),
    [
        (0.25, False, [1]),
        (0.3, False, [1, 3]),
        (1.0, False, [1, 2, 3, 4]),
        (0.3, True, [1, 5]),
        (1.0, True, range(6)),
    ],
)
def test_the_strongest_are_taken_and_loops_left_out(share, loops, chosen):
    taken = strongest(graph(), graph().weight, share, loops)
    assert taken.nonzero().flatten().tolist() == list(chosen)


def test_what_is_left_weighs_what_all_did():
    left = without(graph(), torch.tensor([False, True, False, True, True, False]))
    assert left.col.tolist() == [0, 2, 2]
    assert left.rowptr.tolist() == [0, 2, 2, 3]
    torch.testing.assert_close(left.weight, torch.tensor([0.25, 0.75, 1.0], dtype=torch.float64))


def test_marks_and_sets_stay_with_their_edges():
    whole = graph()
    whole.given, whole.ptr = torch.tensor([False, True, False, True, False, False]), torch.tensor([0, 3])
    left = without(whole, torch.tensor([True, False, False, True, False, False]))
    assert left.given.tolist() == [True, False, False, False]
    assert left.ptr.tolist() == [0, 3]


@pytest.mark.parametrize("neighbors", [3, 20], ids=["searched", "complete"])
@pytest.mark.parametrize("kind", ["soes", "ressformer"])
def test_every_step_is_edited_by_the_edges_that_were_seen(rng, kind, neighbors):
    """Where all tokens of a set are linked, later steps weigh the edges of the first anew."""
    model, h = encoder(kind, neighbors), torch.randn(19, 8, generator=rng, dtype=torch.float64)
    with recorded([model], layers(model)) as seen:
        plain = model(h, PTR)
    assert [len(call) for call in seen] == [3]
    chosen = [strongest(graph, graph.mean_weight(), 0.4) for graph in seen[0]]
    asked = []

    def edit(call, step, learned):
        asked.append((call, step))
        assert torch.equal(learned.col, seen[call][step].col)
        return without(learned, chosen[step])

    with edited([model], layers(model), seen, edit):
        changed = model(h, PTR)
    assert asked == [(0, 0), (0, 1), (0, 2)]
    for before, after, removed in zip(plain.graphs, changed.graphs, chosen, strict=True):
        assert torch.equal(after.col, before.col[~removed])
    assert (plain.tokens - changed.tokens).abs().max() > 1e-3
    again = model(h, PTR)
    assert torch.equal(again.tokens, plain.tokens)


def test_each_time_a_network_is_asked_has_edges_of_its_own(rng):
    model = encoder("soes", 3)
    first, second = torch.randn(2, 19, 8, generator=rng, dtype=torch.float64)
    with recorded([model], layers(model)) as seen:
        plain = [model(first, PTR).tokens, model(second, PTR).tokens]
    assert len(seen) == 2
    assert not torch.equal(seen[0][0].col, seen[1][0].col)
    with edited([model], layers(model), seen, lambda call, step, graph: graph):
        found = [model(first, PTR).tokens, model(second, PTR).tokens]
    torch.testing.assert_close(found, plain, rtol=0, atol=1e-12)


def test_a_step_more_weighs_the_edges_of_the_last(rng):
    model, h = encoder("ressformer", 3), torch.randn(19, 8, generator=rng, dtype=torch.float64)
    with recorded([model], layers(model)) as seen:
        model(h, PTR, steps=2)
    with edited([model], layers(model), seen, lambda call, step, graph: graph):
        graphs = model(h, PTR, steps=3).graphs
    assert torch.equal(graphs[1].col, graphs[2].col)
    assert not torch.equal(graphs[0].col, graphs[1].col)


@pytest.mark.parametrize("neighbors", [3, 20], ids=["searched", "complete"])
def test_an_edit_that_changes_nothing_changes_nothing(rng, neighbors):
    model, h = encoder("soes", neighbors), torch.randn(19, 8, generator=rng, dtype=torch.float64)
    with recorded([model], layers(model)) as seen:
        plain = model(h, PTR).tokens
    with edited([model], layers(model), seen, lambda call, step, graph: without(graph, graph.row < 0)):
        found = model(h, PTR).tokens
    torch.testing.assert_close(found, plain, rtol=0, atol=1e-12)


def test_given_edges_keep_what_is_thought_of_them(rng):
    model, h = encoder("soes", 3), torch.randn(19, 8, generator=rng, dtype=torch.float64)
    with recorded([model], layers(model)) as seen:
        known = model(h, PTR).graphs[0]
    weighed = known.with_weight(torch.rand(known.num_edges, generator=rng, dtype=torch.float64) + 0.1)
    with recorded([model], layers(model)) as seen:
        plain = model(h, PTR, graph=weighed).tokens
    with edited([model], layers(model), seen, lambda call, step, graph: graph):
        found = model(h, PTR, graph=weighed).tokens
    torch.testing.assert_close(found, plain, rtol=0, atol=1e-12)


def test_a_context_that_fails_leaves_no_edit_behind():
    model = encoder("soes", 3)
    with (
        pytest.raises(RuntimeError, match="stop"),
        recorded([model], layers(model)) as seen,
        edited([model], layers(model), seen, lambda call, step, graph: graph),
    ):
        raise RuntimeError("stop")
    modules = [model, *layers(model)]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in modules)


def encoder(kind, neighbors):
    config = {"width": 8, "heads": 2, "affinity": 4, "steps": 3, "neighbors": neighbors, "dropout": 0.0}
    model = (
        SOESEncoder(SOESEncoderConfig(**config)) if kind == "soes" else ReSSFormer(ReSSFormerConfig(**config))
    )
    return model.double().eval()
