"""Molecules: activity against HIV, passing of the blood-brain barrier (BBBP), solubility in water (ESOL).

HIV is split by scaffolds, as given with the data: test molecules have skeletons that training has not seen. ESOL and
BBBP are split at random, 80/10/10, BBBP by its given scaffolds too. Settings and the epoch are chosen on the validation
part. Molecules become graphs with the atoms' and bonds' features of the Open Graph Benchmark, the same for all arms.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
from structformer.datasets import molecules

from .benchmark import Benchmark
from .choices import check_chosen
from .comparison import trials
from .graph_arms import FIGURES, NAMES, OURS, Sizes, arms, judged
from .graph_problems import Budget, Graphs, GraphSplit, Point, held_out
from .ledger import Trial
from .molecule_graphs import molecule_graphs
from .runs import Record
from .task_card import Published, TaskCard

RESULTS = Path(__file__).parent / "results"
SEEDS = 5
HIV, BBBP, SCAFFOLDS, ESOL, CHAINS = "HIV", "BBBP", "BBBP, scaffolds", "ESOL", "chains"
DATA = (HIV, BBBP, SCAFFOLDS, ESOL)
MEASURES = {HIV: "roc_auc", BBBP: "roc_auc", SCAFFOLDS: "roc_auc", ESOL: "r2", CHAINS: "r2"}
OTHER_SPLIT = "on HIV under OGB's own scaffold split"
CARD = TaskCard(
    name="molecules",
    title="Molecules",
    family="graphs",
    measure="area under the ROC curve, %, of HIV and BBBP; R², %, of ESOL (its RMSE, in log mol/l, has a column)",
    headline=OURS,
    protocol="HIV and 'BBBP, scaffolds': the scaffold split that comes with the data; BBBP and ESOL: 80/10/10 at "
    "random. The epoch (by loss) and the settings (by score) are chosen on the validation part. Networks have equally "
    "many parameters within 5%, and every arm tries equally many settings. Networks that use edges read degrees and "
    "walks too, except 'plain features'; only GIN and GPS among the rivals read what bonds are.",
    figures={"rmse": "RMSE", **FIGURES, "refused": "molecules that rdkit refuses"},
    published=(
        Published("GCN", {HIV: "76.1±1.0"}, "Hu et al. 2020, arXiv 2005.00687", OTHER_SPLIT),
        Published("PNA", {HIV: "79.1±1.3"}, "Corso et al. 2020, arXiv 2004.05718", OTHER_SPLIT),
        Published("GPS", {HIV: "78.8±1.0"}, "Rampášek et al. 2022, arXiv 2205.12454", OTHER_SPLIT),
    ),
)
# Deep Sets stand for all that see no bonds, GCN and GIN for GraphSAGE too.
LEFT_OUT = ("graphsage", "set transformer", "sum of features")
# Solubility and passage of few molecules take many epochs, those of HIV's 41,127 take few.
PARAMETERS = 116_000
SIZES: Sizes = {"ressformer": {"width": 48}}
GRID = (Point(3e-3, 0.0), Point(1e-3, 0.0))
FEW = Budget(epochs=40, patience=10, batch=32, parameters=PARAMETERS, grid=GRID)
MANY = Budget(epochs=8, patience=4, batch=128, parameters=PARAMETERS, grid=GRID[:1])


@dataclass(frozen=True)
class MoleculesSettings:
    """Sizes of the run.

    Attributes:
        data: Of `DATA`, or "chains", small molecules that are made up and need no download.
        arms: Which are compared.
        budgets: What every arm may use, by data set.
        sizes: Options of our arms by which they are as large as the first of them.
        seeds: Most seeds of a data set, where they are fewer than the run's.
        molecules: Of "chains".
        permutations: Of test molecules in a trial.
        workers: Processes.
    """

    data: tuple[str, ...] = DATA
    arms: tuple[str, ...] = tuple(name for name in NAMES if name not in LEFT_OUT)
    budgets: Mapping[str, Budget] = field(
        default_factory=lambda: {HIV: MANY, BBBP: FEW, SCAFFOLDS: FEW, ESOL: FEW}
    )
    sizes: Sizes = field(default_factory=lambda: SIZES)
    seeds: Mapping[str, int] = field(default_factory=lambda: {HIV: 1})
    molecules: int = 300
    permutations: int = 200
    workers: int = 2

    def __post_init__(self) -> None:
        check_chosen(self, data=MEASURES, arms=NAMES)
        without = [name for name in self.data if name not in self.budgets]
        if without:
            raise ValueError(f"budgets must name every data set (got none for {'; '.join(without)})")
        for name in ("molecules", "permutations"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1 (got {getattr(self, name)})")


QUICK = MoleculesSettings(
    data=(CHAINS,),
    arms=(OURS, "gin", "random forest, fingerprints"),
    budgets={CHAINS: Budget(epochs=15, patience=10, batch=32, parameters=PARAMETERS, grid=GRID[:1])},
)


def run(
    quick: bool, seeds: int, settings: MoleculesSettings | None = None, folder: Path = RESULTS
) -> list[Record]:
    """Train all arms, write the results to the folder, and return a row for each arm and data set.

    Raises:
        FileNotFoundError: If a data set was not downloaded.
        ModuleNotFoundError: If rdkit is not installed.
        ValueError: If seeds is below 1.
    """
    settings = settings or (QUICK if quick else MoleculesSettings())
    wanted = [
        trial
        for trial in trials(settings.data, settings.arms, seeds)
        if trial.seed < settings.seeds.get(trial.data, seeds)
    ]
    return Benchmark(CARD, quick, seeds, folder).run(
        partial(measure, settings),
        wanted,
        {
            "budgets": {name: asdict(budget) for name, budget in settings.budgets.items()},
            "molecules": settings.molecules,
            "permutations": settings.permutations,
        },
        arms(settings.arms, settings.sizes),
        settings.workers,
    )


def measure(settings: MoleculesSettings, trial: Trial) -> Record:
    """Train an arm and judge it."""
    found, refused = read(trial.data, settings.molecules)
    split = molecule_split(trial.data, found, trial.seed)
    record = judged(
        trial.arm, split, settings.budgets[trial.data], settings.sizes, trial.seed, settings.permutations
    )
    return {**record, "refused": refused}


@dataclass(frozen=True)
class Molecules:
    """Molecules with their property.

    Attributes:
        graphs: The molecules and their targets.
        part: "train", "val" or "test" for each where the split is given, else None.
    """

    graphs: Graphs
    part: np.ndarray | None


def molecule_split(name: str, found: Molecules, seed: int) -> GraphSplit:
    """Return the given split, or 80/10/10 at random; the seed decides the latter alone."""
    if found.part is None:
        rest, test = held_out(np.arange(len(found.graphs)), None, 0.1, seed)
        train, held = held_out(rest, None, 1 / 9, seed)
        rows = train, held, test
    else:
        rows = tuple(np.flatnonzero(found.part == part) for part in ("train", "val", "test"))
    return GraphSplit(*(found.graphs.take(some) for some in rows), MEASURES[name])


@lru_cache
def read(name: str, size: int) -> tuple[Molecules, int]:
    """Return the molecules of a data set, and how many rdkit refused; ``size`` of them where they are made up."""
    frame = chains(size) if name == CHAINS else molecules(BBBP if name == SCAFFOLDS else name)
    graphs = molecule_graphs(frame["smiles"])
    there = np.array([graph is not None for graph in graphs])
    kept = tuple(graph for graph in graphs if graph is not None)
    target = frame["target"].to_numpy()[there]
    part = frame["split"].to_numpy()[there] if name in (HIV, SCAFFOLDS) else None
    number = np.float64 if MEASURES[name] == "r2" else np.int64
    return Molecules(Graphs(kept, target.astype(number)), part), int((~there).sum())


def chains(size: int) -> pd.DataFrame:
    """Return made-up chains of fragments, and what rdkit's formula says of their solubility in fat (Crippen's logP)."""
    from rdkit import Chem
    from rdkit.Chem.Crippen import MolLogP

    drawn = random.Random(0)
    links = (
        "C",
        "C",
        "CC",
        "O",
        "N",
        "C(C)",
        "C(F)",
        "C(=O)",
        "C(O)",
        "C=C",
        "S",
        "C(Cl)",
        "c1ccc(cc1)",
        "C1CC1",
    )
    smiles = [
        "C" + "".join(drawn.choice(links) for _ in range(drawn.randint(2, 7))) + "C" for _ in range(size)
    ]
    target = [MolLogP(Chem.MolFromSmiles(text)) for text in smiles]
    return pd.DataFrame({"smiles": smiles, "target": target})
