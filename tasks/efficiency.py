"""Time and memory of attention, normalisers, neighbour search and training steps, beside rivals.

Every comparison times its arms in turn in one process and reports medians, and the ratio of each median to that of
the arm named first. The memory of an arm is what one step needs beyond its inputs, in a fresh process. Times
include whatever a step does except building inputs; a graph's transposed view, computed once a graph, belongs to
the unmeasured first call (and to the memory). "structformer" takes the path that the library picks, so it and
the same path under its own name show how far two readings of one thing lie apart. float32 throughout.

What a step frees goes back to the system, as users find it, but for our own results of 4 MiB and more, whose memory
serves again (`structformer.ops.large`). Where a comparison says "memory kept" the process keeps all of it, that of the
rivals too (see `structformer.ops.keep_freed_memory`). Arms that hold a vector an edge free gigabytes a step, and where
page faults are slow, as in many virtual machines, most of their time is the system's and not their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from structformer.ops import keep_freed_memory

from . import efficiency_arms as arms
from .efficiency_arms import DENSE, OURS, Case
from .efficiency_plot import draw
from .efficiency_records import Record, record
from .efficiency_search import SearchSettings, search
from .efficiency_trials import Trial, measured, median_times
from .measure import Step, exponent, streaming_bandwidth
from .runs import Run

RESULTS = Path(__file__).parent / "results"
GRAPHS = ("random", "clustered")
KEPT = ", memory kept"
# Whom the layer is compared with once more where memory is kept.
RIVALS = (OURS, "TransformerConv", "gather + einsum", "SDPA, masked", "SDPA, all pairs")
# Vectors an edge and head that attention gathers: keys and values going forward; queries, keys, values and the
# result's gradient going backward.
GATHERED = 6
# Readings of which the fastest tells the bandwidth.
READS = 100


@dataclass(frozen=True)
class Settings:
    """Sizes of the published run.

    Attributes:
        heads: Attention heads.
        channels: Features a head.
        neighbors: Sources a token.
        attention_tokens: Sizes at which attention is compared; the floor is found for the same.
        dense_most: Tokens up to which arms that are quadratic in them take part.
        normalizer_tokens: Size at which normalisers are compared.
        scaling_tokens: Sizes over which the exponents of time and memory are fitted.
        scaling_neighbors: Sources a token there.
        search: Sizes of the neighbour search.
        encoder_tokens: Tokens of the one large set.
        graphs: Small graphs in a batch.
        graph_size: Tokens of each.
        layers: Layers, or steps, of an encoder.
        repeats: Timed calls of an arm, for each seed.
        slow_repeats: The same where one call takes seconds.
    """

    heads: int = 4
    channels: int = 32
    neighbors: int = 32
    attention_tokens: tuple[int, ...] = (2_048, 8_192, 32_768)
    dense_most: int = 8_192
    normalizer_tokens: int = 8_192
    scaling_tokens: tuple[int, ...] = (4_096, 16_384, 65_536, 262_144, 1_048_576)
    scaling_neighbors: int = 16
    search: SearchSettings = field(default_factory=SearchSettings)
    encoder_tokens: int = 16_384
    graphs: int = 256
    graph_size: int = 30
    layers: int = 3
    repeats: int = 9
    slow_repeats: int = 3

    def case(self, tokens: int, graph: str = "random", **changes: Any) -> Case:
        """Return the case of so many tokens with the settings' heads, channels and neighbours."""
        made = Case(tokens, self.neighbors, graph, self.heads, self.channels, layers=self.layers)
        return replace(made, **changes)


QUICK = Settings(
    attention_tokens=(1_024, 4_096),
    dense_most=4_096,
    normalizer_tokens=4_096,
    scaling_tokens=(4_096, 16_384, 65_536),
    search=SearchSettings(tokens=8_192, large_tokens=0, sets=512),
    encoder_tokens=4_096,
    graphs=64,
    repeats=3,
    slow_repeats=2,
)


def run(quick: bool, seeds: int, settings: Settings | None = None, folder: Path = RESULTS) -> list[Record]:
    """Run all comparisons, write them and a picture to the folder, and return their records.

    A run that was cut short is taken up where it ended; see `structformer.tasks.runs.Run`.

    Args:
        quick: Take the small sizes, and write to `efficiency-quick.json`; otherwise to `efficiency.json`.
        seeds: Inputs and weights to draw; the times of all seeds count together, memory is the first's.
        settings: Other sizes than those.
        folder: Where results are kept.

    Raises:
        ValueError: If seeds is below 1.
        OSError: If the folder cannot be written to.
    """
    if seeds < 1:
        raise ValueError(f"seeds must be at least 1 (got {seeds})")
    settings = settings or (QUICK if quick else Settings())
    path = folder / ("efficiency-quick.json" if quick else "efficiency.json")
    this = Run(path, {**asdict(settings), "seeds": seeds})
    records: list[Record] = []
    with Console(stderr=True).status("") as status:
        for name, compare in COMPARISONS.items():
            status.update(f"efficiency: {name}")
            records += this.part(name, lambda compare=compare: compare(settings, seeds))
    draw(records, path.with_suffix(".png"))
    this.finish()
    return records


