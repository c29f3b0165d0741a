"""What is minimised: classification, regression, and self-supervision for the encoders."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F


def classification_loss(
    logits: Float[Tensor, "rows classes"],
    target: Int[Tensor, " rows"],
    sample_weight: Float[Tensor, " rows"] | None = None,
    class_weight: Float[Tensor, " classes"] | None = None,
    label_smoothing: float = 0.0,
) -> Float[Tensor, ""]:
    """Return the weighted mean cross-entropy; weights of rows and of classes multiply."""
    losses = F.cross_entropy(logits, target, reduction="none", label_smoothing=label_smoothing)
    weight = torch.ones_like(losses) if sample_weight is None else sample_weight
    if class_weight is not None:
        weight = weight * class_weight[target]
    return (weight * losses).sum() / weight.sum().clamp(min=torch.finfo(losses.dtype).tiny)


TEMPERATURES = tuple(2.0 ** (power / 2) for power in range(-4, 9))
"""What scores are divided by where it is asked how much they tell, not how sure they are."""


def tempered_classification_loss(
    logits: Float[Tensor, "rows classes"],
    target: Int[Tensor, " rows"],
    class_weight: Float[Tensor, " classes"] | None = None,
) -> Float[Tensor, ""]:
    """Return the cross-entropy at the temperature that suits best (of `TEMPERATURES`; Guo et al. 2017, 1706.04599).

    A model that becomes better and too sure of itself at once looks worse by its plain cross-entropy.
    """
    losses = [classification_loss(logits / one, target, None, class_weight) for one in TEMPERATURES]
    return torch.stack(losses).min()


def regression_loss(
    prediction: Float[Tensor, "rows outputs"],
    target: Float[Tensor, "rows outputs"],
    sample_weight: Float[Tensor, " rows"] | None = None,
) -> Float[Tensor, ""]:
    """Return the weighted mean squared error of standardised targets."""
    losses = (prediction - target).square().mean(-1)
    weight = torch.ones_like(losses) if sample_weight is None else sample_weight
    return (weight * losses).sum() / weight.sum().clamp(min=torch.finfo(losses.dtype).tiny)


def agreement_loss(
    first: Float[Tensor, "sets width"], second: Float[Tensor, "sets width"], temperature: float = 0.2
) -> Float[Tensor, ""]:
    """Return the symmetric InfoNCE between two views of the same things (NT-Xent; SimCLR, arXiv 2002.05709).

    Row i of ``first`` and row i of ``second`` are two corrupted views of one thing and must agree; all other
    rows of the other view are what they must differ from. One row alone has nothing to differ from: zero.
    """
    logits = F.normalize(first, dim=-1) @ F.normalize(second, dim=-1).T / temperature
    target = torch.arange(len(first), device=first.device)
    return 0.5 * (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target))


def reconstruction_loss(
    prediction: Float[Tensor, "tokens features"],
    target: Float[Tensor, "tokens features"],
    masked: Bool[Tensor, " tokens"],
) -> Float[Tensor, ""]:
    """Return the mean squared error of the masked tokens' features; zero when none is masked."""
    errors = (prediction - target).square().mean(-1)
    return (errors * masked).sum() / masked.sum().clamp(min=1)


def corrupt(
    x: Float[Tensor, "tokens features"], share: float, generator: torch.Generator
) -> tuple[Float[Tensor, "tokens features"], Bool[Tensor, " tokens"]]:
    """Return ``x`` with a random share of its tokens set to zero, and which ones those are."""
    masked = (torch.rand(len(x), generator=generator, device=generator.device) < share).to(x.device)
    return x.masked_fill(masked[:, None], 0.0), masked


def balanced_class_weight(target: Int[Tensor, " rows"], classes: int) -> Float[Tensor, " classes"]:
    """Return n / (classes · n_c), scikit-learn's "balanced" rule; classes without rows weigh 0."""
    counts = torch.bincount(target, minlength=classes).float()
    weight = counts.sum() / (classes * counts.clamp(min=1))
    return weight * (counts > 0)
