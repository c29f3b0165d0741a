from dataclasses import replace

import pytest
import torch
from structformer.tasks import shuffled_text as task
from structformer.tasks.ledger import Trial
from structformer.tasks.shuffled_text import ARMS, QUICK, in_batches, masked_losses, measure, run, told
from structformer.tasks.shuffled_text_arms import build
from structformer.tasks.shuffled_text_data import ORDERS, Paragraph, Paragraphs, masked
from structformer.tasks.training import TrainingSettings, train

VOCABULARY = 12
TINY = replace(
    QUICK,
    data=("in order",),
    training=TrainingSettings(updates=2),
    looks=1,
    batch=256,
    longest=16,
    paragraphs=None,
    workers=0,
)


def drawn(count, seed):
    """Paragraphs in which every word is followed by the next in number."""
    rng = torch.Generator().manual_seed(seed)
    starts = torch.randint(VOCABULARY - 1, (count,), generator=rng)
    return tuple(
        Paragraph((start + torch.arange(12)) % (VOCABULARY - 1) + 1, (0, 5, 12)) for start in starts.tolist()
    )


@pytest.fixture
def text(monkeypatch):
    """A tiny language in place of the real one."""
    found = Paragraphs(drawn(200, 0), drawn(20, 1), drawn(30, 2), VOCABULARY)
    monkeypatch.setattr(task, "wikitext_paragraphs", lambda vocabulary, longest: found)
    return found


def small(arm):
    options = {**ARMS[arm].options, "width": 32}
    return build(options, VOCABULARY, 2, 0.0)


def test_a_run_has_a_row_an_arm_and_is_taken_up_where_it_ended(text, tmp_path, monkeypatch):
    settings = replace(TINY, arms=("transformer, rotary", "ressformer, no window"), data=ORDERS[:2])
    rows = run(True, 1, settings, tmp_path)
    assert [(row["data"], row["arm"]) for row in rows] == [(d, a) for d in ORDERS[:2] for a in settings.arms]
    for row in rows:
        assert row["drop, words"] == pytest.approx(row["in order"] - row["words shuffled"])
        assert row["drop, sentences"] == pytest.approx(row["in order"] - row["mean"])
    monkeypatch.setattr(task, "measure", lambda *_: 1 / 0)
    assert rows == run(True, 1, settings, tmp_path)


@pytest.mark.parametrize("arm", ARMS)
def test_who_hears_no_order_says_the_same_in_any(text, arm):
    found = measure(TINY, Trial("in order", arm, 0))
    deaf = arm in ("transformer, no positions", "ressformer, no window")
    assert (found["largest difference"] < 1e-9) == deaf
    if deaf:
        assert found["changed, words"] == found["changed, sentences"] == found["drop, words"] == 0
    assert set(task.CARD.figures) <= set(found)


@pytest.mark.parametrize("arm", ["transformer, rotary", "ressformer", "ressformer, directed window"])
def test_who_hears_order_learns_what_follows_what(text, arm):
    torch.manual_seed(0)
    model = small(arm)
    losses = masked_losses(TINY, model, text.train, VOCABULARY, "in order", 0)
    train(model, losses, TrainingSettings(updates=150, learning_rate=1e-2))
    model.eval()
    right = {order: told(model, [masked(text.test, order, 0.15, 5)], VOCABULARY).right for order in ORDERS}
    assert right["in order"] > 75
    assert right["words shuffled"] < right["in order"] - 20


@pytest.mark.parametrize("arm", ARMS)
def test_paragraphs_are_read_the_same_in_any_company(text, arm):
    torch.manual_seed(0)
    model = small(arm).double().eval()
    together = told(model, [masked(text.test, "in order", 0.3, 1)], VOCABULARY)
    batch = masked(text.test, "in order", 0.3, 1)
    shown = batch.words.masked_fill(batch.chosen, VOCABULARY)
    apart = []
    for a, b in zip(batch.ptr.tolist(), batch.ptr.tolist()[1:], strict=False):
        here = batch.chosen[a:b]
        if here.any():
            logits = model(shown[a:b], torch.tensor([0, b - a]), here).logits
            apart.append(logits.softmax(1).gather(1, batch.words[a:b][here][:, None])[:, 0])
    torch.testing.assert_close(torch.cat(apart), together.likely)


def test_hidden_words_are_hidden_from_the_models(text):
    """What a model says may not depend on the words that are to be told."""
    model = small("ressformer, directed window").eval()
    seen = []
    batch = masked(text.test, "in order", 0.3, 1)
    hook = model.embedding.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    told(model, [batch], VOCABULARY)
    hook.remove()
    assert (seen[0][batch.chosen] == VOCABULARY).all()
    assert seen[0][~batch.chosen].equal(batch.words[~batch.chosen])


def test_every_paragraph_is_met_once_in_each_round(text, monkeypatch):
    met = []
    real = task.masked
    monkeypatch.setattr(task, "masked", lambda some, *rest: met.append(len(some)) or real(some, *rest))
    model = small("transformer, rotary")
    losses = masked_losses(TINY, model, text.train, VOCABULARY, "in order", 0)
    for update in range(10):
        losses(update)
    # 256 words hold 21 paragraphs of 12.
    assert met == [21] * 9 + [11]
    assert [len(some) for some in in_batches(text.train, range(200), 256)] == met


def test_arms_are_of_equal_size():
    sizes = {
        arm: sum(weight.numel() for weight in build(ARMS[arm].options, 8_192, 4, 0.1).parameters())
        for arm in ARMS
        if arm != "ressformer, no window"
    }
    usual = sizes["transformer, rotary"]
    assert all(abs(size / usual - 1) < 0.03 for size in sizes.values()), sizes


def test_settings_are_checked():
    with pytest.raises(ValueError, match=r"arms must be among .* \(got lstm\)"):
        replace(TINY, arms=("lstm",))
    with pytest.raises(ValueError, match="data must be among"):
        replace(TINY, data=("backwards",))
    with pytest.raises(ValueError, match="batch must hold a paragraph"):
        replace(TINY, batch=5)
    with pytest.raises(ValueError, match="share must be above 0"):
        replace(TINY, share=0.0)
    with pytest.raises(ValueError, match="seeds must be at least 1"):
        run(True, 0, TINY)
