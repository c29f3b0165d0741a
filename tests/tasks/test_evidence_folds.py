import pytest
import torch
from structformer.datasets import Question
from structformer.tasks import evidence_folds
from structformer.tasks.evidence_folds import division, shuffles, texts

TITLES = ("Paris", "Lima", "Oslo")


def question(number: int, supporting=(0, 1), titles=TITLES) -> Question:
    said = tuple((f"{title} is {number}.", " It is old.") for title in titles)
    return Question(str(number), f"How old is Paris {number}?", "old", titles, said, supporting)


@pytest.fixture
def known(monkeypatch):
    odd = [question(100, supporting=()), question(101, titles=TITLES[:2])]
    monkeypatch.setattr(
        evidence_folds, "hotpotqa", lambda: [*odd, *(question(number) for number in range(7))]
    )
    division.cache_clear()
    yield
    division.cache_clear()


@pytest.mark.usefixtures("known")
def test_every_question_with_evidence_among_others_is_tested_once():
    parts = [division(None, 3, 0, fold) for fold in range(3)]
    tested = [int(item.question.name) for part in parts for item in part.tested]
    assert sorted(tested) == list(range(7))
    for part in parts:
        assert part.questions == len(part.learned) + len(part.tested) == 7
    assert division(4, 2, 0, 0).questions == 4


@pytest.mark.usefixtures("known")
def test_the_seed_decides_the_folds():
    def names(seed: int) -> list[str]:
        return [item.question.name for item in division(None, 2, seed, 0).tested]

    assert names(0) == names(0)
    assert any(names(seed) != names(0) for seed in (1, 2, 3))


@pytest.mark.usefixtures("known")
def test_paragraphs_are_texts_and_their_orders_permutations():
    part = division(None, 2, 0, 0)
    assert texts(question(3))[1] == "Lima. Lima is 3.  It is old."
    orders = shuffles(part.tested, 5, 6)
    assert all(sorted(order.tolist()) == [0, 1, 2] for order in orders)
    again = shuffles(part.tested, 5, 6)
    assert all(
        torch.equal(torch.from_numpy(a), torch.from_numpy(b)) for a, b in zip(orders, again, strict=True)
    )
