"""HotpotQA: from which of a question's ten paragraphs does its answer follow? The paragraphs are a set.

The paragraphs were found by a search in all of Wikipedia, so that all are about what the question is about; of 500
questions those count of which a needed paragraph was found. Five folds over questions; a seed is another division.
Everything is chosen inside the training folds: each network is trained four times on three quarters of them, with the
weights that do best on the last quarter, and the mean of the four counts. How rare words are is learned from the
paragraphs of the training folds. The score is the share of the needed paragraphs among the two that are ranked first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from structformer.datasets import Question, hotpotqa

from structformer.ops import segment_softmax

from .baselines.paragraphs import OverlapRanker, TfidfRanker
from .benchmark import Benchmark
from .best_state import BestState
from .comparison import trials
from .evidence_data import FEATURES, Evidence, evidence, rarity
from .evidence_model import EvidenceModel, evidence_encoder, pack
from .evidence_scaling import Scaling, with_links, within
from .ledger import Arm, Trial
from .runs import Record
from .sweeps import TEST, TRAINING, VALIDATION, generator
from .task_card import TaskCard
from .training import Losses, TrainingSettings, train

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
        unknown = [arm for arm in self.arms if arm not in ARMS]
        if unknown:
            raise ValueError(f"arms must be among {', '.join(ARMS)} (got {', '.join(unknown)})")
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
# Scores of the paragraphs of each question.
Scores = list[np.ndarray]


def run(
    quick: bool, seeds: int, settings: EvidenceSettings | None = None, folder: Path = RESULTS
) -> list[Record]:
    """Judge all arms, write the results to the folder, and return a row an arm.

    Raises:
        FileNotFoundError: If the data is not there.
        ValueError: If seeds is below 1.
    """
    settings = settings or (QUICK if quick else EvidenceSettings())
    wanted = trials((DATA,), settings.arms, seeds)
    shared = {name: value for name, value in asdict(settings).items() if name not in ("arms", "workers")}
    return Benchmark(CARD, quick, seeds, folder).run(
        partial(measure, settings),
        wanted,
        shared,
        [ARMS[name] for name in settings.arms],
        settings.workers,
    )


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


@dataclass(frozen=True, eq=False)
class Item:
    """A question as text and as figures."""

    question: Question
    figures: Evidence


@dataclass(frozen=True, eq=False)
class Division:
    """One fold to test on, and the others to train on; how many questions there are in all."""

    learned: tuple[Item, ...]
    tested: tuple[Item, ...]
    questions: int


@lru_cache(maxsize=8)
def division(number: int | None, folds: int, seed: int, fold: int) -> Division:
    """Return one fold of a division of the questions.

    Raises:
        FileNotFoundError: If the data is not there.
    """
    questions = [one for one in hotpotqa() if one.supporting and len(one.titles) > 2][:number]
    order = torch.randperm(len(questions), generator=generator(VALIDATION, seed)).tolist()
    chosen = set(order[fold::folds])
    others = [questions[place] for place in order if place not in chosen]
    rare = rarity(others)
    parts = [
        tuple(Item(one, evidence(one, rare)) for one in some)
        for some in (others, [questions[place] for place in order[fold::folds]])
    ]
    return Division(*parts, len(questions))


def network(
    settings: EvidenceSettings, options: dict[str, Any], part: Division, seed: int
) -> tuple[Callable[..., Scores], float, int]:
    """Train a network once for each part that is held out of the training folds, to choose its weights by.

    Returns:
        What scores paragraphs, by the mean of these networks; their mean score on what was held out; and the numbers
        of one of them.
    """
    links = options["links"]
    scale = Scaling.of([item.figures for item in part.learned])
    nets: list[EvidenceModel] = []
    chosen: list[float] = []
    for member in range(settings.members):
        held = part.learned[member :: settings.members]
        others = [item for place, item in enumerate(part.learned) if place % settings.members != member]
        torch.manual_seed(seed * settings.members + member)
        net = EvidenceModel(scale.bins, evidence_encoder(**options), options["width"], options["dropout"])
        best = BestState(
            net,
            partial(_right, net, scale, links, held),
            max(1, settings.training.updates // settings.looks),
        )
        learned = [scale(item.figures) for item in others]
        train(net, best.watching(listwise(net, learned, links, settings.batch, seed)), settings.training)
        chosen.append(best.restore(settings.training.updates))
        nets.append(net.double())

    def judge(items: Sequence[Item], orders: Sequence[np.ndarray] | None) -> Scores:
        each = [scored(net, scale, links, items, orders) for net in nets]
        return [np.mean(some, axis=0) for some in zip(*each, strict=True)]

    return judge, 100 * fmean(chosen), sum(weight.numel() for weight in nets[0].parameters())


@torch.no_grad()
def scored(
    net: EvidenceModel,
    scale: Scaling,
    links: str,
    items: Sequence[Item],
    orders: Sequence[np.ndarray] | None = None,
) -> Scores:
    """Return the logarithm of each paragraph's share in the softmax of its question."""
    some = [item.figures for item in items]
    if orders is not None:
        some = [one.permuted(order) for one, order in zip(some, orders, strict=True)]
    tokens, dtype = pack([scale(one) for one in some], links), next(net.parameters()).dtype
    tokens.x = tokens.x.to(dtype)
    if tokens.edge_attr is not None:
        tokens.edge_attr = tokens.edge_attr.to(dtype)
    shares = segment_softmax(net(tokens)[0], tokens.ptr).log()
    return [share.double().numpy() for share in shares.split(tokens.sizes.tolist())]


