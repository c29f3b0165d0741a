import numpy as np
import pytest
from structformer.tasks.baselines.paragraphs import OverlapRanker, TfidfRanker

TEXTS = [
    "Kansas Song is the fight song of the university of Kansas.",
    "The Kansas City area is a metropolitan area.",
    "Fish swim in the sea.",
]


def test_tfidf_ranks_by_rare_words_in_common():
    ranker = TfidfRanker(TEXTS)
    scores = ranker.scores("What is the fight song of Kansas?", TEXTS)
    assert scores.argsort().tolist() == [2, 1, 0]
    assert scores[2] == 0
    np.testing.assert_allclose(ranker.scores("Fish", TEXTS[::-1])[::-1], ranker.scores("Fish", TEXTS))


@pytest.mark.parametrize("name", ["linear", "boosted"])
def test_overlap_is_learned(name):
    draw = np.random.default_rng(0)
    x = draw.normal(size=(400, 3))
    needed = x[:, 1] > 0.3
    ranker = OverlapRanker(name).fit(x[:300], needed[:300])
    scores = ranker.scores(x[300:])
    assert scores[needed[300:]].min() > np.median(scores[~needed[300:]])
    assert ((scores > 0.5) == needed[300:]).mean() > 0.9


def test_names_are_checked():
    with pytest.raises(ValueError, match="name must be linear or boosted"):
        OverlapRanker("forest")
