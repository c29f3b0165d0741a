"""Arms that answer questions about stories: built, fed with batches, and judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from structformer.datasets import Story
from torch.nn import functional as F

from structformer.models.text_qa import TextQA, TextQAConfig, TextQAOutput

from .babi_data import Vocabulary, answer_parts, answer_vocabulary, pack, rarity, word_vocabulary
from .baselines.stories import DenseEncoder
from .sweeps import TRAINING, generator
from .training import Losses

OURS, TRANSFORMER, UNIVERSAL = "ressformer", "transformer", "universal transformer"
ARMS = (OURS, TRANSFORMER, UNIVERSAL)


@dataclass(frozen=True)
class Lexicon:
    """The words and answers of the stories trained on.

    Attributes:
        words: Words of sentences, questions and answers.
        answers: Whole answers; a list such as "milk,apple" is one.
        rarity: How much it says that two sentences share a word, for each number of a word.
    """

    words: Vocabulary
    answers: Vocabulary
    rarity: tuple[float, ...]

    @property
    def answer_words(self) -> tuple[tuple[int, ...], ...]:
        """The words of each answer, by its number; number 0 is any answer that training never gave."""
        return ((0,), *(tuple(self.words.ids(answer_parts(answer))) for answer in self.answers.words))

    @classmethod
    def of(cls, stories: Sequence[Story]) -> Lexicon:
        """Number the words and answers of these stories."""
        words = word_vocabulary(stories)
        return cls(words, answer_vocabulary(stories), rarity(stories, words))


def build(arm: str, config: TextQAConfig, lexicon: Lexicon) -> TextQA:
    """Return an untrained arm: the rivals differ in the encoder of the sentences alone.

    Raises:
        ValueError: If there is no such arm.
    """
    if arm not in ARMS:
        raise ValueError(f"arm must be one of {', '.join(ARMS)} (got {arm!r})")
    config = replace(
        config, vocabulary=len(lexicon.words), answers=lexicon.answer_words, rarity=lexicon.rarity
    )
    model = TextQA(config if arm == OURS else replace(config, reach=0, edge_features=0))
    if arm != OURS:
        shared = arm == UNIVERSAL
        model.encoder = DenseEncoder(
            config.width,
            config.heads,
            config.steps,
            shared,
            config.expansion,
            config.dropout,
            config.set_dropout,
        )
    return model


def build_of_size(arm: str, config: TextQAConfig, lexicon: Lexicon) -> TextQA:
    """Return an untrained arm with about as many parameters as ours has at this width: the width is adapted."""
    wanted = num_parameters(build(OURS, config, lexicon))
    step = 2 * config.heads
    widths = range(step, 4 * config.width, step)
    sizes = {width: _size(arm, replace(config, width=width), lexicon) for width in widths}
    return build(
        arm, replace(config, width=min(sizes, key=lambda width: abs(sizes[width] - wanted))), lexicon
    )


def num_parameters(model: TextQA) -> int:
    """Return how many numbers training changes."""
    return sum(weight.numel() for weight in model.parameters())


def shortened(story: Story, sentences: int) -> Story:
    """Return the story with its last sentences alone; evidence that is cut off is not evidence any more."""
    cut = max(0, len(story.sentences) - sentences)
    kept = tuple(index - cut for index in story.supporting if index >= cut)
    return replace(story, sentences=story.sentences[cut:], supporting=kept)


def answered(model: TextQA, lexicon: Lexicon, stories: Sequence[Story]) -> tuple[TextQAOutput, torch.Tensor]:
    """Return what a model says of stories, and the numbers of the right answers."""
    packed = pack(stories, lexicon.words, lexicon.answers)
    assert packed.code is not None
    assert isinstance(packed.y, torch.Tensor)
    return model(packed.code, packed.ptr, packed.token_sentence), packed.y


def story_losses(
    model: TextQA, lexicon: Lexicon, stories: Sequence[Story], batch: int, seed: int
) -> Callable[[int], Losses]:
    """Return what the stories of an update cost; every story is met once before any is met again."""
    each = -(-len(stories) // batch)

    def losses(update: int) -> Losses:
        order = torch.randperm(len(stories), generator=generator(TRAINING, seed, update // each))
        chosen = order[update % each * batch :][:batch].tolist()
        output, right = answered(model, lexicon, [stories[index] for index in chosen])
        answers = F.cross_entropy(output.logits, right)
        return Losses(answers + output.loss, float(answers.detach()))

    return losses


@torch.no_grad()
def wrong(model: TextQA, lexicon: Lexicon, stories: Sequence[Story], batch: int = 256) -> list[bool]:
    """Return for each story whether its answer was not the one that scored highest; unknown answers are wrong."""
    model.eval()
    found: list[bool] = []
    for first in range(0, len(stories), batch):
        output, right = answered(model, lexicon, stories[first : first + batch])
        found += ((output.logits.argmax(1) != right) | (right == 0)).tolist()
    return found


def _size(arm: str, config: TextQAConfig, lexicon: Lexicon) -> int:
    with torch.device("meta"):
        return num_parameters(build(arm, config, lexicon))