def attention(settings: Settings, seeds: int) -> list[Record]:
    """Compare attention layers, projections included, on graphs of several sizes."""
    return _attention(settings, seeds, "attention layer", arms.attention, arms.attention_arms())


def kept_attention(settings: Settings, seeds: int) -> list[Record]:
    """Compare attention layers where freed memory is kept and page faults cost nothing; see the module."""
    if not _can_keep():
        return []
    return _attention(settings, seeds, "attention layer", arms.attention, RIVALS, kept=True)


def bare_attention(settings: Settings, seeds: int) -> list[Record]:
    """Compare attention alone, queries, keys and values being given, on graphs of several sizes."""
    return _attention(settings, seeds, "attention alone", arms.bare_attention, arms.bare_attention_arms())


def _attention(
    settings: Settings,
    seeds: int,
    name: str,
    build: Callable[[str, Case], Step],
    names: Sequence[str],
    kept: bool = False,
) -> list[Record]:
    trials: list[Trial] = []
    for tokens in settings.attention_tokens:
        there = tuple(arm for arm in names if arm not in DENSE or tokens <= settings.dense_most)
        for graph in GRAPHS:
            case = settings.case(tokens, graph)
            comparison = f"{name}, {graph}{KEPT if kept else ''}"
            trials.append(Trial(comparison, build, there, case, settings.repeats, kept))
    return measured(trials, seeds)


def normalizers(settings: Settings, seeds: int) -> list[Record]:
    """Compare the normalisers with softmax: alone, and inside an attention layer."""
    case, repeats, names = (
        settings.case(settings.normalizer_tokens),
        settings.repeats,
        tuple(arms.NORMALIZERS),
    )
    inside = tuple(f"{OURS}, {name}" for name in names)
    alone = Trial("normaliser", arms.normalizer, names, case, repeats)
    return measured([alone, Trial("attention with normaliser", arms.attention, inside, case, repeats)], seeds)


def scaling(settings: Settings, seeds: int, kept: bool = False) -> list[Record]:
    """Follow our attention layer over sizes, and fit the exponents of time and memory."""
    records: list[Record] = []
    if kept and not _can_keep():
        return records
    for graph in GRAPHS:
        name, sizes = f"scaling, {graph}{KEPT if kept else ''}", settings.scaling_tokens
        cases = [settings.case(size, graph, neighbors=settings.scaling_neighbors) for size in sizes]
        trials = [Trial(name, arms.attention, (OURS,), case, settings.slow_repeats, kept) for case in cases]
        rows = measured(trials, seeds)
        records += rows + [
            record(name, f"exponent of {quantity}", max(sizes), exponent=exponent(sizes, values))
            for quantity in ("milliseconds", "megabytes")
            if all(values := [row[quantity] for row in rows])
        ]
    return records


def floor(settings: Settings, seeds: int) -> list[Record]:
    """Compare attention alone with the time it takes to read every gathered byte once.

    The floor is 6 · edges · heads · channels · 4 bytes over the bandwidth at which a buffer of
    `[tokens, heads, channels]`, the set from which each gather picks, is read from end to end.
    """
    records: list[Record] = []
    for tokens in settings.attention_tokens:
        width = settings.heads * settings.channels
        bandwidth = streaming_bandwidth(tokens * width, READS)
        least = 1e3 * GATHERED * tokens * settings.neighbors * width * 4 / bandwidth
        for graph in GRAPHS:
            name, case = f"floor, {graph}", settings.case(tokens, graph)
            trial = Trial(name, arms.bare_attention, (OURS,), case, settings.repeats)
            taken = median_times(trial, trial.names, seeds)[OURS]
            note = f"{bandwidth / 1e9:.1f} GB/s"
            records.append(record(name, "floor", tokens, milliseconds=least, ratio=1.0, note=note))
            records.append(record(name, OURS, tokens, milliseconds=taken, ratio=taken / least))
    return records


def encoders(settings: Settings, seeds: int, kept: bool = False) -> list[Record]:
    """Compare one training step of encoders, on one large set and on a batch of small graphs."""
    one = settings.case(settings.encoder_tokens)
    many = settings.case(settings.graphs * settings.graph_size, set_size=settings.graph_size)
    cases = {"step, one set": one, "step, small graphs": many}
    if kept and not _can_keep():
        return []
    names, repeats = tuple(arms.ENCODERS), settings.slow_repeats
    trials = [
        Trial(f"{name}{KEPT if kept else ''}", arms.encoder, names, case, repeats, kept)
        for name, case in cases.items()
    ]
    return measured(trials, seeds)


def _can_keep() -> bool:
    return keep_freed_memory() and keep_freed_memory(False)


COMPARISONS: dict[str, Callable[[Settings, int], list[Record]]] = {
    "attention layer": attention,
    "attention alone": bare_attention,
    "normalizers": normalizers,
    "scaling": scaling,
    "floor": floor,
    "search": lambda settings, seeds: search(settings.search, seeds),
    "encoders": encoders,
    # Last, since no process is quite as before once it has kept memory.
    "attention layer, memory kept": kept_attention,
    "scaling, memory kept": lambda settings, seeds: scaling(settings, seeds, kept=True),
    "encoders, memory kept": lambda settings, seeds: encoders(settings, seeds, kept=True),
}
