import pytest
import torch

from structformer.estimators.node_few_labels import FewLabels
from structformer.estimators.node_objective import one_hot
from structformer.models import NodeModel, SOESEncoderConfig, TokenInput
from structformer.models.encoder import Encoded
from structformer.tokens import TokenSet

CLASSES = 3


def nodes(rng, count=31):
    edges = torch.randint(count, (2, 89), generator=rng)
    return TokenSet(torch.randn(count, 5, generator=rng), edge_index=edges)


def model():
    config = SOESEncoderConfig(width=10, heads=2, neighbors=3, affinity=5, dropout=0.0)
    return NodeModel(TokenInput(5), CLASSES, config)


def target(known):
    return torch.tensor([i % CLASSES if i < known else -1 for i in range(31)])


class Recorder(torch.nn.Module):
    """Takes down which labels the model is shown."""

    def __init__(self):
        super().__init__()
        self.model, self.seen = model(), []

    def links(self, tokens):
        return self.model.links(tokens)

    def forward(self, tokens, labels, links):
        self.seen.append(labels.any(-1))
        return self.model(tokens, labels, links)


def test_few_labels_all_stay_visible_and_spread_as_at_first(rng):
    recorder, tokens = Recorder(), nodes(rng)
    objective = FewLabels(target(7), CLASSES, None, seed=0)
    objective.prepare(recorder, tokens)
    first = recorder.model.eval()(tokens, one_hot(target(7), CLASSES)).spread
    optimizer = torch.optim.Adam(recorder.parameters(), 1e-2)
    losses = []
    for _ in range(30):
        loss = objective(recorder.train(), tokens)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert all(torch.equal(seen, target(7) >= 0) for seen in recorder.seen)
    assert losses[-1] < losses[0] - 0.02
    out = recorder.model.eval()(tokens, one_hot(target(7), CLASSES))
    unknown = target(7) < 0
    sure = unknown & ((first.topk(2).values[:, 0] - first.topk(2).values[:, 1]) > 0.2)
    assert sure.sum() > 3
    assert torch.equal(out.spread[sure].argmax(1), first[sure].argmax(1))
    same = out.read[sure].argmax(1) == first[sure].argmax(1)
    assert same.double().mean() > 0.8, "the encoder learns to say the same"


def test_the_teacher_is_right_where_labels_are_known_and_surer_than_what_spreads(rng):
    tokens, fresh = nodes(rng), model()
    objective = FewLabels(target(7), CLASSES, None, seed=0)
    objective.prepare(fresh, tokens)
    spread = fresh.eval()(tokens, one_hot(target(7), CLASSES)).spread
    assert torch.equal(objective.teacher[:7], one_hot(target(7), CLASSES)[:7])
    torch.testing.assert_close(objective.teacher.sum(1), torch.ones(31))
    assert objective.teacher[7:].amax(1).mean() > spread[7:].amax(1).mean() + 0.05


def test_the_teacher_leaves_classes_their_shares():
    objective = FewLabels(torch.tensor([0] * 6 + [1, -1, -1, -1]), 2, None, seed=0)
    found = objective._taught(torch.tensor([[0.5, 0.5], [0.2, 0.8]])[[0] * 7 + [0, 0, 1]])[7:]
    torch.testing.assert_close(found[:, 1], torch.tensor([0.5, 0.5, 0.64 / 0.68]))


@pytest.mark.parametrize(("each", "held"), [(1, 0.5), (4, 0.2)])
def test_the_fewer_labels_the_more_the_teacher_holds_to_the_beginning(rng, monkeypatch, each, held):
    tokens, fresh = nodes(rng), model()
    objective = FewLabels(target(CLASSES * each), CLASSES, None, seed=0)
    objective.prepare(fresh, tokens)
    first, uniform = objective.teacher, torch.full((31, CLASSES), 1 / CLASSES)
    monkeypatch.setattr(objective, "_taught", lambda spread: uniform)
    for _ in range(150):
        objective(fresh, tokens)
    torch.testing.assert_close(objective.teacher, held * first + (1 - held) * uniform)


def test_what_the_encoder_adds_is_part_of_the_loss(rng, monkeypatch):
    tokens, fresh, losses = nodes(rng), model().eval(), []
    for _ in range(2):
        objective = FewLabels(target(7), CLASSES, None, seed=0)
        objective.prepare(fresh, tokens)
        losses.append(objective(fresh, tokens))
        monkeypatch.setattr(Encoded, "loss", property(lambda encoded: encoded.tokens.new_tensor(7.0)))
    torch.testing.assert_close(losses[1], losses[0] + 7)
