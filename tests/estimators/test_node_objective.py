import pytest
import torch

from structformer.estimators.node_objective import NodeObjective, one_hot
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


def test_one_hot_has_no_ones_where_nothing_is_known():
    assert one_hot(torch.tensor([2, -1, 0]), 3).tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 0]]


def test_half_of_many_labels_is_hidden_in_turn(rng):
    recorder, tokens, known = Recorder(), nodes(rng), target(23) >= 0
    objective = NodeObjective(target(23), CLASSES, None, seed=0)
    assert not objective.few
    objective.prepare(recorder, tokens)
    for _ in range(5):
        objective(recorder, tokens)
    # The first look is that of the untrained model, at all known labels.
    assert torch.equal(recorder.seen.pop(0), known)
    seen = torch.stack(recorder.seen)
    assert (seen.sum(1) == 11).all()
    assert not seen[:, ~known].any()
    assert len({tuple(row.tolist()) for row in seen}) > 1
    again = Recorder()
    other = NodeObjective(target(23), CLASSES, None, seed=0)
    other.prepare(again, tokens)
    again.seen.clear()
    for _ in range(5):
        other(again, tokens)
    assert torch.equal(torch.stack(again.seen), seen)


def test_few_labels_all_stay_visible_and_spread_as_at_first(rng):
    recorder, tokens = Recorder(), nodes(rng)
    objective = NodeObjective(target(7), CLASSES, None, seed=0)
    assert objective.few
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
    objective = NodeObjective(target(7), CLASSES, None, seed=0)
    objective.prepare(fresh, tokens)
    spread = fresh.eval()(tokens, one_hot(target(7), CLASSES)).spread
    assert torch.equal(objective.teacher[:7], one_hot(target(7), CLASSES)[:7])
    torch.testing.assert_close(objective.teacher.sum(1), torch.ones(31))
    assert objective.teacher[7:].amax(1).mean() > spread[7:].amax(1).mean() + 0.05


def test_the_teacher_leaves_classes_their_shares():
    objective = NodeObjective(torch.tensor([0] * 6 + [1, -1, -1, -1]), 2, None, seed=0)
    found = objective._taught(torch.tensor([[0.5, 0.5], [0.2, 0.8]])[[0] * 7 + [0, 0, 1]])[7:]
    torch.testing.assert_close(found[:, 1], torch.tensor([0.5, 0.5, 0.64 / 0.68]))


@pytest.mark.parametrize(("each", "held"), [(1, 0.5), (4, 0.2)])
def test_the_fewer_labels_the_more_the_teacher_holds_to_the_beginning(rng, monkeypatch, each, held):
    tokens, fresh = nodes(rng), model()
    objective = NodeObjective(target(CLASSES * each), CLASSES, None, seed=0)
    objective.prepare(fresh, tokens)
    first, uniform = objective.teacher, torch.full((31, CLASSES), 1 / CLASSES)
    monkeypatch.setattr(objective, "_taught", lambda spread: uniform)
    for _ in range(150):
        objective(fresh, tokens)
    torch.testing.assert_close(objective.teacher, held * first + (1 - held) * uniform)


@pytest.mark.parametrize("known", [7, 23])
def test_weights_of_classes_count_where_labels_are_fitted(rng, known):
    tokens, fresh = nodes(rng), model().eval()
    plain, weighted = (
        NodeObjective(target(known), CLASSES, weight, seed=0)
        for weight in (None, torch.tensor([1.0, 5.0, 1.0]))
    )
    with torch.no_grad():
        fresh.head.bias.copy_(torch.tensor([1.0, -1.0, 0.0]))
    plain.prepare(fresh, tokens)
    weighted.prepare(fresh, tokens)
    differs = not torch.isclose(plain(fresh, tokens), weighted(fresh, tokens))
    assert differs == (known == 23)


@pytest.mark.parametrize("known", [7, 23])
def test_what_the_encoder_adds_is_part_of_the_loss(rng, known, monkeypatch):
    tokens, fresh, losses = nodes(rng), model().eval(), []
    for _ in range(2):
        objective = NodeObjective(target(known), CLASSES, None, seed=0)
        objective.prepare(fresh, tokens)
        losses.append(objective(fresh, tokens))
        monkeypatch.setattr(Encoded, "loss", property(lambda encoded: encoded.tokens.new_tensor(7.0)))
    torch.testing.assert_close(losses[1], losses[0] + 7)
