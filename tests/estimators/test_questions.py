import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import structformer as sf
from structformer.inspect import evidence_section, reasoning, render_report

PEOPLE, PLACES = ("Mary", "John", "Ann"), ("park", "shop", "yard")
FAST = {"width": 16, "steps": 2, "heads": 2, "neighbors": 4, "random_state": 0}


def moves(count, seed=0):
    """Two moves and a question: where somebody is who moved once."""
    draw = np.random.default_rng(seed)
    asked, answers = [], []
    for _ in range(count):
        people, places = draw.permutation(PEOPLE)[:2], draw.permutation(PLACES)[:2]
        story = [f"{who} went to the {where}." for who, where in zip(people, places, strict=True)]
        which = draw.integers(2)
        asked.append((story, f"Where is {people[which]}?"))
        answers.append(str(places[which]))
    return asked, answers


@pytest.fixture(scope="module")
def model():
    return sf.QuestionAnswerer(**FAST, epochs=40, learning_rate=1e-2, patience=None).fit(*moves(160))


def test_it_learns_to_answer_and_to_look_at_the_right_sentence(model):
    asked, answers = moves(60, seed=1)
    assert model.score(asked, answers) > 0.9
    found = [
        story[weights.argmax()] for (story, _), weights in zip(asked, model.evidence(asked), strict=True)
    ]
    right = [answer in sentence for answer, sentence in zip(answers, found, strict=True)]
    assert np.mean(right) > 0.9


def test_evidence_and_probabilities_sum_to_one(model):
    asked, _ = moves(7, seed=2)
    assert [len(weights) for weights in model.evidence(asked)] == [2] * 7
    np.testing.assert_allclose([weights.sum() for weights in model.evidence(asked)], 1)
    np.testing.assert_allclose(model.predict_proba(asked).sum(1), 1)
    assert model.predict_proba(asked).shape == (7, 3)


def test_a_question_is_answered_alone_as_among_others(model):
    asked, _ = moves(5, seed=3)
    longer = [*asked, (asked[0][0] * 9, asked[0][1])]
    alone = np.concatenate([model.predict_proba([one]) for one in asked])
    np.testing.assert_allclose(model.predict_proba(longer)[:5], alone, rtol=1e-9)


def test_the_graph_is_over_sentences_and_questions_by_name(model):
    asked, _ = moves(3, seed=4)
    graph = model.learned_graph(asked)
    assert graph.ptr.tolist() == [0, 3, 6, 9]
    assert graph.names[:3] == [*asked[0][0], asked[0][1]]
    assert len(graph.steps) == 2
    assert ((graph.row // 3) == (graph.col // 3)).all(), "no sentence listens to another story"
    for step in graph.steps:
        spoken = np.bincount(step.row, step.support, step.num_targets)
        assert np.all(np.isclose(spoken, 1) | (spoken == 0))
    assert graph.steps[0].support.sum() > 0
    assert all(step.support is None for step in model.learned_graph(asked, support=False).steps)


def test_it_can_be_looked_into(model):
    asked, answers = moves(1, seed=5)
    (story, question), answer = asked[0], model.predict(asked)[0]
    inside = reasoning(model, asked)
    section = evidence_section(
        story, question, answer, model.evidence(asked)[0], model.learned_graph(asked), reasoning=inside
    )
    assert question in render_report("a", [section])
    assert inside.memory.kept.shape == (2, 1, 8)
    assert answers[0] in model.classes_


def test_what_is_saved_answers_the_same(model, tmp_path):
    asked, _ = moves(5, seed=6)
    again = sf.load(model.save(tmp_path / "model"))
    np.testing.assert_array_equal(again.predict_proba(asked), model.predict_proba(asked))
    assert again.get_params() == model.get_params()
    assert "QuestionAnswerer" in model._repr_html_()
    assert "160 questions, 320 sentences" in again._repr_html_()


def test_the_order_of_the_training_stories_changes_nothing():
    asked, answers = moves(30)
    asked = [(story * (1 + place % 2), question) for place, (story, question) in enumerate(asked)]
    first = sf.QuestionAnswerer(**FAST, epochs=2).fit(asked, answers)
    second = sf.QuestionAnswerer(**FAST, epochs=2).fit(asked[::-1], answers[::-1])
    np.testing.assert_array_equal(first.predict_proba(asked), second.predict_proba(asked))


def test_answers_may_be_numbers_and_long_texts():
    asked, _ = moves(8)
    counted = sf.QuestionAnswerer(**FAST, epochs=1).fit(asked, [1, 2] * 4)
    assert counted.predict(asked).dtype.kind == "i"
    texts = ["in the park, far away", "?"]
    assert set(sf.QuestionAnswerer(**FAST, epochs=1).fit(asked, texts * 4).classes_) == set(texts)


def test_a_question_without_a_story_has_no_evidence(model):
    assert model.evidence([([], "Where is Mary?")])[0].shape == (0,)


def test_further_settings_of_the_network():
    asked, answers = moves(24)
    several = sf.QuestionAnswerer(**FAST, epochs=1, model_options={"experts": 3, "slots": 2}).fit(
        asked, answers
    )
    inside = reasoning(several, asked[:2])
    assert inside.memory.count == 2
    assert inside.routing is not None
    with pytest.raises(ValueError, match=r"model_options may name .*'widht'"):
        clone(several).set_params(model_options={"widht": 3}).fit(asked, answers)


@pytest.mark.parametrize(
    ("asked", "answers", "said"),
    [
        ([], [], "at least one story"),
        (moves(2)[0], ["park"], "1 entries"),
        (moves(2)[0], ["park", "park"], "two classes"),
        (moves(2)[0], ["park", None], "missing"),
        (["park", "shop"], ["park", "shop"], "pairs"),
    ],
)
def test_what_cannot_be_learned_from_is_named(asked, answers, said):
    with pytest.raises(ValueError, match=said):
        sf.QuestionAnswerer(**FAST, epochs=1).fit(asked, answers)


def test_before_fit():
    with pytest.raises(NotFittedError):
        sf.QuestionAnswerer().predict(moves(1)[0])
