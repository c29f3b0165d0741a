import math

import numpy as np
import pytest
from structformer.datasets import Question
from structformer.tasks.evidence_data import (
    FEATURES,
    LINKS,
    Rarity,
    bm25,
    cosine,
    evidence,
    rarity,
    stems,
    tfidf,
)
from structformer.tasks.evidence_scaling import Scaling, with_links, within

QUESTION = Question(
    "q",
    "What is the fight song of the university whose campus is in Lawrence, Kansas since 1865?",
    "Kansas Song",
    ("Lawrence", "Kansas Song", "University of Kansas", "Fish (animal)"),
    (
        ("Lawrence is a city.",),
        ("Kansas Song is a fight song of the University of Kansas.",),
        (
            "The University of Kansas is a university with its main campus in Lawrence, Kansas.",
            " It began in 1865.",
        ),
        ("A fish swims.", " It lives in the sea."),
    ),
    (1, 2),
)


def figures(question=QUESTION):
    found = evidence(question, rarity([question]))
    return found, {name: found.x[:, place] for place, name in enumerate(FEATURES)}


def test_what_a_paragraph_has_of_the_question():
    _, by = figures()
    assert by["bm25"].argmin() == 3
    assert by["title in question"].tolist() == pytest.approx([1, 1, 1, 0])
    assert by["title said in question"].tolist() == [1, 0, 0, 0]
    assert by["numbers in common"].tolist() == [0, 0, 1, 0]
    assert by["names in common"].tolist() == [0.5, 0.5, 1, 0]
    assert by["bm25 of the first sentence"][3] == 0


def test_bm25_by_hand():
    rare = Rarity.of([("a", "b"), ("a", "c", "c", "d"), ("e", "e", "e")])
    assert rare("a") == pytest.approx(math.log(1.5 / 2.5 + 1))
    scale = 1.2 * (0.25 + 0.75 * 4 / 3)
    expected = rare("a") * 2.2 / (1 + scale) + rare("c") * 2 * 2.2 / (2 + scale)
    assert bm25(("a", "c", "c", "z"), ("a", "c", "c", "d"), rare) == pytest.approx(expected)


def test_a_text_is_most_like_itself():
    rare = Rarity.of([("a", "b"), ("b", "c")])
    a, b = tfidf(("a", "b"), rare), tfidf(("b", "c"), rare)
    assert cosine(a, a) == pytest.approx(1)
    assert 0 < cosine(a, b) < 0.5
    assert cosine(a, {}) == 0


def test_links_go_from_who_names_to_who_is_named():
    found, _ = figures()
    names = found.links[..., LINKS.index("j names i")]
    # Lawrence and the university are named by others; their names without what stands in brackets.
    assert names.nonzero()[0].tolist() == [0, 2]
    assert names.nonzero()[1].tolist() == [2, 1]
    np.testing.assert_array_equal(found.links[..., LINKS.index("i names j")], names.T)
    alike = found.links[..., LINKS.index("cosine")]
    np.testing.assert_allclose(alike, alike.T)
    assert (found.links[np.arange(4), np.arange(4)] == 0).all()
    assert found.supporting.tolist() == [False, True, True, False]


def test_the_order_of_the_paragraphs_moves_the_figures_along():
    order = [2, 0, 3, 1]
    moved = Question(
        "q",
        QUESTION.question,
        QUESTION.answer,
        tuple(QUESTION.titles[place] for place in order),
        tuple(QUESTION.paragraphs[place] for place in order),
        (0, 3),
    )
    plain, (again, _) = figures()[0].permuted(order), figures(moved)
    np.testing.assert_array_equal(plain.x, again.x)
    np.testing.assert_array_equal(plain.links, again.links)
    np.testing.assert_array_equal(plain.supporting, again.supporting)


def test_rarity_is_of_the_questions_it_is_given_alone():
    other = Question("o", "", "", ("Zebra",), (("A zebra has stripes.",),), (0,))
    assert rarity([QUESTION]).counts["zebra"] == 0
    assert rarity([QUESTION, other]).counts["zebra"] == 1
    assert rarity([QUESTION]).paragraphs == 4
    assert stems("The Zebras' stripes") == stems("the zebra stripe")


def test_scaled_figures_have_mean_0_and_who_names_whom_stays():
    found, _ = figures()
    scale = Scaling.of([found])
    scaled = scale(found)
    np.testing.assert_allclose(scaled.x.mean(0), 0, atol=1e-6)
    assert scaled.x.shape == within(found).shape
    np.testing.assert_array_equal(scaled.links[..., 0], found.links[..., 0])
    assert abs(scaled.links[..., 2][~np.eye(4, dtype=bool)].mean()) < 1e-9


def test_figures_with_links_see_who_names_a_paragraph():
    found, _ = figures()
    count = within(found).shape[1]
    assert with_links(found)[:, count].tolist() == [1, 0, 1, 0]
    order = [3, 1, 0, 2]
    np.testing.assert_array_equal(with_links(found.permuted(order)), with_links(found)[order])
