import json
from collections import Counter

import pytest
from structformer.datasets import Question, hotpotqa


def test_the_real_questions(real):
    real("hotpotqa")
    found = hotpotqa()
    assert len(found) == len({question.name for question in found}) == 500
    assert sum(len(question.titles) == 10 for question in found) == 495
    assert Counter(len(question.supporting) for question in found) == {2: 151, 1: 271, 0: 78}
    for question in found:
        assert len(question.titles) == len(question.paragraphs) == len(set(question.titles))
        assert all(question.paragraphs)
        assert question.question
        assert question.answer


def test_supporting_paragraphs_are_told_by_their_titles(given):
    record = {
        "_id": "5a",
        "question": "Who?",
        "answer": "Ann",
        "supporting_facts": [["C", 0], ["A", 1], ["A", 0]],
        "context": [["A", ["One.", " Two."]], ["B", ["Three."]], ["C", ["Four\u2028."]]],
        "type": "bridge",
    }
    lines = "".join(f"{json.dumps(one, ensure_ascii=False)}\n" for one in (record, {**record, "_id": "5b"}))
    given("hotpotqa", {"hotpotqa/hotpot_distractor_500.json": lines.encode()})
    first, second = hotpotqa()
    paragraphs = (("One.", " Two."), ("Three.",), ("Four\u2028.",))
    assert first == Question("5a", "Who?", "Ann", ("A", "B", "C"), paragraphs, (0, 2))
    assert second.name == "5b"


def test_a_damaged_file_is_named(given):
    folder = given("hotpotqa", {"hotpotqa/hotpot_distractor_500.json": b"{}\n"})
    (folder / "hotpotqa/hotpot_distractor_500.json").write_bytes(b"{}")
    with pytest.raises(ValueError, match=r"hotpot_distractor_500\.json is damaged"):
        hotpotqa()
