import numpy as np
import pytest
from structformer.datasets import Question
from structformer.tasks.evidence import QUICK
from structformer.tasks.evidence_data import evidence, rarity
from structformer.tasks.evidence_folds import Division, Item
from structformer.tasks.evidence_rankers import first_two, found, rival

TITLES = ("Paris", "Lima", "Oslo", "Quito")
SAID = (("Paris is near Quito.",), ("Lima has a bridge.",), ("Oslo is big.",), ("Quito has a river.",))
QUESTIONS = [
    Question(str(number), "What river has the town that Paris is near to?", "?", TITLES, SAID, (0, 3))
    for number in range(4)
]
RARE = rarity(QUESTIONS)
ITEMS = tuple(Item(one, evidence(one, RARE)) for one in QUESTIONS)


def test_the_first_two_are_those_of_the_highest_scores_and_of_equals_the_first():
    assert first_two(np.array([0.0, 2.0, 1.0, 2.0])) == {1, 3}
    assert first_two(np.zeros(4)) == {0, 1}
    assert found(np.array([1.0, 0.0, 0.0, 2.0]), ITEMS[0]) == 1
    assert found(np.array([1.0, 2.0, 0.0, 0.0]), ITEMS[0]) == 0.5


@pytest.mark.parametrize(
    "options",
    [{"name": "bm25"}, {"name": "tf-idf"}, {"name": "linear", "links": True}],
    ids=lambda one: one["name"],
)
def test_rivals_rank_the_paragraphs_wherever_they_stand(options):
    judge, chosen, size = rival(QUICK, dict(options), Division(ITEMS, ITEMS, 4), 0)
    assert (chosen, size) == (None, 0)
    order = np.array([2, 3, 1, 0])
    before, after = judge(ITEMS, None), judge(ITEMS, [order] * 4)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_allclose(other, one[order])
    assert found(before[0], ITEMS[0]) >= 0.5
