"""Ablation: each part of the ReSSFormer switched off in turn, on a task of structure and a task of text.

"digits" tells handwritten digits from the set of their inked pixels, in no order; "stories" answers bAbI questions. The
full model and every model that lacks a part are trained alike, with the same seeds on the same data. What a part is
worth is the mean difference over seeds between the full model and the one without it, with a 95% interval (paired t).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from structformer.datasets import Story
from structformer.datasets.stories import TASKS
from torch import Tensor
from torch.nn import functional as F

from structformer.models.encoder import Encoded
from structformer.models.pooled import PooledModel, TokenInput
from structformer.models.ressformer import ReSSFormerConfig
from structformer.models.text_qa import TextQAConfig
from structformer.tokens import TokenSet

from .babi import stories
from .benchmark import Benchmark
from .choices import check_chosen
from .comparison import compare, trials
from .ledger import Arm, Trial
from .runs import Record
from .story_training import OURS, Lexicon, answered, build, wrong
from .summaries import summary
from .sweeps import TRAINING, generator, shared
from .task_card import TaskCard
from .training import Curve, Losses, TrainingSettings, train

RESULTS = Path(__file__).parent / "results"
# Of the published run.
SEEDS = 5
FULL = "full model"
# A part that only the text task has.
WORD_LINKS = "links by shared words"
WORD_ROLES = 8  # features of such a link
# What replaces a part; the feed-forward network in place of experts is as large as those that a token goes through.
OFF: dict[str, dict[str, Any]] = {
    "memory": {"slots": 0},
    "memory's gates": {"gated": False},
    "cache": {"cache": 0},
    "smoothness": {},
    "structure gate": {"structure_gate": False},
    "activation sparsity": {"normalizer": "softmax"},
    "top-k": {"top": None},
    "experts": {"experts": 1, "active": 1, "expansion": 2.0},
    "halting": {"halting": None},
    WORD_LINKS: {},
}
ON: dict[str, Any] = {
    "slots": 8,
    "gated": True,
    "cache": 2,
    "structure_gate": True,
    "normalizer": "entmax15",
    "top": 8,
    "experts": 4,
    "active": 2,
    "expansion": 1.0,
    "halting": "act",
}
# The accuracy on what was not seen, and how training went.
Judged = tuple[float, Curve]
Problem = Callable[["AblationSettings", str, int, Path], Judged]


@dataclass(frozen=True)
class AblationSettings:
    """Sizes of the run.

    Attributes:
        problems: Of `PROBLEMS`.
        width: Features of a token.
        steps: Most steps of the model.
        neighbors: Tokens that a token may listen to.
        smoothness: Factor on the change of the graph from step to step, in the loss.
        tasks: Numbers of the bAbI tasks.
        sentences: Most sentences of a story.
        batch: Sets or stories of a batch.
        training: How models are trained.
        workers: Processes.
    """

    problems: tuple[str, ...] = ("digits", "stories")
    width: int = 48
    steps: int = 4
    neighbors: int = 16
    smoothness: float = 0.01
    tasks: tuple[int, ...] = (1, 2, 6, 11, 12, 13, 16)
    sentences: int = 30
    batch: int = 32
    training: TrainingSettings = field(
        default_factory=lambda: TrainingSettings(updates=800, learning_rate=2e-3)
    )
    workers: int = 2

    def __post_init__(self) -> None:
        check_chosen(self, problems=PROBLEMS, tasks=TASKS)
        if self.smoothness < 0:
            raise ValueError(f"smoothness must be at least 0 (got {self.smoothness})")

    def config(self, without: str) -> ReSSFormerConfig:
        """Return what the model without a part is made of; `FULL` lacks none."""
        changed = {**ON, **OFF.get(without, {})}
        return ReSSFormerConfig(
            width=self.width, steps=self.steps, neighbors=self.neighbors, dropout=0.0, **changed
        )

    def change_cost(self, without: str) -> float:
        """Return the factor on the change of the graph in the loss of the model without a part."""
        return 0.0 if without == "smoothness" else self.smoothness


def run(
    quick: bool, seeds: int, settings: AblationSettings | None = None, folder: Path = RESULTS
) -> list[Record]:
    """Train the full model and each without a part, write the results to the folder, and return a summary.

    A run that was cut short is taken up where it ended; see `structformer.tasks.ledger.Ledger`.

    Raises:
        FileNotFoundError: If the stories are wanted and were not downloaded.
        ValueError: If seeds is below 1.
    """
    settings = settings or (QUICK if quick else AblationSettings())
    arms = [Arm(name, ours=True, options=asdict(settings.config(part))) for name, part in parts().items()]
    wanted = [trial for trial in trials(settings.problems, list(parts()), seeds) if has(trial)]
    benchmark = Benchmark(CARD, quick, seeds, folder)
    ledger = benchmark.ledger(shared(settings, "problems"), arms)
    checkpoints = {trial: ledger.checkpoint(trial) for trial in wanted}
    rows = compare(ledger, partial(measure, settings, checkpoints), wanted, settings.workers)
    ledger.finish()
    return summary(rows, CARD)


def parts() -> dict[str, str]:
    """Return what the arms lack, by their names."""
    return {FULL: FULL, **{f"without {part}": part for part in OFF}}


def has(trial: Trial) -> bool:
    """Whether the task has the part that the arm lacks."""
    return trial.data == "stories" or parts()[trial.arm] != WORD_LINKS


def measure(settings: AblationSettings, checkpoints: Mapping[Trial, Path], trial: Trial) -> Record:
    """Train one model, and return its accuracy on what it has not seen."""
    torch.manual_seed(trial.seed)
    right, curve = PROBLEMS[trial.data](settings, parts()[trial.arm], trial.seed, checkpoints[trial])
    return {"score": 100 * right, **curve.costs()}


def digits(settings: AblationSettings, without: str, seed: int, checkpoint: Path) -> Judged:
    """Learn to tell digits from their inked pixels; the accuracy is that on the quarter held out for all alike."""
    train_sets, train_labels, test_sets, test_labels = digit_sets()
    model = PooledModel(TokenInput(features=3), 10, settings.config(without))

    def losses(update: int) -> Losses:
        drawn = generator(TRAINING, seed, update)
        some = torch.randint(train_sets.num_sets, (settings.batch,), generator=drawn)
        out = model(train_sets.select(some))
        return _losses(
            F.cross_entropy(out.outputs, train_labels[some]), out.encoded, settings.change_cost(without)
        )

    curve = train(model, losses, settings.training, checkpoint)
    model.eval()
    with torch.no_grad():
        right = model(test_sets).outputs.argmax(1) == test_labels
    return float(right.double().mean()), curve


def story_questions(settings: AblationSettings, without: str, seed: int, checkpoint: Path) -> Judged:
    """Learn to answer the questions of the tasks together; the accuracy is that on the test questions."""
    data = stories(settings.sentences)
    learned, tested = (
        [story for story in some if story.task in settings.tasks] for some in (data.train, data.test)
    )
    lexicon = Lexicon.of(learned)
    links = {"reach": 0, "edge_features": 0} if without == WORD_LINKS else {"edge_features": WORD_ROLES}
    model = build(OURS, TextQAConfig(**{**asdict(settings.config(without)), **links}), lexicon)

    def losses(update: int) -> Losses:
        drawn = generator(TRAINING, seed, update)
        some: list[Story] = [
            learned[i] for i in torch.randint(len(learned), (settings.batch,), generator=drawn).tolist()
        ]
        out, right = answered(model, lexicon, some)
        return _losses(F.cross_entropy(out.logits, right), out.encoded, settings.change_cost(without))

    curve = train(model, losses, settings.training, checkpoint)
    return 1 - fmean(wrong(model, lexicon, tested)), curve


@lru_cache
def digit_sets() -> tuple[TokenSet, Tensor, TokenSet, Tensor]:
    """Return scikit-learn's digits as sets of inked pixels (row, column, ink), three quarters of them to learn from."""
    images, labels = load_digits(return_X_y=True)
    parts = train_test_split(
        images.reshape(-1, 8, 8), labels, test_size=0.25, stratify=labels, random_state=0
    )
    (train_sets, test_sets), (train_labels, test_labels) = (
        map(_pixels, parts[:2]),
        (torch.as_tensor(part) for part in parts[2:]),
    )
    return train_sets, train_labels, test_sets, test_labels


