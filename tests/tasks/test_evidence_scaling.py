import numpy as np
from structformer.tasks.evidence_data import FEATURES, LINKS, NAMING, Evidence
from structformer.tasks.evidence_scaling import Scaling, with_links, within


def question(paragraphs: int, seed: int) -> Evidence:
    drawn = np.random.default_rng(seed)
    links = drawn.normal(size=(paragraphs, paragraphs, len(LINKS)))
    return Evidence(drawn.normal(size=(paragraphs, len(FEATURES))) * 5 + 3, links, np.zeros(paragraphs, bool))


def test_figures_move_with_their_paragraphs():
    one, order = question(5, 0), [3, 0, 4, 2, 1]
    scale = Scaling.of([one, question(4, 1)])
    for read in (within, with_links, lambda some: scale(some).x):
        np.testing.assert_allclose(read(one.permuted(order)), read(one)[order])
    assert np.array_equal(scale(one.permuted(order)).links, scale(one).links[np.ix_(order, order)])


def test_the_best_of_a_question_falls_short_of_nothing():
    short = within(question(5, 0))[:, len(FEATURES) :]
    assert (short <= 0).all()
    assert (short.max(0) == 0).all()


def test_a_figure_that_never_differs_and_a_lone_paragraph_stay_finite():
    same = question(3, 0)
    same.x[:] = 2.0
    same.links[:] = 0.0
    scale = Scaling.of([same])
    assert np.isfinite(scale(same).x).all()
    assert scale.bins == [[]] * (2 * len(FEATURES))
    alone = question(1, 1)
    assert np.isfinite(with_links(alone)).all()
    assert np.array_equal(Scaling.of([question(4, 2)])(alone).links[..., NAMING], alone.links[..., NAMING])
