from dataclasses import replace

import numpy as np
import pytest
import torch
from structformer.datasets import Question
from structformer.tasks import evidence as task
from structformer.tasks import evidence_folds, evidence_rankers
from structformer.tasks.evidence import ARMS, QUICK, EvidenceSettings, run
from structformer.tasks.evidence_folds import division
from structformer.tasks.training import TrainingSettings

PLACES = ("paris", "lima", "oslo", "cairo", "delhi", "quito", "accra", "hanoi")
TINY = replace(
    QUICK,
    questions=None,
    training=TrainingSettings(updates=30, learning_rate=1e-2),
    looks=1,
    shuffles=40,
    workers=0,
)
NETWORKS = tuple(name for name, arm in ARMS.items() if arm.options["name"] in task.NETWORKS)


def drawn(number):
    """A question about a place; needed are the paragraph named so and the one that it names."""
    draw = np.random.default_rng(number)
    names = [f"{place}{draw.integers(1000)}" for place in draw.permutation(PLACES)[:5]]
    about, bridge = names[:2]
    texts = [
        (f"It is near {bridge}.",),
        ("It has a river.",),
        ("It has a bridge.",),
        ("It is old.",),
        ("It is big.",),
    ]
    order = draw.permutation(5)
    return Question(
        str(number),
        f"What river has the town that {about} is near to?",
        "?",
        tuple(names[place].title() for place in order),
        tuple(texts[place] for place in order),
        tuple(place for place, name in enumerate(order) if name < 2),
    )


@pytest.fixture
def questions(monkeypatch):
    """Easy questions, two without evidence among them."""
    found = tuple(drawn(number) for number in range(40))
    empty = tuple(replace(one, supporting=()) for one in found[:2])
    monkeypatch.setattr(evidence_folds, "hotpotqa", lambda: (*found, *empty))
    division.cache_clear()
    yield found
    division.cache_clear()


def test_a_run_has_a_row_an_arm_and_is_taken_up_where_it_ended(questions, tmp_path, monkeypatch):
    arms = ("tf-idf", "bm25", "overlap and links, boosted trees", "transformer, rotary", "soes")
    settings = replace(TINY, arms=arms)
    rows = {row["arm"]: row for row in run(True, 1, settings, tmp_path)}
    assert list(rows) == list(arms)
    assert rows["soes"]["mean"] > 90
    assert rows["overlap and links, boosted trees"]["mean"] >= 50
    assert rows["soes"]["changed"] == 0
    assert rows["soes"]["largest difference"] < 1e-9
    assert rows["transformer, rotary"]["largest difference"] > 1e-3
    monkeypatch.setattr(task, "measure", lambda *_: 1 / 0)
    assert list(rows.values()) == run(True, 1, settings, tmp_path)


@pytest.mark.parametrize("arm", NETWORKS)
def test_every_network_learns(questions, arm):
    part = division(None, 2, 0, 0)
    judge, _, size = task.network(TINY, dict(ARMS[arm].options), part, 0)
    scores = judge(part.tested, None)
    assert np.mean([task.found(score, item) for score, item in zip(scores, part.tested, strict=True)]) > 0.6
    assert size > 1_000


def test_folds_are_disjoint_complete_and_the_same_for_all_arms(questions):
    parts = [division(None, 4, 3, fold) for fold in range(4)]
    tested = [{item.question.name for item in part.tested} for part in parts]
    assert sum(map(len, tested)) == len(set.union(*tested)) == len(questions)
    for part, names in zip(parts, tested, strict=True):
        learned = {item.question.name for item in part.learned}
        assert not names & learned
        assert len(names | learned) == len(questions)
    assert division(None, 4, 4, 0).tested[0] != parts[0].tested[0]


@pytest.mark.parametrize("arm", ["soes", "overlap and links, logistic regression", "tf-idf"])
def test_what_is_right_for_tested_questions_has_no_part_in_it(questions, arm, monkeypatch):
    options = ARMS[arm].options
    fit = task.network if options["name"] in task.NETWORKS else task.rival

    def scores():
        division.cache_clear()
        part = division(None, 2, 0, 0)
        return part, np.concatenate(fit(TINY, dict(options), part, 0)[0](part.tested, None))

    part, before = scores()
    tested = {item.question.name for item in part.tested}
    others = tuple(replace(one, supporting=(0, 1)) if one.name in tested else one for one in questions)
    monkeypatch.setattr(evidence_folds, "hotpotqa", lambda: others)
    np.testing.assert_array_equal(scores()[1], before)


def test_networks_are_chosen_by_questions_that_they_have_not_learned(questions, monkeypatch):
    seen, held = [], []
    real = evidence_rankers.listwise
    monkeypatch.setattr(
        evidence_rankers,
        "listwise",
        lambda net, learned, *rest: seen.append(len(learned)) or real(net, learned, *rest),
    )
    monkeypatch.setattr(
        evidence_rankers, "_right", lambda net, scale, links, items: held.append(items) or 0.0
    )
    part = division(None, 2, 0, 0)
    task.network(replace(TINY, members=4), dict(ARMS["soes"].options), part, 0)
    assert seen == [15] * 4
    names = [{item.question.name for item in items} for items in held]
    assert sum(map(len, names)) == len(set.union(*names)) == len(part.learned) == 20


def test_settings_are_checked():
    with pytest.raises(ValueError, match=r"arms must be among .* \(got lstm\)"):
        EvidenceSettings(arms=("lstm",))
    with pytest.raises(ValueError, match=r"folds must be at least 2 \(got 1\)"):
        EvidenceSettings(folds=1)
    with pytest.raises(ValueError, match=r"members must be at least 2 \(got 1\)"):
        EvidenceSettings(members=1)
    with pytest.raises(ValueError, match="seeds must be at least 1"):
        run(True, 0, TINY)


def test_real_questions(data_folder, monkeypatch):
    monkeypatch.setenv("STRUCTFORMER_DATA", str(data_folder))
    division.cache_clear()
    part = division(None, 5, 0, 0)
    assert part.questions == 421
    assert [len(some) for some in (part.learned, part.tested)] == [336, 85]
    assert all(item.question.supporting for item in part.tested)
    torch.manual_seed(0)
    judge, _, _ = task.rival(EvidenceSettings(), {"name": "bm25"}, part, 0)
    scores = judge(part.tested, None)
    assert 0.7 < np.mean([task.found(s, item) for s, item in zip(scores, part.tested, strict=True)]) < 0.95
    division.cache_clear()
