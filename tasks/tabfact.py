"""TabFact: is a statement about a table true? Learned from scratch, and unmoved when rows and columns are shuffled.

Trained on the published pairs of a true and a false statement about the same training table, 17,654 statements; the
statements for validation and the test are complete. All arms but those of words alone have the same facts: which words
stand in which cells, what numbers may count, how cells rank. Networks keep the weights that do best on validation
statements, boosted trees so many trees. At the end the rows and columns of test tables are shuffled.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from .baselines.statements import StatementClassifier, Statements
from .benchmark import Benchmark
from .best_state import BestState
from .choices import check_chosen
from .ledger import Arm, Trial
from .runs import Record
from .sweeps import TRAINING, generator, shared
from .tabfact_data import Corpus, Statement, corpus, examples, labels, shuffled
from .tabfact_facts import facts
from .tabfact_model import FactModel, fact_encoder
from .tabfact_tokens import Example, pack
from .tabfact_words import words
from .task_card import Published, TaskCard
from .training import Losses, TrainingSettings, train

RESULTS = Path(__file__).parent / "results"
SEEDS = 3
DATA = "TabFact"
_PUBLISHED = "Chen et al. 2020, arXiv 1909.02164"
CARD = TaskCard(
    name="tabfact",
    title="Fact verification over tables (TabFact)",
    family="structure as text",
    measure="accuracy on the test statements, %",
    headline="ressformer",
    protocol="Trained from scratch on the 17,654 statements of the published pairs; the state is chosen on validation "
    "statements; complete test; 1,000 test tables shuffled.",
    figures={
        "validation": "accuracy on validation statements, %",
        "simple": "accuracy on simple statements, %",
        "complex": "accuracy on complex statements, %",
        "small": "accuracy on the small test set, %",
        "shuffled": "accuracy where rows and columns are shuffled minus the same before, points",
        "changed": "predictions that change when rows and columns are shuffled, %",
        "largest difference": "of a probability before and after",
        "parameters": "numbers that training changes",
    },
    published=(
        Published("majority", {DATA: "50.4"}, _PUBLISHED),
        Published("LPA, voting", {DATA: "58.2"}, _PUBLISHED, "programs found by search, no training"),
        Published("LPA, ranking", {DATA: "65.3"}, _PUBLISHED, "trained on all 92,283 statements"),
        Published("Table-BERT", {DATA: "65.1"}, _PUBLISHED, "pre-trained; all 92,283 statements"),
        Published("human", {DATA: "92.1"}, _PUBLISHED, "small test set"),
    ),
)


@dataclass(frozen=True)
class TabFactSettings:
    """Sizes of the run.

    Attributes:
        arms: Which are compared.
        width: Features of a token.
        heads: Attention heads.
        dropout: Probability of dropping a feature or a word.
        masked: Probability of not reading a linked word.
        batch: Pairs of a batch.
        training: How networks are trained.
        looks: Times that validation statements are looked at in training.
        looked: Validation statements that are looked at then.
        train: Training statements; None is all.
        others: Statements for validation and the test, each; None is all.
        shuffles: Test tables that are shuffled.
        workers: Processes.
    """

    arms: tuple[str, ...] = ()
    width: int = 64
    heads: int = 4
    dropout: float = 0.2
    masked: float = 0.5
    batch: int = 32
    training: TrainingSettings = field(
        default_factory=lambda: TrainingSettings(updates=2_800, learning_rate=1e-3)
    )
    looks: int = 10
    looked: int = 4_000
    train: int | None = None
    others: int | None = None
    shuffles: int = 1_000
    workers: int = 2

    def __post_init__(self) -> None:
        if not self.arms:
            object.__setattr__(self, "arms", tuple(ARMS))
        check_chosen(self, arms=ARMS)
        for name in ("batch", "looks", "looked", "shuffles"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1 (got {getattr(self, name)})")
        if self.train is not None and self.train % 2:
            raise ValueError(f"train must be even, statements come in pairs (got {self.train})")


_SOES = {"name": "soes", "steps": 3, "neighbors": 8}
_RESS = {"name": "ressformer", "steps": 3, "neighbors": 8, "slots": 4, "experts": 1}
ARMS: dict[str, Arm] = {
    arm.name: arm
    for arm in (
        Arm("majority", options={"name": "majority"}),
        Arm("words, logistic regression", options={"name": "words", "strength": 0.01}),
        Arm("words and facts, logistic regression", options={"name": "words and facts", "strength": 0.01}),
        Arm("facts, boosted trees", options={"name": "boosted facts", "rate": 0.05, "leaves": 15}),
        Arm("transformer, rotary", options={"name": "transformer", "layers": 3}),
        Arm("transformer, no positions", options={"name": "dense", "layers": 3}),
        Arm("soes, given graph", True, {**_SOES, "learn": False}),
        Arm("soes", True, _SOES),
        Arm("ressformer", True, _RESS),
    )
}
NETWORKS = ("transformer", "dense", "soes", "ressformer")
QUICK = TabFactSettings(
    arms=("words and facts, logistic regression", "transformer, rotary", "soes"),
    width=32,
    training=TrainingSettings(updates=60, learning_rate=3e-3),
    looks=2,
    looked=200,
    train=1_000,
    others=400,
    shuffles=100,
)


def run(
    quick: bool, seeds: int, settings: TabFactSettings | None = None, folder: Path = RESULTS
) -> list[Record]:
    """Train and judge all arms, write the results to the folder, and return a row an arm.

    Raises:
        FileNotFoundError: If the data is not there.
        ValueError: If seeds is below 1.
    """
    settings = settings or (QUICK if quick else TabFactSettings())
    return Benchmark(CARD, quick, seeds, folder).judge(measure, (DATA,), settings, ARMS, shared(settings))


def measure(settings: TabFactSettings, trial: Trial) -> Record:
    """Train one arm once, and judge the test statements, before and after their tables are shuffled."""
    options = dict(ARMS[trial.arm].options)
    fit = network if options["name"] in NETWORKS else rival
    judge, size = fit(settings, options, trial.seed)
    data = corpus(settings.train, settings.others)
    tested = data.parts["test"]
    found = {part: judge(part, None) for part in ("val", "test")}
    chosen = np.linspace(0, len(tested) - 1, min(settings.shuffles, len(tested))).astype(int)
    after = judge("test", chosen)
    before = found["test"][chosen]
    right = (found["test"] > 0.5) == labels(tested)
    true = labels([tested[place] for place in chosen])
    return {
        "score": 100 * float(right.mean()),
        "validation": 100 * float(((found["val"] > 0.5) == labels(data.parts["val"])).mean()),
        "simple": _share(right, [not statement.complex for statement in tested]),
        "complex": _share(right, [bool(statement.complex) for statement in tested]),
        "small": _share(right, [statement.small for statement in tested]),
        "shuffled": 100 * float(((after > 0.5) == true).mean() - ((before > 0.5) == true).mean()),
        "changed": 100 * float(((after > 0.5) != (before > 0.5)).mean()),
        "largest difference": float(np.abs(after - before).max()),
        "parameters": size,
    }


def network(settings: TabFactSettings, options: dict[str, Any], seed: int) -> tuple[Any, int]:
    """Train a network; return what gives the probability that statements are true, and its size."""
    data = corpus(settings.train, settings.others)
    torch.manual_seed(seed)
    load = partial(examples, train=settings.train, others=settings.others)
    learned, held = load("train"), load("val")[:: max(1, len(load("val")) // settings.looked)]
    width, heads, dropout = settings.width, settings.heads, settings.dropout
    encoder = fact_encoder(options.pop("name"), width, heads, dropout, **options)
    known = np.stack([example.facts for example in learned])
    model = FactModel(len(data.lexicon()), known, encoder, width, heads, dropout, settings.masked)
    target = labels(data.parts["train"])
    right = labels(data.parts["val"])[:: max(1, len(load("val")) // settings.looked)]
    best = BestState(
        model,
        lambda: float(((probabilities(model, held) > 0.5) == right).mean()),
        max(1, settings.training.updates // settings.looks),
    )
    train(model, best.watching(fact_losses(model, learned, target, settings.batch, seed)), settings.training)
    best.restore(settings.training.updates)
    exact = copy.deepcopy(model).double()

    def judge(part: str, chosen: np.ndarray | None) -> np.ndarray:
        if chosen is None:
            return probabilities(exact, load(part))
        lexicon, statements = data.lexicon(), data.parts[part]
        moved = [
            data.example(statements[place], lexicon, _moved(data, statements[place], place, seed))
            for place in chosen
        ]
        return probabilities(exact, moved)

    return judge, sum(weight.numel() for weight in model.parameters())


def rival(settings: TabFactSettings, options: dict[str, Any], seed: int) -> tuple[Any, int]:
    """Train a rival that is no network; return the same."""
    data = corpus(settings.train, settings.others)
    load = partial(examples, train=settings.train, others=settings.others)

    def seen(part: str, chosen: np.ndarray | None = None) -> Statements:
        statements = data.parts[part]
        if chosen is None:
            rows = np.stack([example.facts for example in load(part)])
            return Statements([_text(statement) for statement in statements], rows)
        tables = [_moved(data, statements[place], place, seed) for place in chosen]
        pairs = zip((statements[place] for place in chosen), tables, strict=True)
        rows = np.array([facts(data.linked(statement, table), table) for statement, table in pairs])
        return Statements([_text(statements[place]) for place in chosen], rows.astype(np.float32))

    model = StatementClassifier(**options, seed=seed)
    model.fit(seen("train"), labels(data.parts["train"]), seen("val"), labels(data.parts["val"]))
    return (lambda part, chosen: model.predict_proba(seen(part, chosen))), 0


def fact_losses(
    model: FactModel, learned: Sequence[Example], target: np.ndarray, pairs: int, seed: int
) -> Any:
    """Return what the pairs of an update cost; every pair is met once before any is met again."""
    count = len(learned) // 2
    each = -(-count // pairs)

    def losses(update: int) -> Losses:
        order = torch.randperm(count, generator=generator(TRAINING, seed, update // each))
        some = [
            place
            for pair in order[update % each * pairs :][:pairs].tolist()
            for place in (2 * pair, 2 * pair + 1)
        ]
        scores, extra = model(pack([learned[place] for place in some]))
        wanted = torch.from_numpy(target[some]).to(scores.dtype)
        loss = F.binary_cross_entropy_with_logits(scores, wanted)
        return Losses(loss + extra, float(loss.detach()))

    return losses


@torch.no_grad()
def probabilities(model: nn.Module, some: Sequence[Example], batch: int = 256) -> np.ndarray:
    """Return the probability that each statement is true."""
    dtype = next(model.parameters()).dtype
    found = []
    for first in range(0, len(some), batch):
        tokens = pack(some[first : first + batch])
        for name in ("x", "edge_attr", "set_facts"):
            tokens[name] = tokens[name].to(dtype)
        found.append(model(tokens)[0].sigmoid().double().numpy())
    return np.concatenate(found)


def _moved(data: Corpus, statement: Statement, place: int, seed: int) -> Any:
    return shuffled(data.tables[statement.table], seed, int(place))


def _text(statement: Statement) -> str:
    return " ".join(word.stem if word.number is None else "#" for word in words(statement.text))


def _share(right: np.ndarray, where: Sequence[bool]) -> float | None:
    chosen = np.array(where, dtype=bool)
    return 100 * float(right[chosen].mean()) if chosen.any() else None
