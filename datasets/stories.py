"""bAbI: short stories, each with a question of one answer and the sentences that support it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .store import read

TASKS = range(1, 21)
_MEMBER = re.compile(r"babi/babi_en_1k/qa(\d+)_[\w-]+_(train|test)\.txt")

Words = tuple[str, ...]


@dataclass(frozen=True)
class Story:
    """A story up to a question; all in lower case, without full stops and question marks.

    Attributes:
        task: Number of the task, 1 to 20.
        scene: Number of the scene in its file. A scene has several questions, and the story of a later one
            begins with the story of those before it.
        sentences: The words of each sentence.
        question: The words of the question.
        answer: The answer. One of several things, as in "milk,apple" or the path "n,e", is one answer.
        supporting: Indices of the sentences that the answer follows from.
    """

    task: int
    scene: int
    sentences: tuple[Words, ...]
    question: Words
    answer: str
    supporting: tuple[int, ...]

    @property
    def tokens(self) -> int:
        """Words of the sentences and the question."""
        return sum(map(len, self.sentences)) + len(self.question)


@dataclass(frozen=True)
class Babi:
    """Stories for training, for choosing, and for the test, in the order of the files."""

    train: tuple[Story, ...]
    validation: tuple[Story, ...]
    test: tuple[Story, ...]

    def of_task(self, task: int) -> Babi:
        """Return one task alone; all together are the joint setting.

        Raises:
            ValueError: There are no stories of that task.
        """
        parts = (self.train, self.validation, self.test)
        found = Babi(*(tuple(story for story in part if story.task == task) for part in parts))
        if not found.train:
            raise ValueError(
                f"task must be one of {sorted({story.task for story in self.train})} (got {task})"
            )
        return found


def babi() -> Babi:
    """Return all 20 tasks, English, 1,000 questions each for training and for the test.

    `held_out_from` says where the validation part of a training file begins. (Weston et al. 2015, arXiv 1502.05698.)

    Raises:
        FileNotFoundError: If they were not downloaded.
        ValueError: If a file is damaged.
    """
    parsed: dict[tuple[int, str], list[Story]] = {}
    for path, content in read("babi").items():
        match = _MEMBER.fullmatch(path)
        if match:
            task = int(match[1])
            parsed[task, match[2]] = parse_stories(content.decode("ascii"), task)
    train, validation, test = [], [], []
    for task in TASKS:
        stories = parsed[task, "train"]
        first = held_out_from(stories)
        train += stories[:first]
        validation += stories[first:]
        test += parsed[task, "test"]
    return Babi(tuple(train), tuple(validation), tuple(test))


def held_out_from(stories: Sequence[Story]) -> int:
    """Return the index of the first story for validation: from there on is the last tenth, in whole scenes.

    Where the last tenth would begin inside a scene, all of that scene is for validation: its questions share
    their sentences.
    """
    first = len(stories) - len(stories) // 10
    while 0 < first < len(stories) and stories[first - 1].scene == stories[first].scene:
        first -= 1
    return first


def parse_stories(text: str, task: int) -> list[Story]:
    """Read a file of one task: numbered lines, from 1 in each scene; a question has tabs before its answer.

    Raises:
        ValueError: A line is neither a statement nor a question, or its number is out of order.
    """
    stories: list[Story] = []
    sentences: dict[int, Words] = {}
    scene = line_number = 0
    for line in text.splitlines():
        number, _, rest = line.partition(" ")
        if number == "1":
            scene, sentences, line_number = scene + 1, {}, 0
        line_number += 1
        statement, *answered = rest.split("\t")
        words = tuple(statement.lower().rstrip(" .?").split())
        if number != str(line_number) or not words or len(answered) not in (0, 2):
            raise ValueError(f"neither a statement nor a question, or out of order: {line[:80]!r}")
        if not answered:
            sentences[line_number] = words
            continue
        answer, supports = answered
        place = {number: index for index, number in enumerate(sentences)}
        try:
            supporting = tuple(place[int(support)] for support in supports.split())
        except (KeyError, ValueError) as error:
            raise ValueError(f"the supporting lines are not statements before it: {line[:80]!r}") from error
        stories.append(
            Story(task, scene, tuple(sentences.values()), words, answer.strip().lower(), supporting)
        )
    return stories
