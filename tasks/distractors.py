"""Distractors: bAbI stories hidden among sentences of WikiText-2, at lengths far beyond those trained on.

Arms of equal size are trained on stories hidden in up to ``length`` words, and tested on others at that length, at
multiples of it, and at given shares of distractors. Training and test stories are hidden among sentences of different
articles: WikiText-2 divided anew, since the frequent words' sentences of its own test part make but 1,000 words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from statistics import fmean

import torch
from structformer.datasets import Story, wikitext2
from structformer.datasets.stories import TASKS

from structformer.models.text_qa import TextQAConfig

from .babi import stories
from .babi_data import Vocabulary, answer_vocabulary, rarity, word_vocabulary
from .benchmark import Benchmark
from .choices import check_chosen
from .distractors_data import (
    SentencePool,
    frequent_words,
    hide,
    sentence_pool,
    tokens_for_share,
    whole_articles,
)
from .distractors_plot import draw
from .runs import Record
from .story_training import ARMS, OURS, Lexicon, build_of_size, num_parameters, story_losses, wrong
from .sweeps import TEST, TRAINING, VALIDATION, best_rates, generator, sweep
from .task_card import TaskCard
from .training import TrainingSettings, train

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class DistractorSettings:
    """Sizes of the run.

    Attributes:
        arms: Which are compared.
        model: Of our arm; rivals take its steps, and the width that gives them as many parameters.
        tasks: Numbers of the bAbI tasks, learned together.
        length: Words of the longest story trained on.
        factors: Stories tested on have so many times as many words.
        shares: Shares of distractors at which they are tested too.
        frequent: Words of WikiText that distractors are made of.
        articles: Shares of WikiText's articles to hide training and validation stories among; the rest is for the test.
        copies: How often each training story is hidden.
        test_stories: At each length and share.
        sentences: Most sentences of a bAbI story.
        batch: Stories of a batch.
        rates: Learning rates.
        training: How arms are trained.
        workers: Processes.
    """

    arms: tuple[str, ...] = ARMS
    model: TextQAConfig = field(
        default_factory=lambda: TextQAConfig(width=96, heads=4, steps=4, neighbors=16, experts=1, stretch=3.0)
    )
    tasks: tuple[int, ...] = (1, 2, 6, 11, 12, 13)
    length: int = 256
    factors: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    shares: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 0.9, 0.95)
    frequent: int = 4_000
    articles: tuple[float, float] = (0.6, 0.05)
    copies: int = 4
    test_stories: int = 600
    sentences: int = 30
    batch: int = 32
    rates: tuple[float, ...] = (1e-3, 2e-3)
    training: TrainingSettings = field(default_factory=lambda: TrainingSettings(updates=2_500))
    workers: int = 2

    def __post_init__(self) -> None:
        check_chosen(self, arms=ARMS, tasks=TASKS)


CARD = TaskCard(
    name="distractors",
    title="Stories among distractors",
    family="stories",
    measure="answers right, %",
    headline=OURS,
    protocol="bAbI stories (tasks 1, 2, 6, 11, 12, 13, one model for all) hidden among sentences of WikiText-2; "
    "learned in up to 256 words, asked for in 256 words (x1) and multiples of it, and at given shares of distractors. "
    "Stories of the test are hidden among sentences of other articles than those of the training. Arms are of equal "
    "size; the learning rate is chosen, for all arms among the same, on validation stories in 256 words.",
    figures={"rate": "rate", "parameters": "parameters"},
    derived=best_rates,
)
QUICK = DistractorSettings(
    arms=(OURS,),
    model=TextQAConfig(width=32, heads=2, steps=2, experts=1, stretch=3.0),
    tasks=(1,),
    length=128,
    factors=(1, 4),
    shares=(0.5,),
    copies=1,
    test_stories=60,
    rates=(3e-3,),
    training=TrainingSettings(updates=100),
)


@dataclass(frozen=True)
class Hidden:
    """Stories in the midst of distractors, by what they are for.

    Attributes:
        lexicon: Words and answers of the training stories, and the distractors' words.
        train: Stories to train on.
        validation: Stories to choose by, of the length trained on.
        test: Stories to test on, by the name of their length or share.
    """

    lexicon: Lexicon
    train: list[Story]
    validation: list[Story]
    test: dict[str, list[Story]]


def run(
    quick: bool, seeds: int, settings: DistractorSettings | None = None, folder: Path = RESULTS
) -> list[Record]:
    """Train all arms at all rates, write the results and a picture to the folder, and return a summary.

    A run that was cut short is taken up where it ended; see `structformer.tasks.ledger.Ledger`.

    Raises:
        FileNotFoundError: If the stories or texts were not downloaded.
        ValueError: If seeds is below 1, or data is damaged.
    """
    settings = settings or (QUICK if quick else DistractorSettings())
    stories(settings.sentences)
    rows = sweep(
        Benchmark(CARD, quick, seeds, folder),
        partial(measure, settings),
        ("stories",),
        settings,
    )
    draw(rows, folder / ("distractors-quick.png" if quick else "distractors-length.png"))
    return rows


def measure(
    settings: DistractorSettings, data: str, arm: str, rate: float, seed: int, checkpoint: Path
) -> Record:
    """Train one arm once, and return its accuracy at every length and share of distractors."""
    known = hidden(settings)
    torch.manual_seed(seed)
    model = build_of_size(arm, settings.model, known.lexicon)
    training = replace(settings.training, learning_rate=rate)
    losses = story_losses(model, known.lexicon, known.train, settings.batch, seed)
    curve = train(model, losses, training, checkpoint)
    # Long stories are many sentences each.
    right = {
        name: 100 * (1 - fmean(wrong(model, known.lexicon, some, 16))) for name, some in known.test.items()
    }
    return {
        "parameters": num_parameters(model),
        "validation": 1 - fmean(wrong(model, known.lexicon, known.validation)),
        "scores": right,
        **curve.record(),
    }


@lru_cache(maxsize=1)
def hidden(settings: DistractorSettings) -> Hidden:
    """Hide the stories of the tasks; nothing of a test distractor was seen in training but its words."""
    found = stories(settings.sentences)
    parts = [
        [story for story in some if story.task in settings.tasks and story.tokens <= settings.length]
        for some in (found.train, found.validation, found.test)
    ]
    text = wikitext2()
    articles = whole_articles(text.train + text.valid + text.test, *settings.articles)
    known = frequent_words(articles[0], settings.frequent)
    pools = [sentence_pool(part, known) for part in articles]
    learned = [
        some
        for copy in range(settings.copies)
        for some in _hidden(parts[0], pools[0], None, settings.length, TRAINING, copy)
    ]
    drawn = torch.randperm(len(parts[2]), generator=generator(TEST, 0))[: settings.test_stories].tolist()
    tested = [parts[2][index] for index in drawn]
    test = {
        f"x{factor}": _hidden(tested, pools[2], settings.length * factor, settings.length, TEST, factor)
        for factor in settings.factors
    }
    for share in settings.shares:
        lengths = [tokens_for_share(story, share) for story in tested]
        drawing = generator(TEST, round(1_000 * share), 1)
        test[f"{share:.0%}"] = [
            hide(story, pools[2], max(length, story.tokens), drawing).story
            for story, length in zip(tested, lengths, strict=True)
        ]
    words = word_vocabulary(parts[0])
    known_words = Vocabulary.of((*words.words, *known))
    lexicon = Lexicon(known_words, answer_vocabulary(parts[0]), rarity(learned, known_words))
    validation = _hidden(parts[1], pools[1], settings.length, settings.length, VALIDATION, 0)
    return Hidden(lexicon, learned, validation, test)


def _hidden(
    some: Sequence[Story], pool: SentencePool, tokens: int | None, most: int, purpose: int, number: int
) -> list[Story]:
    """Hide stories in so many words, or for None in a number drawn for each from its own to the most."""
    drawing = generator(purpose, number)
    found: list[Story] = []
    for story in some:
        length = tokens
        if length is None:
            length = int(torch.randint(story.tokens, most + 1, (), generator=drawing))
        found.append(hide(story, pool, length, drawing).story)
    return found
