import pytest
import torch

from structformer.estimators.node_few_labels import FewLabels
from structformer.estimators.node_objective import one_hot
from structformer.models.encoder import Encoded

CLASSES = 3


def test_few_labels_all_stay_visible_and_spread_as_at_first(nodes, recorder, labelled):
    model = recorder()
    objective = FewLabels(labelled(7), CLASSES, None, seed=0)
    objective.prepare(model, nodes)
    first = model.eval()(nodes, one_hot(labelled(7), CLASSES)).spread
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    losses = []
    for _ in range(30):
        loss = objective(model.train(), nodes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert all(torch.equal(seen, labelled(7) >= 0) for seen in model.seen)
    assert losses[-1] < losses[0] - 0.02
    out = model.eval()(nodes, one_hot(labelled(7), CLASSES))
    unknown = labelled(7) < 0
    sure = unknown & ((first.topk(2).values[:, 0] - first.topk(2).values[:, 1]) > 0.2)
    assert sure.sum() > 3
    assert torch.equal(out.spread[sure].argmax(1), first[sure].argmax(1))
    same = out.read[sure].argmax(1) == first[sure].argmax(1)
    assert same.double().mean() > 0.8, "the encoder learns to say the same"


def test_the_teacher_is_right_where_labels_are_known_and_surer_than_what_spreads(nodes, recorder, labelled):
    fresh = recorder()
    objective = FewLabels(labelled(7), CLASSES, None, seed=0)
    objective.prepare(fresh, nodes)
    spread = fresh.eval()(nodes, one_hot(labelled(7), CLASSES)).spread
    assert torch.equal(objective.teacher[:7], one_hot(labelled(7), CLASSES)[:7])
    torch.testing.assert_close(objective.teacher.sum(1), torch.ones(31))
    assert objective.teacher[7:].amax(1).mean() > spread[7:].amax(1).mean() + 0.05


def test_the_teacher_leaves_classes_their_shares():
    objective = FewLabels(torch.tensor([0] * 6 + [1, -1, -1, -1]), 2, None, seed=0)
    found = objective._taught(torch.tensor([[0.5, 0.5], [0.2, 0.8]])[[0] * 7 + [0, 0, 1]])[7:]
    torch.testing.assert_close(found[:, 1], torch.tensor([0.5, 0.5, 0.64 / 0.68]))


@pytest.mark.parametrize(("each", "held"), [(1, 0.5), (4, 0.2)])
def test_the_fewer_labels_the_more_the_teacher_holds_to_the_beginning(
    nodes, recorder, labelled, monkeypatch, each, held
):
    fresh = recorder()
    objective = FewLabels(labelled(CLASSES * each), CLASSES, None, seed=0)
    objective.prepare(fresh, nodes)
    first, uniform = objective.teacher, torch.full((31, CLASSES), 1 / CLASSES)
    monkeypatch.setattr(objective, "_taught", lambda spread: uniform)
    for _ in range(150):
        objective(fresh, nodes)
    torch.testing.assert_close(objective.teacher, held * first + (1 - held) * uniform)


def test_what_the_encoder_adds_is_part_of_the_loss(nodes, recorder, labelled, monkeypatch):
    fresh, losses = recorder().eval(), []
    for _ in range(2):
        objective = FewLabels(labelled(7), CLASSES, None, seed=0)
        objective.prepare(fresh, nodes)
        losses.append(objective(fresh, nodes))
        monkeypatch.setattr(Encoded, "loss", property(lambda encoded: encoded.tokens.new_tensor(7.0)))
    torch.testing.assert_close(losses[1], losses[0] + 7)