def _pixels(images: Any) -> TokenSet:
    found = torch.as_tensor(images, dtype=torch.float32)
    place = found.nonzero()
    ink = found[tuple(place.T)]
    x = torch.cat([place[:, 1:] / 3.5 - 1, ink[:, None] / 8 - 1], dim=1)
    sizes = place[:, 0].bincount(minlength=len(found))
    return TokenSet(x, ptr=torch.cat([sizes.new_zeros(1), sizes.cumsum(0)]))


def _losses(answers: Tensor, encoded: Encoded, smoothness: float) -> Losses:
    total = answers + encoded.loss
    if smoothness:
        total = total + smoothness * encoded.smoothness
    return Losses(total, float(answers.detach()))


CARD = TaskCard(
    name="ablation",
    title="What each part is worth",
    family="ablation",
    measure="answers right, %",
    headline=FULL,
    protocol="The full model and models that lack one part each, of width 48 and up to 4 steps, trained alike for 800 "
    "updates, nothing tuned. Digits: handwritten digits as sets of inked pixels, a quarter held out. Stories: bAbI "
    "tasks 1, 2, 6, 11, 12, 13, 16 together. The lead is what the part is worth.",
)
PROBLEMS: dict[str, Problem] = {"digits": digits, "stories": story_questions}
QUICK = AblationSettings(
    problems=("digits",),
    width=16,
    steps=2,
    batch=32,
    training=TrainingSettings(updates=60, learning_rate=5e-3),
)