def _right(net: EvidenceModel, scale: Scaling, links: str, items: Sequence[Item]) -> float:
    scores = scored(net, scale, links, items)
    return fmean(found(score, item) for score, item in zip(scores, items, strict=True))


def rival(
    settings: EvidenceSettings, options: dict[str, Any], part: Division, seed: int
) -> tuple[Callable[..., Scores], float | None, int]:
    """Train a ranker that is no network; return the same."""
    name, links = options.pop("name"), options.pop("links", False)
    learned = part.learned
    if name in ("linear", "boosted"):
        row = with_links if links else within
        ranker = OverlapRanker(name, seed=seed, **options)
        ranker.fit(
            np.concatenate([row(item.figures) for item in learned]),
            np.concatenate([item.figures.supporting for item in learned]),
        )

        def score(item: Item, order: np.ndarray) -> np.ndarray:
            return ranker.scores(row(item.figures.permuted(order)))

    elif name == "bm25":

        def score(item: Item, order: np.ndarray) -> np.ndarray:
            return item.figures.x[order, FEATURES.index("bm25")]

    else:
        tfidf = TfidfRanker([text for item in learned for text in texts(item.question)])

        def score(item: Item, order: np.ndarray) -> np.ndarray:
            paragraphs = texts(item.question)
            return tfidf.scores(item.question.question, [paragraphs[place] for place in order])

    def judge(items: Sequence[Item], orders: Sequence[np.ndarray] | None) -> Scores:
        turns = orders or [np.arange(len(item.question.titles)) for item in items]
        return [score(item, order) for item, order in zip(items, turns, strict=True)]

    return judge, None, 0


def listwise(model: EvidenceModel, learned: Sequence[Evidence], links: str, batch: int, seed: int) -> Any:
    """Return what the questions of an update cost: −log of a needed paragraph's share in the softmax of its question.

    Every question is met once before any is met again.
    """
    each = -(-len(learned) // batch)

    def losses(update: int) -> Losses:
        order = torch.randperm(len(learned), generator=generator(TRAINING, seed, update // each))
        tokens = pack([learned[place] for place in order[update % each * batch :][:batch].tolist()], links)
        scores, extra = model(tokens)
        loss = -segment_softmax(scores, tokens.ptr)[tokens.y].log().mean()
        return Losses(loss + extra, float(loss.detach()))

    return losses


def texts(question: Question) -> list[str]:
    """Return a question's paragraphs as texts, titles first."""
    return [
        f"{title}. {' '.join(sentences)}"
        for title, sentences in zip(question.titles, question.paragraphs, strict=True)
    ]


def first_two(scores: np.ndarray) -> set[int]:
    """Return the two paragraphs of the highest scores."""
    return set(np.argsort(-scores, kind="stable")[:2].tolist())


def found(scores: np.ndarray, item: Item) -> float:
    """Return the share of a question's needed paragraphs among the first two."""
    needed = set(item.question.supporting)
    return len(first_two(scores) & needed) / len(needed)


def shuffles(items: Sequence[Item], *numbers: int) -> list[np.ndarray]:
    """Return an order of the paragraphs of each question."""
    drawn = generator(*numbers)
    return [torch.randperm(len(item.question.titles), generator=drawn).numpy() for item in items]
