"""What a token of text costs, in time and memory, at lengths from 512 to 16k: a training step of every arm.

A step reads as many tokens at every length, in fewer and longer texts, so that a cost a token that does not depend on
the length shows as the same time. Arms have about the same number of parameters. Times are medians of interleaved
repeats in one process, peak memory is that of one step in a fresh one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch.nn import functional as F

from . import language
from .choices import check_chosen
from .language import LanguageSettings
from .measure import Step, interleaved, medians
from .peak_memory import measures_memory, peak_megabytes
from .runs import Record, Run
from .sequence_arms import ARMS
from .sweeps import TRAINING, generator

RESULTS = Path(__file__).parent / "results"
BYTES = 256


@dataclass(frozen=True)
class TextCostSettings:
    """Sizes of the run.

    Attributes:
        arms: Which are compared.
        models: Sizes of the arms, as in the language benchmark.
        lengths: Tokens of a text, ascending.
        tokens: Of a step, at every length.
        repeats: Timed steps of each arm, for each seed.
    """

    arms: tuple[str, ...] = ARMS
    models: LanguageSettings = field(default_factory=LanguageSettings)
    lengths: tuple[int, ...] = (512, 1_024, 2_048, 4_096, 8_192, 16_384)
    tokens: int = 16_384
    repeats: int = 3

    def __post_init__(self) -> None:
        check_chosen(self, arms=ARMS)
        if not self.lengths or any(length < 1 or self.tokens % length for length in self.lengths):
            raise ValueError(f"lengths must divide tokens, {self.tokens} (got {self.lengths})")


QUICK = TextCostSettings(
    models=LanguageSettings(parameters=30_000, layers=2, heads=2), lengths=(64, 256), tokens=256, repeats=1
)


def run(
    quick: bool, seeds: int, settings: TextCostSettings | None = None, folder: Path = RESULTS
) -> list[Record]:
    """Measure all arms at all lengths, write the results to the folder, and return them.

    A run that was cut short is taken up where it ended; see `structformer.tasks.runs.Run`.

    Raises:
        ValueError: If seeds is below 1.
    """
    if seeds < 1:
        raise ValueError(f"seeds must be at least 1 (got {seeds})")
    settings = settings or (QUICK if quick else TextCostSettings())
    name = "text_cost-quick.json" if quick else "text_cost.json"
    this = Run(folder / name, {**asdict(settings), "seeds": seeds})
    rows = [
        row
        for length in settings.lengths
        for row in this.part(f"length {length}", lambda length=length: measure(settings, length, seeds))
    ]
    this.finish()
    return with_growth(rows)


def measure(settings: TextCostSettings, length: int, seeds: int) -> list[Record]:
    """Return a row an arm; an arm whose process was killed for lack of memory is not timed."""
    jobs = [(training_step, (settings, arm, 16, 0), (settings, arm, length, 0)) for arm in settings.arms]
    peaks = dict(zip(settings.arms, peak_megabytes(jobs), strict=True)) if measures_memory() else {}
    timed = [arm for arm in settings.arms if peaks.get(arm) is not None or not peaks]
    found: dict[str, list[float]] = {arm: [] for arm in timed}
    for seed in range(seeds):
        steps = {arm: training_step(settings, arm, length, seed) for arm in timed}
        for arm, times in interleaved(steps, settings.repeats).items():
            found[arm] += times
    middle = medians(found)
    return [
        {
            "arm": arm,
            "length": length,
            "milliseconds": middle.get(arm),
            "tokens per second": round(1e3 * settings.tokens / middle[arm]) if arm in middle else None,
            "megabytes": peaks.get(arm),
        }
        for arm in settings.arms
    ]


def with_growth(rows: list[Record]) -> list[Record]:
    """Return the rows, each with its time over that of the same arm at the shortest length."""
    shortest: dict[str, float | None] = {}
    for row in rows:
        shortest.setdefault(row["arm"], row["milliseconds"])
    return [{**row, "to shortest": _ratio(row["milliseconds"], shortest[row["arm"]])} for row in rows]


def training_step(settings: TextCostSettings, arm: str, length: int, seed: int) -> Step:
    """Return a step: forward, and backward to all weights, over texts of so many bytes each."""
    torch.manual_seed(seed)
    model = language.matched(settings.models, arm, BYTES)
    ids = torch.randint(BYTES, (settings.tokens // length, length + 1), generator=generator(TRAINING, seed))
    weights = [weight for weight in model.parameters() if weight.requires_grad]

    def step() -> object:
        found = model.run(ids[:, :-1])
        loss = F.cross_entropy(found.logits.flatten(0, 1), ids[:, 1:].flatten())
        total = loss if found.loss is None else loss + found.loss
        return torch.autograd.grad(total, weights, allow_unused=True)

    return step


def _ratio(value: float | None, base: float | None) -> float | None:
    return None if value is None or base is None else value / base
