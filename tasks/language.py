"""Language modelling: bits per byte of tiny-shakespeare (bytes) and WikiText-2 (byte pairs) at equal parameters.

Every arm has about the same number of parameters, reads the same windows in the same order, and is tested on the same
windows, none of which knows what came before it. Learning rates are swept for all arms alike and chosen by the
validation part; figures are of the test part.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path

import torch
from structformer.datasets import shakespeare, wikitext2
from torch.nn import functional as F

from structformer.models.language import ReSSFormerLMConfig
from structformer.tokenize.bpe import BytePairTokenizer
from structformer.tokenize.text import TextTokenizer

from .baselines.text import TextConfig
from .benchmark import Benchmark
from .choices import check_chosen
from .language_data import (
    IGNORED,
    Stream,
    bits_per_byte,
    encode_stream,
    segments,
    word_perplexity,
)
from .runs import Record
from .sequence_arms import ARMS, ATTENTION, BOTH, RSA, Arm, build
from .sequence_training import Batch, answer_losses
from .sweeps import TRAINING, best_rates, generator, sweep
from .task_card import TaskCard
from .training import TrainingSettings, train

RESULTS = Path(__file__).parent / "results"
CORPORA = ("shakespeare", "wikitext2")
# Hidden features of feed-forward networks as a multiple of the width, before sizes are made equal.
EXPANSION = 2.0


@dataclass(frozen=True)
class LanguageSettings:
    """Sizes of the run.

    Attributes:
        arms: Which are compared; "lsh", five times as slow as the Transformer on a CPU, only where it is asked for.
        corpora: Of `CORPORA`.
        parameters: Numbers that training changes, the same for all arms to within a percent.
        layers: Layers of the rivals, and steps of the Universal Transformer.
        ours: What our models are, width and vocabulary left out. Windows know nothing of each other, so that there is
            nothing for a segment memory to carry; two steps have little to look back at.
        heads: Of mixers.
        vocabulary: Byte pairs to learn for WikiText-2.
        length: Tokens of a window.
        batch: Windows of a batch.
        rates: Learning rates.
        training: How arms are trained.
        workers: Processes.
    """

    arms: tuple[str, ...] = (
        BOTH,
        ATTENTION,
        RSA,
        "transformer",
        "universal transformer",
        "gated deltanet",
        "rwkv-7",
    )
    corpora: tuple[str, ...] = CORPORA
    parameters: int = 300_000
    layers: int = 4
    ours: ReSSFormerLMConfig = field(
        default_factory=lambda: ReSSFormerLMConfig(
            depth=2, neighbors=16, experts=1, window=8, slots=0, cache=0
        )
    )
    heads: int = 4
    vocabulary: int = 2_048
    length: int = 256
    batch: int = 16
    rates: tuple[float, ...] = (1e-3, 3e-3, 1e-2, 3e-2)
    training: TrainingSettings = field(default_factory=lambda: TrainingSettings(updates=500))
    workers: int = 2

    def __post_init__(self) -> None:
        check_chosen(self, arms=ARMS, corpora=CORPORA)


CARD = TaskCard(
    name="language",
    title="Language modelling",
    family="language",
    measure="bits per byte",
    headline=BOTH,
    better="lower",
    protocol="Tiny-shakespeare as bytes (the first 90% to learn from, 5% to choose by, the last 5% to be asked for), "
    "WikiText-2 as 2,048 byte pairs learned from its training part. Arms of 300,000 parameters read the same 500 "
    "batches of 16 windows of 256 tokens; windows of the test know nothing of each other. The learning rate is chosen, "
    "for all arms among the same, on the validation part. Perplexity is that of words.",
    figures={
        "rate": "rate",
        "word perplexity": "perplexity",
        "kflops": "kFLOPs a token",
        "parameters": "parameters",
    },
    derived=best_rates,
)
QUICK = LanguageSettings(
    corpora=("shakespeare",),
    parameters=60_000,
    length=128,
    batch=16,
    rates=(3e-3,),
    training=TrainingSettings(updates=100),
)


def run(
    quick: bool, seeds: int, settings: LanguageSettings | None = None, folder: Path = RESULTS
) -> list[Record]:
    """Train all arms at all rates on all corpora, write the results to the folder, and return a summary.

    A run that was cut short is taken up where it ended; see `structformer.tasks.ledger.Ledger`.

    Raises:
        FileNotFoundError: If a corpus was not downloaded.
        ValueError: If seeds is below 1, or a corpus is damaged.
    """
    settings = settings or (QUICK if quick else LanguageSettings())
    for corpus in settings.corpora:
        streams(corpus, settings.vocabulary)
    return sweep(
        Benchmark(CARD, quick, seeds, folder),
        partial(measure, settings),
        settings.corpora,
        settings,
        ("corpora",),
    )


def measure(
    settings: LanguageSettings, corpus: str, arm: str, rate: float, seed: int, checkpoint: Path
) -> Record:
    """Train one arm once on one corpus, and return its bits per byte."""
    vocabulary, train_part, valid, test = streams(corpus, settings.vocabulary)
    torch.manual_seed(seed)
    model = matched(settings, arm, vocabulary)
    training = replace(settings.training, learning_rate=rate)
    curve = train(
        model, answer_losses(model, partial(training_batch, settings, train_part, seed)), training, checkpoint
    )
    nats = negative_log_likelihood(model, test, settings)
    return {
        "parameters": model.num_parameters,
        "kflops": round(model.flops(settings.length) / 1e3),
        "validation": -bits_per_byte(negative_log_likelihood(model, valid, settings), valid),
        "scores": {"": bits_per_byte(nats, test)},
        "word perplexity": word_perplexity(nats, test),
        **curve.record(),
    }


@lru_cache
def streams(corpus: str, vocabulary: int) -> tuple[int, Stream, Stream, Stream]:
    """Return the number of different tokens, and the parts of a corpus to train on, to choose by and to test on."""
    splits = shakespeare() if corpus == "shakespeare" else wikitext2()
    encoder = (
        TextTokenizer() if corpus == "shakespeare" else BytePairTokenizer(vocabulary).fit([splits.train])
    )
    train_part, valid, test = (
        encode_stream(part, encoder) for part in (splits.train, splits.valid, splits.test)
    )
    return encoder.vocab_size, train_part, valid, test


def matched(settings: LanguageSettings, arm: str, vocabulary: int) -> Arm:
    """Return an untrained arm of the wanted number of parameters.

    It has the width that comes nearest to it, and feed-forward networks as much larger or smaller as is left.
    """
    # Rotations need an even number of channels a head.
    step, wanted = 2 * settings.heads, settings.parameters

    def count(times: int, expansion: float = EXPANSION) -> int:
        return _built(settings, arm, vocabulary, times * step, expansion).num_parameters

    low, high = 1, 2
    while count(high) < wanted:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if count(middle) >= wanted else (middle, high)
    nearest = min((low, high), key=lambda times: abs(count(times) - wanted))
    lack = (wanted - count(nearest)) / (count(nearest, EXPANSION + 1) - count(nearest))
    # Of a very small model more may be too much than all feed-forward networks have.
    return _built(settings, arm, vocabulary, nearest * step, max(EXPANSION + lack, 0.25))


def training_batch(settings: LanguageSettings, stream: Stream, seed: int, update: int) -> Batch:
    """Return the windows of an update, drawn from anywhere in the text."""
    drawn = generator(TRAINING, seed, update)
    first = torch.randint(len(stream.ids) - settings.length, (settings.batch, 1), generator=drawn)
    windows = stream.ids[first + torch.arange(settings.length + 1)]
    return Batch(windows[:, :-1], windows[:, 1:])


@torch.no_grad()
def negative_log_likelihood(model: Arm, stream: Stream, settings: LanguageSettings) -> float:
    """Return the nats of a whole text, read in windows that know nothing of each other."""
    model.eval()
    nats = 0.0
    for segment in segments(stream.ids, settings.batch, settings.length):
        logits = model.run(segment.ids).logits.flatten(0, 1)
        nats += float(
            F.cross_entropy(logits, segment.targets.flatten(), ignore_index=IGNORED, reduction="sum")
        )
    return nats


def _built(settings: LanguageSettings, arm: str, vocabulary: int, width: int, expansion: float) -> Arm:
    sizes = TextConfig(vocabulary, width, settings.layers, settings.heads, expansion)
    return build(arm, sizes, settings.ours)
