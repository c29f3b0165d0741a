import pytest
from structformer.datasets import Babi, Story, babi
from structformer.datasets.stories import TASKS, held_out_from, parse_stories

SAMPLE = """\
1 Mary moved to the bathroom.
2 Mary got the football there.
3 Where is Mary? \tbathroom\t1
4 John went to the hallway.
5 What is Mary carrying? \tFootball,Milk\t2 4
1 The garden is west of the office.
2 How do you go from the garden to the office?\te,n\t1
"""


def texts():
    """All files, each with the same scene of two questions again and again, and the task's number in it."""
    scene = "1 Mary is in room{}.\n2 Where is Mary?\troom{}\t1\n3 Bill is in {}.\n4 Where is Bill?\t{}\t3\n"
    return {
        f"babi/babi_en_1k/qa{task}_some-{part}-name_{part}.txt": (
            scene.format(task, task, part, part) * 50
        ).encode()
        for task in TASKS
        for part in ("train", "test")
    }


def test_a_story_is_what_was_told_before_its_question():
    first, second, third = parse_stories(SAMPLE, 19)
    told = (("mary", "moved", "to", "the", "bathroom"), ("mary", "got", "the", "football", "there"))
    assert first == Story(19, 1, told, ("where", "is", "mary"), "bathroom", (0,))
    assert second.sentences == (*told, ("john", "went", "to", "the", "hallway"))
    assert (second.answer, second.supporting, second.scene) == ("football,milk", (1, 2), 1)
    assert third.sentences == (("the", "garden", "is", "west", "of", "the", "office"),)
    assert (third.answer, third.supporting, third.scene) == ("e,n", (0,), 2)
    assert (first.tokens, third.tokens) == (13, 17)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Mary moved.", "out of order: 'Mary moved.'"),
        ("1 Mary moved.\n3 John moved.", "out of order: '3 John moved.'"),
        ("2 Mary moved.", "out of order: '2 Mary moved.'"),
        ("1 Mary moved.\n2 ", "neither a statement nor a question"),
        ("1 Mary moved.\n2 Where is Mary?\tgarden", "neither a statement nor a question"),
        ("1 Mary moved.\n2 Where is Mary?\tgarden\t2", "supporting lines are not statements before it"),
        ("1 Mary moved.\n2 Where is Mary?\tgarden\tone", "supporting lines are not statements before it"),
    ],
)
def test_a_damaged_line_is_shown(text, message):
    with pytest.raises(ValueError, match=message):
        parse_stories(text, 1)


def test_validation_is_the_last_tenth_in_whole_scenes():
    def stories(*sizes):
        return [Story(1, scene, (), ("a",), "b", ()) for scene, size in enumerate(sizes) for _ in range(size)]

    assert held_out_from(stories(5, 5, 5, 5, 5, 5)) == 25  # 3 of 30, and the rest of their scene
    assert held_out_from(stories(*[1] * 30)) == 27
    assert held_out_from(stories(28, 2, 10)) == 30
    assert held_out_from(stories(30)) == 0
    assert held_out_from(stories(3)) == 3


def test_all_files_are_read_in_all_their_parts(given):
    given("babi", texts())
    found = babi()
    assert [len(part) for part in (found.train, found.validation, found.test)] == [1_800, 200, 2_000]
    assert {story.answer for story in found.train} == {f"room{task}" for task in TASKS} | {"train"}
    assert {story.answer for story in found.test} == {f"room{task}" for task in TASKS} | {"test"}
    one = found.of_task(7)
    assert [len(part) for part in (one.train, one.validation, one.test)] == [90, 10, 100]
    for part in (one.train, one.validation, one.test):
        assert {story.task for story in part} == {7}
        assert part[0].answer == "room7"
    assert max(story.scene for story in one.train) < min(story.scene for story in one.validation)
    with pytest.raises(ValueError, match=r"task must be one of \[1, 2, .*20\] \(got 21\)"):
        found.of_task(21)


@pytest.fixture(scope="module")
def real_stories(data_folder) -> Babi:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STRUCTFORMER_DATA", str(data_folder))
        try:
            return babi()
        except FileNotFoundError as error:
            pytest.skip(f"real data is needed: {error}")


def test_the_real_stories(real_stories):
    parts = (real_stories.train, real_stories.validation, real_stories.test)
    assert [len(part) for part in parts] == [17_994, 2_006, 20_000]
    assert {task: len(real_stories.of_task(task).validation) for task in (1, 17, 18, 20)} == {
        1: 100,
        17: 104,
        18: 101,
        20: 101,
    }
    assert {len(real_stories.of_task(task).test) for task in TASKS} == {1_000}
    first = real_stories.of_task(1).train[0]
    assert [" ".join(sentence) for sentence in first.sentences] == [
        "mary moved to the bathroom",
        "john went to the hallway",
    ]
    assert (" ".join(first.question), first.answer, first.supporting) == ("where is mary", "bathroom", (0,))
