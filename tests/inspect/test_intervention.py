import pytest
import torch

from structformer.graph import TokenGraph
from structformer.inspect.intervention import edited, strongest, without
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
def test_every_step_is_edited_once_by_its_own_weights(rng, kind, neighbors):
    """Where all tokens of a set are linked, later steps weigh the edges of the first anew."""
    config = {"width": 8, "heads": 2, "affinity": 4, "steps": 3, "neighbors": neighbors, "dropout": 0.0}
    model = (
        SOESEncoder(SOESEncoderConfig(**config)) if kind == "soes" else ReSSFormer(ReSSFormerConfig(**config))
    )
    model = model.double().eval()
    h = torch.randn(19, 8, generator=rng, dtype=torch.float64)
    seen = []

    def edit(learned):
        seen.append(learned)
        return without(learned, strongest(learned, learned.mean_weight(), 0.4))

    plain = model(h, PTR)
    with edited(layers(model), edit):
        changed = model(h, PTR)
    assert len(seen) == 3
    assert [graph.num_edges for graph in seen] == [graph.num_edges for graph in plain.graphs]
    assert all(after.num_edges < before.num_edges for before, after in zip(seen, changed.graphs, strict=True))
    assert (plain.tokens - changed.tokens).abs().max() > 1e-3
    again = model(h, PTR)
    assert torch.equal(again.tokens, plain.tokens)


def test_an_edit_that_changes_nothing_changes_nothing(rng):
    model = SOESEncoder(SOESEncoderConfig(width=8, heads=2, affinity=4, neighbors=20)).double().eval()
    h = torch.randn(19, 8, generator=rng, dtype=torch.float64)
    with edited(
        layers(model), lambda learned: without(learned, torch.zeros_like(learned.row, dtype=torch.bool))
    ):
        found = model(h, PTR)
    torch.testing.assert_close(found.tokens, model(h, PTR).tokens, rtol=0, atol=1e-12)


def test_a_context_that_fails_leaves_no_edit_behind(rng):
    model = SOESEncoder(SOESEncoderConfig(width=8, heads=2, affinity=4)).eval()
    with pytest.raises(RuntimeError, match="stop"), edited(layers(model), lambda graph: graph):
        raise RuntimeError("stop")
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in layers(model))
