"""HotpotQA: from which of a question's ten paragraphs does its answer follow? The paragraphs are a set.

The paragraphs were found by a search in all of Wikipedia, so that all are about what the question is about; of 500
questions those count of which a needed paragraph was found. Five folds over questions; a seed is another division.
Everything is chosen inside the training folds: each network is trained four times on three quarters of them, with the
weights that do best on the last quarter, and the mean of the four counts. How rare words are is learned from the
paragraphs of the training folds. The score is the share of the needed paragraphs among the two that are ranked first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

import numpy as np

from .benchmark import Benchmark
from .choices import check_chosen
from .evidence_folds import division, shuffles
from .evidence_rankers import first_two, found, network, rival
from .ledger import Arm, Trial
from .runs import Record
from .sweeps import TEST, shared
from .task_card import TaskCard
from .training import TrainingSettings

RESULTS = Path(__file__).parent / "results"
SEEDS = 5
DATA = "HotpotQA"
CARD = TaskCard(
    name="evidence",
    title="Evidence among distractors (HotpotQA)",
    family="sets",
    measure="needed paragraphs among the two ranked first, %",
    headline="soes",
    protocol="The 421 of 500 questions with a needed paragraph among those found; a seed is a division into five "
    "folds; everything is chosen inside the training folds.",
    figures={
        "first": "questions whose first paragraph is a needed one, %",
        "both": "of the questions with two needed paragraphs, those with both ranked first, %",
        "validation": "the score of single networks on the parts that they were chosen by, %",
        "changed": "questions whose two first paragraphs change when the paragraphs are shuffled, %",
        "largest difference": "of a score, before and after",
        "parameters": "numbers that training changes",
    },
)


@dataclass(frozen=True)
class EvidenceSettings:
    """Sizes of the run.

    Attributes:
        arms: Which are compared.
        questions: How many; None is all.
        folds: Into how many parts they are divided.
        members: Parts into which the training folds are divided; for each a network is trained on the others and chosen
            by it, and the mean of these networks counts.
        batch: Questions of a batch.
        training: How networks are trained.
        looks: Times that what is held out is looked at in training.
        shuffles: Permutations of the paragraphs, over all questions.
        workers: Processes.
    """

    arms: tuple[str, ...] = ()
    questions: int | None = None
    folds: int = 5
    members: int = 4
    batch: int = 64
    training: TrainingSettings = field(
        default_factory=lambda: TrainingSettings(updates=300, learning_rate=3e-3)
    )
    looks: int = 15
    shuffles: int = 1_000
    workers: int = 2

    def __post_init__(self) -> None:
        if not self.arms:
            object.__setattr__(self, "arms", tuple(ARMS))
        check_chosen(self, arms=ARMS)
        if self.folds < 2:
            raise ValueError(f"folds must be at least 2 (got {self.folds})")
        if self.members < 2:
            raise ValueError(f"members must be at least 2 (got {self.members})")


_NET = {"width": 32, "heads": 4, "dropout": 0.2}
_SOES = {"name": "soes", **_NET, "steps": 2, "neighbors": 4}
_RESS = {"name": "ressformer", **_NET, "steps": 2, "neighbors": 4, "slots": 4, "experts": 1}
ARMS: dict[str, Arm] = {
    arm.name: arm
    for arm in (
        Arm("tf-idf", options={"name": "tf-idf"}),
        Arm("bm25", options={"name": "bm25"}),
        Arm("overlap, logistic regression", options={"name": "linear", "links": False}),
        Arm("overlap and links, logistic regression", options={"name": "linear", "links": True}),
        Arm("overlap and links, boosted trees", options={"name": "boosted", "links": True}),
        Arm("transformer, rotary", options={"name": "transformer", **_NET, "layers": 2, "links": "none"}),
        Arm("soes, learned graph", True, {**_SOES, "links": "none"}),
        Arm("soes, given graph", True, {**_SOES, "links": "naming", "learn": False}),
        Arm("soes", True, {**_SOES, "links": "all"}),
        Arm("ressformer", True, {**_RESS, "links": "all"}),
    )
}
NETWORKS = ("transformer", "dense", "soes", "ressformer")
QUICK = EvidenceSettings(
    arms=("tf-idf", "overlap, logistic regression", "transformer, rotary", "soes"),
    questions=100,
    folds=2,
    members=2,
    training=TrainingSettings(updates=40, learning_rate=3e-3),
    looks=2,
    shuffles=100,
)


def run(
    quick: bool, seeds: int, settings: EvidenceSettings | None = None, folder: Path = RESULTS
) -> list[Record]:
    """Judge all arms, write the results to the folder, and return a row an arm.

    Raises:
        FileNotFoundError: If the data is not there.
        ValueError: If seeds is below 1.
    """
    settings = settings or (QUICK if quick else EvidenceSettings())
    return Benchmark(CARD, quick, seeds, folder).judge(measure, (DATA,), settings, ARMS, shared(settings))


def measure(settings: EvidenceSettings, trial: Trial) -> Record:
    """Judge one arm on all folds of one division, with the paragraphs as they come and shuffled."""
    options = dict(ARMS[trial.arm].options)
    right, first, both, validation, changed, differences, size = [], [], [], [], [], [], 0
    for fold in range(settings.folds):
        part = division(settings.questions, settings.folds, trial.seed, fold)
        fit = network if options["name"] in NETWORKS else rival
        judge, chosen, size = fit(settings, dict(options), part, trial.seed)
        before = judge(part.tested, None)
        for score, item in zip(before, part.tested, strict=True):
            needed = set(item.question.supporting)
            right.append(found(score, item))
            first.append(float(int(score.argmax()) in needed))
            both += [float(first_two(score) == needed)] if len(needed) == 2 else []
        validation.append(chosen)
        for number in range(-(-settings.shuffles // part.questions)):
            orders = shuffles(part.tested, TEST, trial.seed, fold, number)
            after = judge(part.tested, orders)
            for one, other, order in zip(before, after, orders, strict=True):
                differences.append(float(np.abs(one[order] - other).max()))
                changed.append(float(first_two(one) != {int(order[place]) for place in first_two(other)}))
    return {
        "score": 100 * fmean(right),
        "first": 100 * fmean(first),
        "both": 100 * fmean(both),
        "validation": None if None in validation else fmean(validation),
        "changed": 100 * fmean(changed),
        "largest difference": max(differences),
        "parameters": size,
    }
