"""bAbI: 20 tasks of reasoning over short stories, 1,000 training questions each, apart and all together.

Errors are of the test questions, in percent; a task counts as failed above 5. What training is stopped or chosen by
are the validation questions, which are held out of the training file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from statistics import fmean

import torch
from structformer.datasets import Babi, Story, babi
from structformer.datasets.stories import TASKS

from structformer.models.text_qa import TextQAConfig

from .runs import Record, Run
from .story_training import ARMS, OURS, Lexicon, build, num_parameters, shortened, story_losses, wrong
from .sweeps import sweep
from .training import TrainingSettings, train

RESULTS = Path(__file__).parent / "results"
JOINT = "joint"
FAILED = 5.0


@dataclass(frozen=True)
class BabiSettings:
    """Sizes of the run.

    Attributes:
        arms: Which are compared.
        model: Of the arms; rivals take its sizes.
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
        default_factory=lambda: TextQAConfig(width=96, heads=4, steps=4, neighbors=16, experts=1, dropout=0.1)
    )
    tasks: tuple[int, ...] = tuple(TASKS)
    joint: bool = True
    apart: bool = True
    sentences: int = 70
    batch: int = 64
    rates: tuple[float, ...] = (2e-3,)
    joint_training: TrainingSettings = field(default_factory=lambda: TrainingSettings(updates=15_000))
    training: TrainingSettings = field(default_factory=lambda: TrainingSettings(updates=3_000))
    workers: int = 2

    def __post_init__(self) -> None:
        for name, known in (("arms", ARMS), ("tasks", tuple(TASKS))):
            unknown = [one for one in getattr(self, name) if one not in known]
            if unknown:
                raise ValueError(f"{name} must be among {known} (got {unknown})")
        if self.sentences < 1 or self.batch < 1:
            raise ValueError(f"sentences and batch must be at least 1 (got {self.sentences}, {self.batch})")


QUICK = BabiSettings(
    model=TextQAConfig(width=32, heads=2, steps=2, experts=1),
    tasks=(1,),
    joint=False,
    training=TrainingSettings(updates=200, learning_rate=3e-3),
)


def run(
    quick: bool, seeds: int, settings: BabiSettings | None = None, folder: Path = RESULTS
) -> list[Record]:
    """Train all arms, write the results to the folder, and return them.

    A run that was cut short is taken up where it ended; see `structformer.tasks.runs.Run`.

    Raises:
        FileNotFoundError: If the stories were not downloaded.
        ValueError: If seeds is below 1, or a file of the stories is damaged.
    """
    settings = settings or (QUICK if quick else BabiSettings())
    stories(settings.sentences)
    this = Run(folder / ("babi-quick.json" if quick else "babi.json"), {**asdict(settings), "seeds": seeds})
    parts = ([JOINT] if settings.joint else []) + [
        f"task {task}" for task in settings.tasks if settings.apart
    ]
    arms = [f"{part}: {arm}" for part in parts for arm in settings.arms]
    rows = sweep(this, partial(measure, settings), arms, settings.rates, seeds, settings.workers)
    this.finish()
    return means(settings, rows) + rows


def measure(settings: BabiSettings, name: str, rate: float, seed: int, checkpoint: Path) -> Record:
    """Train one arm once, on one task or on all, and return its errors."""
    part, _, arm = name.partition(": ")
    data = stories(settings.sentences)
    tasks = settings.tasks if part == JOINT else (int(part.removeprefix("task ")),)
    learned, held, tested = (
        [story for story in some if story.task in tasks] for some in (data.train, data.validation, data.test)
    )
    torch.manual_seed(seed)
    lexicon = Lexicon.of(learned)
    model = build(arm, settings.model, lexicon)
    training = replace(settings.joint_training if part == JOINT else settings.training, learning_rate=rate)
    losses = story_losses(model, lexicon, learned, settings.batch, seed)
    curve = train(model, losses, training, checkpoint)
    errors = wrong(model, lexicon, tested)
    by_task = {
        task: 100 * fmean(error for error, story in zip(errors, tested, strict=True) if story.task == task)
        for task in tasks
    }
    return {
        "arm": name,
        "rate": rate,
        "seed": seed,
        "parameters": num_parameters(model),
        "loss": curve.loss[-1] if curve.loss else None,
        "diverged": curve.diverged,
        "seconds": round(curve.seconds),
        "validation": -100 * fmean(wrong(model, lexicon, held)),
        "error": fmean(by_task.values()),
        "failed": sum(error > FAILED for error in by_task.values()),
        "by task": {str(task): round(error, 2) for task, error in by_task.items()},
        "curve": curve.loss,
        "norms": curve.norm,
    }


def means(settings: BabiSettings, rows: Sequence[Record]) -> list[Record]:
    """Return for each arm the mean over tasks learned apart: of all seeds, and of each task's best by validation."""
    found: list[Record] = []
    for arm in settings.arms:
        apart = [
            [row for row in rows if row["arm"] == f"task {task}: {arm}" and row["seed"] is not None]
            for task in settings.tasks
            if settings.apart
        ]
        if not apart:
            continue
        best = [max(some, key=lambda row: row["validation"]) for some in apart]
        like = dict.fromkeys(best[0])
        for name, errors in {
            "mean of seeds": [fmean(row["error"] for row in some) for some in apart],
            "best seeds by validation": [row["error"] for row in best],
        }.items():
            found.append(
                {
                    **like,
                    "arm": f"apart: {arm}, {name}",
                    "error": fmean(errors),
                    "failed": sum(error > FAILED for error in errors),
                }
            )
    return found


@lru_cache
def stories(sentences: int) -> Babi:
    """Return the stories with at most so many sentences."""

    def cut(some: Sequence[Story]) -> tuple[Story, ...]:
        return tuple(shortened(story, sentences) for story in some)

    data = babi()
    return Babi(cut(data.train), cut(data.validation), cut(data.test))
