"""State tracking: parity of bits and the word problem of S5, on texts longer than those trained on.

Every arm sees the same batches and answers after each token. Learning rates are swept for all arms alike and chosen by
the accuracy on texts of the length trained on, drawn for that purpose.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch

from structformer.models.language import ReSSFormerLMConfig

from .baselines.text import TextConfig
from .benchmark import Benchmark
from .choices import check_chosen
from .runs import Record
from .sequence_arms import ARMS, BOTH, RSA, build
from .sequence_training import Batch, accuracy, answer_losses
from .state_tracking_data import StateTrackingConfig, draw_state_tracking
from .sweeps import TEST, TRAINING, VALIDATION, best_rates, generator, sweep
from .task_card import TaskCard
from .training import TrainingSettings, train

RESULTS = Path(__file__).parent / "results"
GROUPS = {"parity": 2, "S5": 5}


@dataclass(frozen=True)
class StateTrackingSettings:
    """Sizes of the run.

    Attributes:
        arms: Which are compared.
        groups: Of `GROUPS`.
        width: Features of a token.
        layers: Layers, or steps.
        heads: Of mixers.
        ours: What our models have besides; as in `mqar`, a convolution before mixers and nowhere else.
        length: Tokens of the longest text trained on; texts of a batch are of one length, from 4 to this.
        factors: Texts tested on are so many times as long.
        batch: Tokens of a batch.
        examples: To test on, of each length.
        rates: Learning rates.
        training: How arms are trained.
        workers: Processes.
    """

    arms: tuple[str, ...] = (RSA, BOTH, "transformer", "universal transformer", "gated deltanet", "rwkv-7")
    groups: tuple[str, ...] = ("parity", "S5")
    width: int = 64
    layers: int = 2
    heads: int = 2
    ours: ReSSFormerLMConfig = field(
        default_factory=lambda: ReSSFormerLMConfig(
            experts=1, slots=0, cache=0, neighbors=16, token_shift=False
        )
    )
    length: int = 32
    factors: tuple[int, ...] = (1, 2, 4)
    batch: int = 2_048
    examples: int = 512
    rates: tuple[float, ...] = (1e-3, 3e-3)
    training: TrainingSettings = field(default_factory=lambda: TrainingSettings(updates=2_000))
    workers: int = 2

    def __post_init__(self) -> None:
        check_chosen(self, arms=ARMS, groups=GROUPS)
        if self.length < 4 or self.length * max(self.factors) > self.batch:
            raise ValueError(
                f"length must be at least 4, and batch hold the longest text (got {self.length}, {self.batch})"
            )


CARD = TaskCard(
    name="state_tracking",
    title="State tracking",
    family="state",
    measure="answers right, %",
    headline=RSA,
    protocol="Parity of bits, and products of permutations of five things (S5), answered after each token; arms of "
    "width 64 and two layers or steps learn from texts of 4 to 32 tokens, and are asked for 32 (x1), 64 and 128. The "
    "learning rate is chosen, for all arms among the same, on other texts of 32.",
    figures={"rate": "rate", "parameters": "parameters"},
    derived=best_rates,
)
QUICK = StateTrackingSettings(
    arms=(RSA, "transformer"),
    groups=("parity",),
    length=16,
    batch=1_024,
    examples=64,
    rates=(3e-3,),
    training=TrainingSettings(updates=300),
)


def run(
    quick: bool, seeds: int, settings: StateTrackingSettings | None = None, folder: Path = RESULTS
) -> list[Record]:
    """Train all arms at all rates on all groups, write the results to the folder, and return a summary.

    A run that was cut short is taken up where it ended; see `structformer.tasks.ledger.Ledger`.

    Raises:
        ValueError: If seeds is below 1.
    """
    settings = settings or (QUICK if quick else StateTrackingSettings())
    return sweep(
        Benchmark(CARD, quick, seeds, folder),
        partial(measure, settings),
        settings.groups,
        settings,
        ("groups",),
    )


def measure(
    settings: StateTrackingSettings, group: str, arm: str, rate: float, seed: int, checkpoint: Path
) -> Record:
    """Train one arm once on one group, and return its accuracies at every length."""
    elements = GROUPS[group]
    torch.manual_seed(seed)
    symbols = StateTrackingConfig(elements).symbols
    sizes = TextConfig(symbols, settings.width, settings.layers, settings.heads, tied=False)
    model = build(arm, sizes, replace(settings.ours, tied=False))
    training = replace(settings.training, learning_rate=rate)
    curve = train(
        model, answer_losses(model, partial(training_batch, settings, elements, seed)), training, checkpoint
    )
    lengths = [settings.length * factor for factor in settings.factors]
    found = {
        f"x{n // settings.length}": 100 * _accuracy(model, settings, elements, n, TEST, seed) for n in lengths
    }
    return {
        "parameters": model.num_parameters,
        "state": model.state_size,
        "validation": _accuracy(model, settings, elements, settings.length, VALIDATION, seed),
        "scores": found,
        **curve.record(),
    }


def training_batch(settings: StateTrackingSettings, elements: int, seed: int, update: int) -> Batch:
    """Return the batch of an update; short texts are among them, with which learning begins."""
    drawn = generator(TRAINING, seed, update)
    length = int(torch.randint(4, settings.length + 1, (), generator=drawn))
    data = draw_state_tracking(StateTrackingConfig(elements, length), settings.batch // length, drawn)
    return Batch(data.inputs, data.targets)


def _accuracy(
    model: torch.nn.Module,
    settings: StateTrackingSettings,
    elements: int,
    length: int,
    purpose: int,
    seed: int,
) -> float:
    each = settings.batch // length
    batches: list[Batch] = []
    for first in range(0, settings.examples, each):
        data = draw_state_tracking(
            StateTrackingConfig(elements, length),
            min(each, settings.examples - first),
            generator(purpose, seed, length, first),
        )
        batches.append(Batch(data.inputs, data.targets))
    return accuracy(model, batches)
