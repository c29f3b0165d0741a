import math

import torch

from structformer.estimators.node_many_labels import PASSES, PRIOR, ManyLabels, agreement, squares
from structformer.estimators.node_objective import one_hot
from structformer.models import NodeModel, ReSSFormerConfig, TokenInput
from structformer.models.encoder import Encoded

CLASSES = 3


def test_half_of_the_labels_is_hidden_in_turn(nodes, recorder, labelled):
    model, known = recorder(), labelled(23) >= 0
    objective = ManyLabels(labelled(23), CLASSES, None, seed=0)
    objective.prepare(model, nodes)
    for _ in range(5):
        objective(model, nodes)
    seen = torch.stack(model.seen)
    assert len(seen) == 5 * PASSES
    assert (seen.sum(1) == 11).all()
    assert not seen[:, ~known].any()
    assert len({tuple(row.tolist()) for row in seen}) > 1
    again = recorder()
    other = ManyLabels(labelled(23), CLASSES, None, seed=0)
    other.prepare(again, nodes)
    for _ in range(5):
        other(again, nodes)
    assert torch.equal(torch.stack(again.seen), seen)


def test_looks_are_held_to_what_they_say_together():
    looks = torch.tensor([[[0.9, 0.1], [0.5, 0.5]], [[0.5, 0.5], [0.5, 0.5]]]).double()
    together = torch.tensor([0.49, 0.09]).double() / (0.49 + 0.09)
    sure = 1 + float((together * together.log()).sum()) / math.log(2)
    # The second node is not spoken of at all: nothing sure is said of it.
    expected = -sure * (together * looks[:, 0].log()).sum() / 4
    torch.testing.assert_close(agreement(looks.log()), expected)
    certain = torch.tensor([[[20.0, -20.0]], [[20.0, -20.0]]])
    assert agreement(certain.log_softmax(-1)).abs() < 1e-6


def test_what_they_say_together_is_no_way_to_cheat():
    logits = torch.tensor([[[0.9, 0.1]], [[0.5, 0.5]]]).double().log().requires_grad_()
    (grad,) = torch.autograd.grad(agreement(logits.log_softmax(-1)), logits)
    together = torch.tensor([0.49, 0.09]).double() / (0.49 + 0.09)
    sure = 1 + (together * together.log()).sum() / math.log(2)
    # That of a cross-entropy whose target stays as it is.
    torch.testing.assert_close(grad, sure * (logits.detach().exp() - together) / 2)


def test_squares_are_of_the_weights_of_linear_maps():
    part = torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.LayerNorm(1), torch.nn.Linear(1, 1))
    with torch.no_grad():
        part[0].weight.copy_(torch.tensor([[1.0, 2.0]]))
        part[2].weight.fill_(3.0)
    assert squares(part) == 14


def test_no_map_is_free_of_the_prior():
    """Else a network learns its labels by heart in what costs nothing."""
    tokens = TokenInput(2, bins=[[0.0, 0.5, 1.0], [0.0, 0.5, 1.0]])
    network = NodeModel(tokens, CLASSES, ReSSFormerConfig(width=16, heads=2))
    before = squares(network)
    with torch.no_grad():
        network.encoder.blocks[0].experts.outer.weight.add_(1.0)
        between = squares(network)
        network.embedding.numeric.linear0.weight.add_(1.0)
    assert before + 1 < between < squares(network) - 1


def test_the_loss_is_the_sum_of_its_parts(nodes, recorder, labelled):
    fresh = recorder().eval()
    with torch.no_grad():
        fresh.head.weight.normal_()
    objective = ManyLabels(labelled(23), CLASSES, None, seed=0)
    objective.prepare(fresh, nodes)
    found = objective(fresh, nodes)
    again, fits, looks = torch.Generator().manual_seed(0), [], []
    for _ in range(PASSES):
        order = torch.randperm(23, generator=again)
        visible = one_hot(labelled(23), CLASSES).index_fill(0, order[:12], 0.0)
        out = fresh(nodes, visible)
        fits += [
            torch.nn.functional.cross_entropy(logits[place], labelled(23)[place])
            for logits, place in ((out.outputs, order[:12]), (out.read, torch.arange(23)))
        ]
        looks.append(out.read.log_softmax(-1))
    expected = sum(fits) / PASSES + agreement(torch.stack(looks)) + PRIOR / 23 / 2 * squares(fresh)
    torch.testing.assert_close(found, expected)


def test_weights_of_classes_count(nodes, recorder, labelled):
    fresh = recorder().eval()
    plain, weighted = (
        ManyLabels(labelled(23), CLASSES, weight, seed=0) for weight in (None, torch.tensor([1.0, 5.0, 1.0]))
    )
    with torch.no_grad():
        fresh.head.bias.copy_(torch.tensor([1.0, -1.0, 0.0]))
    plain.prepare(fresh, nodes)
    weighted.prepare(fresh, nodes)
    assert not torch.isclose(plain(fresh, nodes), weighted(fresh, nodes))


def test_what_the_encoder_adds_is_part_of_the_loss(nodes, recorder, labelled, monkeypatch):
    fresh, losses = recorder().eval(), []
    for _ in range(2):
        objective = ManyLabels(labelled(23), CLASSES, None, seed=0)
        objective.prepare(fresh, nodes)
        losses.append(objective(fresh, nodes))
        monkeypatch.setattr(Encoded, "loss", property(lambda encoded: encoded.tokens.new_tensor(7.0)))
    torch.testing.assert_close(losses[1], losses[0] + 7)
