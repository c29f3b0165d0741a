"""bAbI: short stories, each with a question of one answer and the sentences that support it.

20 tasks, English, 1,000 questions each for training and for the test (Weston et al. 2015, arXiv 1502.05698).
"""

from __future__ import annotations

import io
import lzma
import re
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from structformer.tokenize.files import error_line
from structformer.tokens import TokenSet

ARCHIVE = "babi/babi_en_1k.tar.xz"
TASKS = range(1, 21)
QUESTIONS = 1_000
_MEMBER = re.compile(r"qa(\d+)_[\w-]+_(train|test)\.txt")

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


@dataclass(frozen=True)
class Vocabulary:
    """Words and their numbers from 1 on; every word that is not among them has number 0.

    Attributes:
        words: Different words.
    """

    words: Words

    @classmethod
    def of(cls, words: Iterable[str]) -> Vocabulary:
        """Number the different words among these in alphabetical order. Give it training text only."""
        return cls(tuple(sorted(set(words))))

    def __len__(self) -> int:
        return len(self.words) + 1

    def ids(self, words: Iterable[str]) -> list[int]:
        """Return the words' numbers."""
        return [self._number.get(word, 0) for word in words]

    def unknown(self, words: Iterable[str]) -> list[str]:
        """Return the different words that have no number of their own, sorted."""
        return sorted(set(words) - self._number.keys())

    @cached_property
    def _number(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words, start=1)}


def read_babi(folder: Path) -> Babi:
    """Read all tasks; `held_out_from` says where the validation part of a training file begins.

    Args:
        folder: The folder with real data, in which `ARCHIVE` lies.

    Raises:
        OSError: The archive cannot be opened.
        ValueError: It is damaged, or a file in it is missing, damaged or not of 1,000 questions.
    """
    path = folder / ARCHIVE
    texts = _texts(path)
    train, validation, test = [], [], []
    for task in TASKS:
        stories = _stories(path, texts, task, "train")
        first = held_out_from(stories)
        train += stories[:first]
        validation += stories[first:]
        test += _stories(path, texts, task, "test")
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


def word_vocabulary(stories: Iterable[Story]) -> Vocabulary:
    """Number the words of sentences and questions."""
    return Vocabulary.of(
        word for story in stories for part in (*story.sentences, story.question) for word in part
    )


def answer_vocabulary(stories: Iterable[Story]) -> Vocabulary:
    """Number the answers. One that training never gave has number 0, which no model should ever say."""
    return Vocabulary.of(story.answer for story in stories)


def pack(stories: Sequence[Story], words: Vocabulary, answers: Vocabulary) -> TokenSet:
    """Pack stories into sets of words, sentence after sentence, and the question at the end.

    Returns:
        One set a story, with the words' numbers as `code [T]`, `token_sentence [T]` the index of a word's sentence
        (the question's is the number of sentences), `question_mask [T]`, `support_mask [T]`, `x [T, 0]`
        and `y [sets]` the answers' numbers.

    Raises:
        ValueError: There are no stories.
    """
    if not stories:
        raise ValueError("stories is empty: at least 1 story is needed")
    code: list[int] = []
    sentence: list[int] = []
    question: list[bool] = []
    support: list[bool] = []
    for story in stories:
        for index, part in enumerate((*story.sentences, story.question)):
            code += words.ids(part)
            sentence += [index] * len(part)
            question += [index == len(story.sentences)] * len(part)
            support += [index in story.supporting] * len(part)
    return TokenSet(
        x=torch.zeros(len(code), 0),
        ptr=torch.tensor([0, *(story.tokens for story in stories)]).cumsum(0),
        code=torch.tensor(code),
        y=torch.tensor(answers.ids(story.answer for story in stories)),
        token_sentence=torch.tensor(sentence),
        question_mask=torch.tensor(question),
        support_mask=torch.tensor(support),
    )


def _stories(path: Path, texts: dict[tuple[int, str], str], task: int, part: str) -> list[Story]:
    where = f"{path}, {part} file of task {task}"
    if (task, part) not in texts:
        raise ValueError(f"{where}: missing")
    try:
        stories = parse_stories(texts[task, part], task)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    if len(stories) != QUESTIONS:
        raise ValueError(f"{where}: must have {QUESTIONS} questions (got {len(stories)})")
    return stories


def _texts(path: Path) -> dict[tuple[int, str], str]:
    texts: dict[tuple[int, str], str] = {}
    try:
        # Unpacked as a whole, so that the checksum at its end is reached.
        unpacked = lzma.decompress(path.read_bytes())
        with tarfile.open(fileobj=io.BytesIO(unpacked)) as archive:
            for member in archive:
                match = _MEMBER.fullmatch(Path(member.name).name)
                file = archive.extractfile(member) if match else None
                if match and file:
                    texts[int(match[1]), match[2]] = file.read().decode("ascii")
    except (lzma.LZMAError, tarfile.TarError, UnicodeError) as error:
        raise ValueError(f"{path} is damaged or cut short: {error_line(error)}") from error
    return texts
