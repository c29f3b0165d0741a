"""Sets: the largest number, different digits, four Gaussians, an odd one out, a digit from its pixels.

Each problem is drawn anew from a seed. All arms see the same batches, have about as many parameters, and are trained
at the same learning rates, of which one is chosen by sets held out for that purpose.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from structformer.estimators.base import exact, seeded

from .benchmark import Benchmark
from .choices import check_chosen
from .comparison import trials
from .ledger import Trial
from .runs import Record
from .sets_arms import ARMS, SOES, SetNetwork, build, num_parameters
from .sets_digits import DistinctDigits, Images, OddOneOut, PixelSets, digit_pools
from .sets_numbers import MaxRegression, Mixture
from .sets_problem import Problem
from .sets_training import drawn_sets, judged, permuted, set_losses
from .sweeps import TEST, TRAINING, VALIDATION, generator
from .task_card import Published, TaskCard
from .training import TrainingSettings, train

RESULTS = Path(__file__).parent / "results"
# Of the published run.
SEEDS = 3
MAXIMUM, DISTINCT, MIXTURE, ODD, PIXELS = (
    "max regression",
    "distinct digits",
    "mixture of Gaussians",
    "odd one out",
    "point-set MNIST",
)
DATA = (MAXIMUM, DISTINCT, MIXTURE, ODD, PIXELS)
# A generator of its own for the sets that tell arms how numbers are spread.
EXAMPLE = 5

LEE = "Lee et al. 2019, arXiv 1810.00825"
CARD = TaskCard(
    name="sets",
    title="Sets",
    family="sets",
    measure=(
        f"accuracy in percent ({DISTINCT}, {PIXELS}), area under the ROC curve in percent ({ODD}), log-likelihood "
        f"a point ({MIXTURE}), minus the mean absolute error ({MAXIMUM})"
    ),
    headline=SOES,
    protocol=(
        "Numbers and Gaussians are drawn anew for every batch; images are MNIST's 10,000 test images, halved to 14 by "
        "14 pixels and split by the seed into 70% to train on, 10% to choose by and 20% to test on. All arms see the "
        "same batches, have about as many parameters, share the embedding of images, and are trained at two learning "
        "rates, of which validation sets choose one."
    ),
    figures={
        "changed": "changed by permutation, %",
        "difference": "largest difference",
        "parameters": "parameters",
    },
    published=(
        Published("Set Transformer (SAB + PMA)", {MAXIMUM: "-0.209", MIXTURE: "-1.5145"}, LEE),
        Published("Set Transformer (ISAB 16 + PMA)", {MIXTURE: "-1.5009 ± 0.0068"}, LEE),
        Published("rFF + mean pooling", {MAXIMUM: "-2.133"}, LEE),
        Published("rFF + sum pooling", {MAXIMUM: "-1.902"}, LEE),
        Published("rFF + max pooling", {MAXIMUM: "-0.136"}, LEE),
        Published("Deep Sets", {MIXTURE: "-2.0006"}, LEE),
        Published("the Gaussians that drew the points", {MIXTURE: "-1.4726"}, LEE, "no network, the truth"),
    ),
)


@dataclass(frozen=True)
class SetsSettings:
    """Sizes of the run.

    Attributes:
        data: Which problems.
        arms: Who is compared.
        images: Whose: "mnist", or "digits" for those of scikit-learn.
        updates: Batches to train on, by problem.
        sets: Sets of a batch, by problem.
        rates: Learning rates.
        held: Sets to choose the rate by.
        tested: Sets to test on.
        permuted: Of these, so many are permuted.
        workers: Processes.
    """

    data: tuple[str, ...] = DATA
    arms: tuple[str, ...] = tuple(ARMS)
    images: Images = "mnist"
    updates: Mapping[str, int] = field(
        default_factory=lambda: {MAXIMUM: 2_000, DISTINCT: 600, MIXTURE: 600, ODD: 600, PIXELS: 600}
    )
    sets: Mapping[str, int] = field(
        default_factory=lambda: {MAXIMUM: 128, DISTINCT: 64, MIXTURE: 16, ODD: 64, PIXELS: 64}
    )
    rates: tuple[float, ...] = (1e-3, 3e-3)
    held: int = 500
    tested: int = 2_000
    permuted: int = 1_000
    workers: int = 2

    def __post_init__(self) -> None:
        check_chosen(self, data=DATA, arms=ARMS)
        for name in ("updates", "sets"):
            missing = [one for one in self.data if getattr(self, name).get(one, 0) < 1]
            if missing:
                raise ValueError(
                    f"{name} must be at least 1 for {missing[0]} (got {dict(getattr(self, name))})"
                )
        for name in ("held", "tested", "permuted"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1 (got {getattr(self, name)})")
        if not self.rates:
            raise ValueError("rates must hold at least one learning rate (got none)")


QUICK = SetsSettings(
    images="digits",
    updates=dict.fromkeys(DATA, 20),
    sets={MAXIMUM: 64, DISTINCT: 16, MIXTURE: 4, ODD: 16, PIXELS: 16},
    rates=(3e-3,),
    held=32,
    tested=64,
    permuted=64,
)


def run(
    quick: bool, seeds: int, settings: SetsSettings | None = None, folder: Path = RESULTS
) -> list[Record]:
    """Train all arms on all problems, write the results to the folder, and return a row a problem and arm.

    A run that was cut short is taken up where it ended.

    Raises:
        FileNotFoundError: If MNIST is wanted and is not there.
        ValueError: If seeds is below 1.
    """
    settings = settings or (QUICK if quick else SetsSettings())
    wanted = trials(settings.data, settings.arms, seeds)
    if any(data in (DISTINCT, ODD, PIXELS) for data in settings.data):
        digit_pools(settings.images, 0)
    names = ("images", "updates", "sets", "rates", "held", "tested", "permuted")
    return Benchmark(CARD, quick, seeds, folder).run(
        partial(measure, settings),
        wanted,
        {name: getattr(settings, name) for name in names},
        [ARMS[arm] for arm in settings.arms],
        settings.workers,
        failures=True,
    )


def measure(settings: SetsSettings, trial: Trial) -> Record:
    """Train one arm at all rates, and return how the best of them does on sets it was not chosen by."""
    problem = make_problem(trial.data, settings.images, trial.seed)
    example = problem.draw(TRAINING, settings.held, generator(EXAMPLE, trial.seed))
    held = drawn_sets(problem, VALIDATION, settings.held, trial.seed)
    best: tuple[float, float, SetNetwork] | None = None
    for rate in settings.rates:
        network = seeded(trial.seed, lambda: build(trial.arm, problem, example))
        training = TrainingSettings(settings.updates[trial.data], learning_rate=rate, weight_decay=1e-2)
        losses = set_losses(network, problem, settings.sets[trial.data], trial.seed)
        curve = train(network, losses, training)
        if curve.diverged is not None:
            continue
        score = judged(exact(network), problem, held)
        if best is None or score > best[0]:
            best = score, rate, network
    if best is None:
        raise FloatingPointError(f"{trial.arm} diverged at every rate on {trial.data}")
    validation, rate, network = best
    tested = drawn_sets(problem, TEST, settings.tested, trial.seed)
    model = exact(network)
    some = drawn_sets(problem, TEST, settings.permuted, trial.seed)
    changed, difference = permuted(model, problem, some, trial.seed)
    return {
        "score": judged(model, problem, tested),
        "validation": validation,
        "rate": rate,
        "changed": changed,
        "difference": difference,
        "parameters": num_parameters(network),
    }


def make_problem(data: str, images: Images, seed: int) -> Problem:
    """Return a problem; a seed decides which images are whose."""
    if data == MAXIMUM:
        return MaxRegression()
    if data == MIXTURE:
        return Mixture()
    return {DISTINCT: DistinctDigits, ODD: OddOneOut, PIXELS: PixelSets}[data](digit_pools(images, seed))
