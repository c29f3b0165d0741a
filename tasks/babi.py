"""bAbI: 20 tasks of reasoning over short stories, 1,000 training questions each, apart and all together.

Errors are of the test questions, in percent; a task counts as failed above 5. What training is stopped or chosen by
are the validation questions, which are held out of the training file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from statistics import fmean

import torch
from structformer.datasets import Babi, Story, babi
from structformer.datasets.stories import TASKS

from structformer.models.text_qa import TextQAConfig

from .babi_means import FAILED, JOINT, with_means
from .benchmark import Benchmark
from .choices import check_chosen
from .runs import Record
from .story_training import ARMS, OURS, Lexicon, build, num_parameters, shortened, story_losses, wrong
from .sweeps import sweep
from .task_card import Published, TaskCard
from .training import TrainingSettings, train

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class BabiSettings:
    """Sizes of the run.

    Attributes:
        arms: Which are compared.
        model: Of the arms; rivals take its sizes.
        set_dropout: Of the models of single tasks, which have less to learn from.
        tasks: Numbers of the tasks.
        joint: Whether one model learns all of them at once.
        apart: Whether one model learns each.
        sentences: Most sentences of a story, the last ones.
        batch: Stories of a batch.
        rates: Learning rates.
        joint_training: How the joint model is trained.
        training: How the models of single tasks are.
        workers: Processes.
    """

    arms: tuple[str, ...] = (OURS,)
    model: TextQAConfig = field(
        default_factory=lambda: TextQAConfig(
            width=96, heads=4, steps=4, neighbors=16, experts=1, dropout=0.0, set_dropout=0.1
        )
    )
    set_dropout: float = 0.25
    tasks: tuple[int, ...] = tuple(TASKS)
    joint: bool = True
    apart: bool = True
    sentences: int = 70
    batch: int = 64
    rates: tuple[float, ...] = (2e-3,)
    joint_training: TrainingSettings = field(default_factory=lambda: TrainingSettings(updates=10_000))
    training: TrainingSettings = field(default_factory=lambda: TrainingSettings(updates=2_000))
    workers: int = 2

    def __post_init__(self) -> None:
        check_chosen(self, arms=ARMS, tasks=TASKS)
        if self.sentences < 1 or self.batch < 1:
            raise ValueError(f"sentences and batch must be at least 1 (got {self.sentences}, {self.batch})")


CARD = TaskCard(
    name="babi",
    title="Stories: bAbI, 1,000 questions a task",
    family="stories",
    measure="error, %",
    headline=OURS,
    better="lower",
    protocol="English tasks of 1,000 training questions, 100 of which are held out to choose by; errors are of the "
    "1,000 test questions a task, asked of a story's 70 last sentences. One model for all tasks (joint), and one for "
    "each. A task counts as failed above 5%.",
    figures={"tasks failed": "tasks failed", "parameters": "parameters"},
    published=(
        *(
            Published(
                method,
                {"20 tasks apart, each one's best seed": apart, JOINT: joint},
                "Dehghani et al. 2019 (arXiv 1807.03819), table 1",
                "best of 10 runs by validation, trained on all 1,000 questions",
            )
            for method, apart, joint in (
                ("Transformer", "21.8", "26.8"),
                ("Universal Transformer", "5.31", "8.50"),
                ("Universal Transformer, halting", "4.55", "7.78"),
            )
        ),
        Published("MemN2N", {JOINT: "12.4"}, "Sukhbaatar et al. 2015 (arXiv 1503.08895)"),
    ),
    derived=with_means,
)
QUICK = BabiSettings(
    model=TextQAConfig(width=32, heads=2, steps=2, experts=1, dropout=0.0),
    set_dropout=0.1,
    tasks=(1,),
    joint=False,
    training=TrainingSettings(updates=200, learning_rate=3e-3),
)


def run(
    quick: bool, seeds: int, settings: BabiSettings | None = None, folder: Path = RESULTS
) -> list[Record]:
    """Train all arms, write the results to the folder, and return a summary.

    A run that was cut short is taken up where it ended; see `structformer.tasks.ledger.Ledger`.

    Raises:
        FileNotFoundError: If the stories were not downloaded.
        ValueError: If seeds is below 1, or a file of the stories is damaged.
    """
    settings = settings or (QUICK if quick else BabiSettings())
    stories(settings.sentences)
    parts = ([JOINT] if settings.joint else []) + [
        f"task {task}" for task in settings.tasks if settings.apart
    ]
    return sweep(
        Benchmark(CARD, quick, seeds, folder),
        partial(measure, settings),
        parts,
        settings,
        ("joint", "apart", "tasks"),
    )


def measure(settings: BabiSettings, part: str, arm: str, rate: float, seed: int, checkpoint: Path) -> Record:
    """Train one arm once, on one task or on all, and return its errors."""
    data = stories(settings.sentences)
    tasks = settings.tasks if part == JOINT else (int(part.removeprefix("task ")),)
    learned, held, tested = (
        [story for story in some if story.task in tasks] for some in (data.train, data.validation, data.test)
    )
    torch.manual_seed(seed)
    lexicon = Lexicon.of(learned)
    joint = part == JOINT
    config = settings.model if joint else replace(settings.model, set_dropout=settings.set_dropout)
    model = build(arm, config, lexicon)
    training = replace(settings.joint_training if joint else settings.training, learning_rate=rate)
    losses = story_losses(model, lexicon, learned, settings.batch, seed)
    curve = train(model, losses, training, checkpoint)
    errors = wrong(model, lexicon, tested)
    by_task = {
        task: 100 * fmean(error for error, story in zip(errors, tested, strict=True) if story.task == task)
        for task in tasks
    }
    return {
        "parameters": num_parameters(model),
        "validation": -100 * fmean(wrong(model, lexicon, held)),
        "scores": {"": fmean(by_task.values())},
        "tasks failed": sum(error > FAILED for error in by_task.values()),
        "by task": {str(task): round(error, 2) for task, error in by_task.items()},
        **curve.record(),
    }


@lru_cache
def stories(sentences: int) -> Babi:
    """Return the stories with at most so many sentences."""

    def cut(some: Sequence[Story]) -> tuple[Story, ...]:
        return tuple(shortened(story, sentences) for story in some)

    data = babi()
    return Babi(cut(data.train), cut(data.validation), cut(data.test))
