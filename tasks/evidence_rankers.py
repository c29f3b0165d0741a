"""Who ranks the paragraphs of a question: networks and their rivals, and how rankings are scored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from structformer.ops import segment_softmax

from .baselines.paragraphs import OverlapRanker, TfidfRanker
from .best_state import BestState
from .evidence_data import FEATURES, Evidence
from .evidence_folds import Division, Item, texts
from .evidence_model import EvidenceModel, evidence_encoder, pack
from .evidence_scaling import Scaling, with_links, within
from .sweeps import TRAINING, generator
from .training import Losses, train

if TYPE_CHECKING:
    from .evidence import EvidenceSettings

# Scores of the paragraphs of each question.
Scores = list[np.ndarray]


def network(
    settings: EvidenceSettings, options: dict[str, Any], part: Division, seed: int
) -> tuple[Callable[..., Scores], float, int]:
    """Train a network once for each part that is held out of the training folds, to choose its weights by.

    Returns:
        What scores paragraphs, by the mean of these networks; their mean score on what was held out; and the numbers
        of one of them.
    """
    links = options["links"]
    scale = Scaling.of([item.figures for item in part.learned])
    nets: list[EvidenceModel] = []
    chosen: list[float] = []
    for member in range(settings.members):
        held = part.learned[member :: settings.members]
        others = [item for place, item in enumerate(part.learned) if place % settings.members != member]
        torch.manual_seed(seed * settings.members + member)
        net = EvidenceModel(scale.bins, evidence_encoder(**options), options["width"], options["dropout"])
        best = BestState(
            net,
            partial(_right, net, scale, links, held),
            max(1, settings.training.updates // settings.looks),
        )
        learned = [scale(item.figures) for item in others]
        train(net, best.watching(listwise(net, learned, links, settings.batch, seed)), settings.training)
        chosen.append(best.restore(settings.training.updates))
        nets.append(net.double())

    def judge(items: Sequence[Item], orders: Sequence[np.ndarray] | None) -> Scores:
        each = [scored(net, scale, links, items, orders) for net in nets]
        return [np.mean(some, axis=0) for some in zip(*each, strict=True)]

    return judge, 100 * fmean(chosen), sum(weight.numel() for weight in nets[0].parameters())


@torch.no_grad()
def scored(
    net: EvidenceModel,
    scale: Scaling,
    links: str,
    items: Sequence[Item],
    orders: Sequence[np.ndarray] | None = None,
) -> Scores:
    """Return the logarithm of each paragraph's share in the softmax of its question."""
    some = [item.figures for item in items]
    if orders is not None:
        some = [one.permuted(order) for one, order in zip(some, orders, strict=True)]
    tokens, dtype = pack([scale(one) for one in some], links), next(net.parameters()).dtype
    tokens.x = tokens.x.to(dtype)
    if tokens.edge_attr is not None:
        tokens.edge_attr = tokens.edge_attr.to(dtype)
    shares = segment_softmax(net(tokens)[0], tokens.ptr).log()
    return [share.double().numpy() for share in shares.split(tokens.sizes.tolist())]


def _right(net: EvidenceModel, scale: Scaling, links: str, items: Sequence[Item]) -> float:
    scores = scored(net, scale, links, items)
    return fmean(found(score, item) for score, item in zip(scores, items, strict=True))


def rival(
    settings: EvidenceSettings, options: dict[str, Any], part: Division, seed: int
) -> tuple[Callable[..., Scores], float | None, int]:
    """Train a ranker that is no network; return the same."""
    name, links = options.pop("name"), options.pop("links", False)
    learned = part.learned
    if name in ("linear", "boosted"):
        row = with_links if links else within
        ranker = OverlapRanker(name, seed=seed, **options)
        ranker.fit(
            np.concatenate([row(item.figures) for item in learned]),
            np.concatenate([item.figures.supporting for item in learned]),
        )

        def score(item: Item, order: np.ndarray) -> np.ndarray:
            return ranker.scores(row(item.figures.permuted(order)))

    elif name == "bm25":

        def score(item: Item, order: np.ndarray) -> np.ndarray:
            return item.figures.x[order, FEATURES.index("bm25")]

    else:
        tfidf = TfidfRanker([text for item in learned for text in texts(item.question)])

        def score(item: Item, order: np.ndarray) -> np.ndarray:
            paragraphs = texts(item.question)
            return tfidf.scores(item.question.question, [paragraphs[place] for place in order])

    def judge(items: Sequence[Item], orders: Sequence[np.ndarray] | None) -> Scores:
        turns = orders or [np.arange(len(item.question.titles)) for item in items]
        return [score(item, order) for item, order in zip(items, turns, strict=True)]

    return judge, None, 0


def listwise(model: EvidenceModel, learned: Sequence[Evidence], links: str, batch: int, seed: int) -> Any:
    """Return what the questions of an update cost: −log of a needed paragraph's share in the softmax of its question.

    Every question is met once before any is met again.
    """
    each = -(-len(learned) // batch)

    def losses(update: int) -> Losses:
        order = torch.randperm(len(learned), generator=generator(TRAINING, seed, update // each))
        tokens = pack([learned[place] for place in order[update % each * batch :][:batch].tolist()], links)
        scores, extra = model(tokens)
        loss = -segment_softmax(scores, tokens.ptr)[tokens.y].log().mean()
        return Losses(loss + extra, float(loss.detach()))

    return losses


def first_two(scores: np.ndarray) -> set[int]:
    """Return the two paragraphs of the highest scores."""
    return set(np.argsort(-scores, kind="stable")[:2].tolist())


def found(scores: np.ndarray, item: Item) -> float:
    """Return the share of a question's needed paragraphs among the first two."""
    needed = set(item.question.supporting)
    return len(first_two(scores) & needed) / len(needed)
