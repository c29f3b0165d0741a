"""Shuffled WikiText-2: how well hidden words are told when sentences, then words, come in another order.

Models are trained on paragraphs in order, with their sentences shuffled, or with their words shuffled, anew in every
round; each is then tested on all three orders, the same words being hidden. The score is the share of hidden words told
right where the sentences of the test paragraphs are shuffled; the drops are against the same paragraphs in order.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.nn import functional as F

from structformer.models.masked_text import Masking

from .benchmark import Benchmark
from .best_state import BestState
from .choices import check_chosen
from .comparison import trials
from .ledger import Arm, Trial
from .runs import Record
from .shuffled_text_arms import build
from .shuffled_text_data import ORDERS, Masked, Paragraph, masked, wikitext_paragraphs
from .sweeps import TEST, TRAINING, VALIDATION, generator
from .task_card import TaskCard
from .training import Losses, TrainingSettings, train

RESULTS = Path(__file__).parent / "results"
SEEDS = 3
CARD = TaskCard(
    name="shuffled_text",
    title="Shuffled text (ShuffledWikiText)",
    family="text without order",
    measure="hidden words told right, sentences of the test paragraphs shuffled, %",
    headline="ressformer",
    protocol="WikiText-2, lower case; a data set is the order of the training text; the state is chosen on validation "
    "paragraphs in that order; the same test words are hidden in all orders.",
    figures={
        "in order": "hidden words told right in order, %",
        "words shuffled": "the same where words are shuffled, %",
        "drop, sentences": "points lost where sentences are shuffled",
        "drop, words": "points lost where words are shuffled",
        "changed, sentences": "answers that change where sentences are shuffled, %",
        "changed, words": "answers that change where words are shuffled, %",
        "largest difference": "of a probability where words are shuffled",
        "validation": "hidden words told right on validation paragraphs, %",
        "parameters": "numbers that training changes",
    },
)
_OURS = {"width": 96, "steps": 3, "depth": 1, "slots": 4, "experts": 1, "expansion": 4.0, "neighbors": 8}
ARMS: dict[str, Arm] = {
    arm.name: arm
    for arm in (
        Arm("transformer, rotary", options={"kind": "transformer", "width": 96, "layers": 3, "rotary": True}),
        Arm(
            "transformer, no positions",
            options={"kind": "transformer", "width": 96, "layers": 3, "rotary": False},
        ),
        Arm("ressformer, no window", True, {"kind": "masked text encoder", **_OURS, "window": 0}),
        Arm("ressformer", True, {"kind": "masked text encoder", **_OURS, "window": 2}),
        Arm("ressformer, directed window", True, {"kind": "directed window", **_OURS, "window": 4}),
    )
}


@dataclass(frozen=True)
class ShuffledTextSettings:
    """Sizes of the run.

    Attributes:
        arms: Which are compared.
        data: Orders of the training text.
        vocabulary: Words that are told apart.
        longest: Words of a paragraph.
        heads: Attention heads.
        dropout: Probability of dropping a feature.
        share: Of the words that are hidden.
        batch: Words of a batch, about.
        training: How arms are trained.
        looks: Times that validation paragraphs are looked at.
        paragraphs: To choose by, and to test on; None is all there are to test on, and 400 to choose by.
        workers: Processes.
    """

    arms: tuple[str, ...] = tuple(ARMS)
    data: tuple[str, ...] = ORDERS
    vocabulary: int = 8_192
    longest: int = 128
    heads: int = 4
    dropout: float = 0.1
    share: float = 0.15
    batch: int = 4_096
    training: TrainingSettings = field(
        default_factory=lambda: TrainingSettings(updates=1_200, learning_rate=3e-3)
    )
    looks: int = 4
    paragraphs: int | None = None
    workers: int = 2

    def __post_init__(self) -> None:
        check_chosen(self, arms=ARMS, data=ORDERS)
        if self.batch < self.longest:
            raise ValueError(f"batch must hold a paragraph of {self.longest} words (got {self.batch})")
        if not 0 < self.share < 1:
            raise ValueError(f"share must be above 0 and below 1 (got {self.share})")


QUICK = ShuffledTextSettings(
    arms=("transformer, rotary", "ressformer"),
    data=("in order",),
    vocabulary=1_024,
    training=TrainingSettings(updates=40, learning_rate=3e-3),
    batch=2_048,
    looks=1,
    paragraphs=100,
)


def run(
    quick: bool, seeds: int, settings: ShuffledTextSettings | None = None, folder: Path = RESULTS
) -> list[Record]:
    """Train and test all arms, write the results to the folder, and return a row an arm and training order.

    Raises:
        FileNotFoundError: If there is no folder with real data.
        ValueError: If seeds is below 1.
    """
    settings = settings or (QUICK if quick else ShuffledTextSettings())
    wanted = trials(settings.data, settings.arms, seeds)
    return Benchmark(CARD, quick, seeds, folder).run(
        partial(measure, settings),
        wanted,
        {name: value for name, value in asdict(settings).items() if name not in ("arms", "data", "workers")},
        [ARMS[name] for name in settings.arms],
        settings.workers,
    )


def measure(settings: ShuffledTextSettings, trial: Trial) -> Record:
    """Train one arm on text in one order, and test it on all."""
    data = wikitext_paragraphs(settings.vocabulary, settings.longest)
    torch.manual_seed(trial.seed)
    model = build(ARMS[trial.arm].options, data.vocabulary, settings.heads, settings.dropout)
    held = data.validation[: settings.paragraphs or 400]
    best = BestState(
        model,
        lambda: told(model, packed(settings, held, trial.data, VALIDATION), data.vocabulary).right,
        max(1, settings.training.updates // settings.looks),
    )
    losses = masked_losses(settings, model, data.train, data.vocabulary, trial.data, trial.seed)
    curve = train(model, best.watching(losses), settings.training)
    validation = best.restore(settings.training.updates)
    exact = copy.deepcopy(model).double()
    tested = data.test[: settings.paragraphs]
    found = {order: told(exact, packed(settings, tested, order, TEST), data.vocabulary) for order in ORDERS}
    ordered, sentences, words = (found[order] for order in ORDERS)
    return {
        "score": sentences.right,
        "in order": ordered.right,
        "words shuffled": words.right,
        "drop, sentences": ordered.right - sentences.right,
        "drop, words": ordered.right - words.right,
        "changed, sentences": ordered.changed(sentences),
        "changed, words": ordered.changed(words),
        "largest difference": float((ordered.likely - words.likely).abs().max()),
        "validation": validation,
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "loss": curve.loss[-1] if curve.loss else None,
        "diverged": curve.diverged,
    }


@dataclass(frozen=True)
class Answers:
    """What an arm said of the hidden words, in the order in which they stand in the text.

    Attributes:
        said: The likeliest words.
        likely: The probability of the right ones.
        wanted: The right ones.
    """

    said: Int[Tensor, "hidden"]
    likely: Tensor
    wanted: Int[Tensor, "hidden"]

    @property
    def right(self) -> float:
        """Words told right, in percent."""
        return 100 * float((self.said == self.wanted).double().mean())

    def changed(self, other: Answers) -> float:
        """Return how many answers differ, in percent."""
        return 100 * float((self.said != other.said).double().mean())


@torch.no_grad()
def told(model: nn.Module, batches: Sequence[Masked], hidden: int) -> Answers:
    """Return what an arm says of all hidden words; ``hidden`` is what it is shown in their place."""
    parts: list[tuple[Tensor, ...]] = []
    for batch in batches:
        shown = batch.words.masked_fill(batch.chosen, hidden)
        logits = model(shown, batch.ptr, batch.chosen).logits
        wanted = batch.words[batch.chosen]
        likely = logits.softmax(1).gather(1, wanted[:, None]).squeeze(1).double()
        place = batch.origin[batch.chosen].argsort()
        parts.append((logits.argmax(1)[place], likely[place], wanted[place]))
    return Answers(*(torch.cat(part) for part in zip(*parts, strict=True)))


def packed(
    settings: ShuffledTextSettings, paragraphs: Sequence[Paragraph], order: str, purpose: int
) -> list[Masked]:
    """Return paragraphs in an order, in batches, with the words hidden that are hidden in all orders."""
    return [
        masked([paragraphs[place] for place in some], order, settings.share, purpose, number)
        for number, some in enumerate(in_batches(paragraphs, range(len(paragraphs)), settings.batch))
    ]


def in_batches(paragraphs: Sequence[Paragraph], places: Sequence[int], words: int) -> Iterator[list[int]]:
    """Cut places of paragraphs into batches of at most so many words."""
    some: list[int] = []
    size = 0
    for place in places:
        length = len(paragraphs[place].words)
        if some and size + length > words:
            yield some
            some, size = [], 0
        some.append(place)
        size += length
    if some:
        yield some


def masked_losses(
    settings: ShuffledTextSettings,
    model: nn.Module,
    paragraphs: Sequence[Paragraph],
    vocabulary: int,
    order: str,
    seed: int,
) -> Callable[[int], Losses]:
    """Return what the paragraphs of an update cost: every one is met once before any is met again.

    Of the words to be told most are shown as hidden, some as another word, and some as they are; see `Masking`.
    """
    masking = Masking(settings.share)
    # Batches of one round may be a few fewer or more than those of another: updates count through rounds.
    starts: list[tuple[int, list[list[int]]]] = []

    def batches_of(update: int) -> list[int]:
        while not starts or update >= starts[-1][0] + len(starts[-1][1]):
            begin = starts[-1][0] + len(starts[-1][1]) if starts else 0
            turn = torch.randperm(len(paragraphs), generator=generator(TRAINING, seed, len(starts))).tolist()
            starts.append((begin, list(in_batches(paragraphs, turn, settings.batch))))
        begin, batches = starts[-1]
        return batches[update - begin]

    def losses(update: int) -> Losses:
        some = [paragraphs[place] for place in batches_of(update)]
        batch = masked(some, order, settings.share, TRAINING, seed, update)
        drawn = generator(TRAINING, seed, update, 1)
        shown = shown_of(batch, masking, vocabulary, drawn)
        found = model(shown, batch.ptr, batch.chosen)
        loss = F.cross_entropy(found.logits, batch.words[batch.chosen])
        return Losses(loss + found.loss, float(loss.detach()))

    return losses


def shown_of(
    batch: Masked, masking: Masking, vocabulary: int, drawn: torch.Generator
) -> Int[Tensor, "words"]:
    """Return what is shown in training: the chosen words hidden, swapped for others, or as they are."""
    fate = torch.rand(len(batch.words), generator=drawn)
    other = torch.randint(vocabulary, (len(batch.words),), generator=drawn)
    shown = torch.where(batch.chosen & (fate < masking.hidden + masking.swapped), other, batch.words)
    return shown.masked_fill(batch.chosen & (fate < masking.hidden), vocabulary)
