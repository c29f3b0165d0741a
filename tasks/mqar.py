"""MQAR: how much of a list of keys and values can still be told when the keys come up again.

Every arm sees the same batches. Learning rates are swept for all arms alike and chosen by the accuracy on examples
drawn for that purpose; accuracies are on others, by which nothing was chosen.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import fmean

import torch

from structformer.models.language import ReSSFormerLMConfig

from .baselines.text import TextConfig
from .benchmark import Benchmark
from .choices import check_chosen
from .mqar_data import TRAIN_CONFIGS, MQARConfig, draw_mqar
from .runs import Record
from .sequence_arms import ARMS, ATTENTION, RSA, build
from .sequence_training import Batch, accuracy, answer_losses
from .sweeps import TEST, TRAINING, VALIDATION, best_rates, generator, sweep
from .task_card import TaskCard
from .training import TrainingSettings, train

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class MQARSettings:
    """Sizes of the run.

    Attributes:
        arms: Which are compared.
        sizes: Sizes that all arms share.
        ours: What our models have besides. The protocol has a convolution before mixers, and nowhere else.
        heads: Heads of the arms for which they differ from those of ``sizes``, so that states are of equal size.
        vocabulary: Tokens there are.
        shapes: Length and pairs of the examples to train on.
        longer: The same for those that are only tested on.
        batch: Tokens of a batch.
        examples: To test on, of each shape.
        rates: Learning rates.
        training: How arms are trained.
        workers: Processes.
    """

    arms: tuple[str, ...] = (ATTENTION, RSA, "transformer", "gated deltanet", "rwkv-7")
    sizes: TextConfig = field(default_factory=lambda: TextConfig(1_024, width=64, layers=2, heads=2))
    ours: ReSSFormerLMConfig = field(
        default_factory=lambda: ReSSFormerLMConfig(
            depth=2,
            experts=1,
            slots=0,
            cache=0,
            neighbors=16,
            token_shift=False,
            deep_heads=1,
            deep_channels=24,
            deep_slots=6,
        )
    )
    heads: dict[str, int] = field(default_factory=lambda: {"gated deltanet": 1, "rwkv-7": 1})
    shapes: tuple[tuple[int, int], ...] = tuple((config.length, config.pairs) for config in TRAIN_CONFIGS)
    longer: tuple[tuple[int, int], ...] = ((512, 128), (1_024, 256))
    batch: int = 8_192
    examples: int = 512
    rates: tuple[float, ...] = (1e-3, 3e-3, 5e-3, 1e-2)
    training: TrainingSettings = field(default_factory=lambda: TrainingSettings(updates=1_500))
    workers: int = 2

    def __post_init__(self) -> None:
        check_chosen(self, arms=ARMS)
        if any(length > self.batch for length, _ in self.shapes + self.longer):
            raise ValueError(f"batch must hold the longest example (got {self.batch})")


CARD = TaskCard(
    name="mqar",
    title="Recall: MQAR",
    family="recall",
    measure="answers right, %",
    headline=RSA,
    protocol="As HazyResearch/zoology draws them (tokens/pairs; vocabulary 1,024 in place of 8,192): every arm of "
    "width 64, two layers or steps, a convolution over 3 tokens before each, is trained on 64/4 to 256/64, and asked "
    "for those and for longer lists. Recurrent arms have states of equal size. The learning rate is chosen, for all "
    "arms among the same, on other examples.",
    figures={"rate": "rate", "state": "state", "parameters": "parameters"},
    derived=best_rates,
)
QUICK = MQARSettings(
    shapes=((64, 4), (128, 8)),
    longer=((256, 16),),
    batch=4_096,
    examples=128,
    rates=(3e-3,),
    training=TrainingSettings(updates=400),
)


def run(
    quick: bool, seeds: int, settings: MQARSettings | None = None, folder: Path = RESULTS
) -> list[Record]:
    """Train all arms at all rates, write the results to the folder, and return a summary.

    A run that was cut short is taken up where it ended; see `structformer.tasks.ledger.Ledger`.

    Raises:
        ValueError: If seeds is below 1.
    """
    settings = settings or (QUICK if quick else MQARSettings())
    return sweep(
        Benchmark(CARD, quick, seeds, folder),
        partial(measure, settings),
        ("pairs",),
        settings,
    )


def measure(settings: MQARSettings, data: str, arm: str, rate: float, seed: int, checkpoint: Path) -> Record:
    """Train one arm once, and return its accuracies on fresh examples of every shape."""
    torch.manual_seed(seed)
    sizes = replace(settings.sizes, heads=settings.heads.get(arm, settings.sizes.heads))
    model = build(arm, sizes, settings.ours)
    training = replace(settings.training, learning_rate=rate)
    curve = train(model, answer_losses(model, partial(training_batch, settings, seed)), training, checkpoint)
    found = {
        "{}/{}".format(*shape): 100 * accuracy(model, batches(settings, shape, TEST, seed))
        for shape in settings.shapes + settings.longer
    }
    return {
        "parameters": model.num_parameters,
        "state": model.state_size,
        "kflops": round(model.flops(settings.shapes[-1][0]) / 1e3),
        "validation": fmean(
            accuracy(model, batches(settings, shape, VALIDATION, seed)) for shape in settings.shapes
        ),
        "scores": found,
        **curve.record(),
    }


def training_batch(settings: MQARSettings, seed: int, update: int) -> Batch:
    """Return the batch of an update: examples of one shape, the shapes in turn."""
    shape = settings.shapes[update % len(settings.shapes)]
    return _drawn(settings, shape, settings.batch // shape[0], TRAINING, seed, update)


def batches(settings: MQARSettings, shape: tuple[int, int], purpose: int, seed: int) -> list[Batch]:
    """Return examples of a shape to test on, in batches."""
    each = settings.batch // shape[0]
    return [
        _drawn(settings, shape, min(each, settings.examples - first), purpose, seed, first)
        for first in range(0, settings.examples, each)
    ]


def _drawn(settings: MQARSettings, shape: tuple[int, int], examples: int, *numbers: int) -> Batch:
    config = MQARConfig(*shape, settings.sizes.vocabulary)
    data = draw_mqar(config, examples, generator(*numbers, *shape))
    return Batch(data.inputs, data.targets)
