import io
import lzma
import tarfile

import pytest
import torch
from structformer.tasks.babi_data import (
    ARCHIVE,
    QUESTIONS,
    TASKS,
    Babi,
    Story,
    Vocabulary,
    answer_vocabulary,
    held_out_from,
    pack,
    parse_stories,
    read_babi,
    word_vocabulary,
)

SAMPLE = """\
1 Mary moved to the bathroom.
2 Mary got the football there.
3 Where is Mary? \tbathroom\t1
4 John went to the hallway.
5 What is Mary carrying? \tFootball,Milk\t2 4
1 The garden is west of the office.
2 How do you go from the garden to the office?\te,n\t1
"""


def write_archive(folder, texts):
    path = folder / ARCHIVE
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w:xz") as archive:
        for name, text in texts.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return path


def texts():
    """All files, each with the same scene of two questions again and again, and the task's number in it."""
    scene = "1 Mary is in room{}.\n2 Where is Mary?\troom{}\t1\n3 Bill is in {}.\n4 Where is Bill?\t{}\t3\n"
    return {
        f"./qa{task}_some-{part}-name_{part}.txt": scene.format(task, task, part, part) * (QUESTIONS // 2)
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


def test_an_archive_is_read_in_all_its_parts(tmp_path):
    write_archive(tmp_path, {**texts(), "README": "no task", "./LONGCAT_qa1_x_train.txt": "nor this"})
    babi = read_babi(tmp_path)
    assert [len(part) for part in (babi.train, babi.validation, babi.test)] == [18_000, 2_000, 20_000]
    assert {story.answer for story in babi.train} == {f"room{task}" for task in TASKS} | {"train"}
    assert {story.answer for story in babi.test} == {f"room{task}" for task in TASKS} | {"test"}
    one = babi.of_task(7)
    assert [len(part) for part in (one.train, one.validation, one.test)] == [900, 100, 1_000]
    for part in (one.train, one.validation, one.test):
        assert {story.task for story in part} == {7}
        assert part[0].answer == "room7"
    assert max(story.scene for story in one.train) < min(story.scene for story in one.validation)
    with pytest.raises(ValueError, match=r"task must be one of \[1, 2, .*20\] \(got 21\)"):
        babi.of_task(21)


def test_a_file_that_is_missing_or_short_is_named(tmp_path):
    complete = texts()
    name = "./qa13_some-test-name_test.txt"
    path = write_archive(tmp_path, {key: text for key, text in complete.items() if key != name})
    with pytest.raises(ValueError, match=rf"{path}, test file of task 13: missing"):
        read_babi(tmp_path)
    lines = complete[name].splitlines(keepends=True)
    write_archive(tmp_path, {**complete, name: "".join(lines[:-1])})
    with pytest.raises(ValueError, match=r"test file of task 13: must have 1000 questions \(got 999\)"):
        read_babi(tmp_path)
    write_archive(tmp_path, {**complete, name: "".join(lines[1:])})
    with pytest.raises(ValueError, match="test file of task 13: neither a statement"):
        read_babi(tmp_path)


def test_a_damaged_archive_is_named(tmp_path):
    path = write_archive(tmp_path, texts())
    whole = path.read_bytes()
    flipped = bytes([*whole[:900], whole[900] ^ 1, *whole[901:]])
    for damaged in (
        whole[: len(whole) // 2],
        whole[:-1],
        b"no archive",
        b"",
        flipped,
        lzma.compress(b"no tar"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=f"{path} is damaged or cut short: ."):
            read_babi(tmp_path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=str(path)):
        read_babi(tmp_path)


def test_unknown_words_are_plain_to_see():
    vocabulary = Vocabulary.of(["mary", "garden", "mary", "is"])
    assert vocabulary.words == ("garden", "is", "mary")
    assert len(vocabulary) == 4
    assert vocabulary.ids(["is", "bill", "garden", "fred", "mary"]) == [2, 0, 1, 0, 3]
    assert vocabulary.unknown(["is", "fred", "bill", "fred"]) == ["bill", "fred"]


def test_vocabularies_hold_what_the_stories_say():
    stories = parse_stories(SAMPLE, 1)
    assert answer_vocabulary(stories).words == ("bathroom", "e,n", "football,milk")
    words = word_vocabulary(stories[:1])
    assert words.words == (
        "bathroom",
        "football",
        "got",
        "is",
        "mary",
        "moved",
        "the",
        "there",
        "to",
        "where",
    )


def test_packed_stories_can_be_read_back():
    stories = parse_stories(SAMPLE, 1)
    words, answers = word_vocabulary(stories), answer_vocabulary(stories[:2])
    tokens = pack(stories, words, answers)
    assert tokens.num_sets == 3
    assert tokens.sizes.tolist() == [story.tokens for story in stories]
    assert tokens.x.shape == (tokens.num_tokens, 0)
    assert tokens.y.tolist() == [1, 2, 0]
    for index, story in enumerate(stories):
        one = tokens.select(torch.tensor([index]))
        parts = (*story.sentences, story.question)
        assert one.code.tolist() == words.ids(word for part in parts for word in part)
        assert one.token_sentence.tolist() == [i for i, part in enumerate(parts) for _ in part]
        assert torch.equal(one.question_mask, one.token_sentence == len(story.sentences))
        assert torch.equal(one.support_mask, torch.isin(one.token_sentence, torch.tensor(story.supporting)))
    with pytest.raises(ValueError, match="stories is empty"):
        pack([], words, answers)


@pytest.fixture(scope="module")
def real(data_folder) -> Babi:
    if not (data_folder / ARCHIVE).is_file():
        pytest.skip(f"real data is needed: there is no {data_folder / ARCHIVE}")
    return read_babi(data_folder)


def test_the_real_stories(real):
    assert [len(part) for part in (real.train, real.validation, real.test)] == [17_994, 2_006, 20_000]
    assert {task: len(real.of_task(task).validation) for task in (1, 17, 18, 20)} == {
        1: 100,
        17: 104,
        18: 101,
        20: 101,
    }
    first = real.of_task(1).train[0]
    assert [" ".join(sentence) for sentence in first.sentences] == [
        "mary moved to the bathroom",
        "john went to the hallway",
    ]
    assert (" ".join(first.question), first.answer, first.supporting) == ("where is mary", "bathroom", (0,))


def test_the_real_test_has_no_unknown_word_and_one_unknown_answer(real):
    words, answers = word_vocabulary(real.train), answer_vocabulary(real.train)
    assert (len(words), len(answers)) == (146, 58)
    for part in (real.validation, real.test):
        assert not words.unknown(word for story in part for one in story.sentences for word in one)
        assert not words.unknown(word for story in part for word in story.question)
    assert not answers.unknown(story.answer for story in real.validation)
    assert answers.unknown(story.answer for story in real.test) == ["football,apple,milk"]
