import math

import numpy as np
import pytest
import torch

from structformer.training.objectives import (
    agreement_loss,
    balanced_class_weight,
    classification_loss,
    corrupt,
    reconstruction_loss,
    regression_loss,
    tempered_classification_loss,
)

LOGITS = torch.log(torch.tensor([[1.0, 3.0], [2.0, 2.0], [4.0, 1.0]]))
TARGET = torch.tensor([1, 0, 1])
LOSSES = [-math.log(3 / 4), -math.log(1 / 2), -math.log(1 / 5)]


def test_classification_is_the_mean_cross_entropy():
    assert classification_loss(LOGITS, TARGET).item() == pytest.approx(sum(LOSSES) / 3)


def test_weights_of_rows_and_classes_multiply():
    rows, classes = torch.tensor([1.0, 2.0, 0.5]), torch.tensor([3.0, 1.0])
    weights = [1.0, 6.0, 0.5]
    expected = sum(w * x for w, x in zip(weights, LOSSES, strict=True)) / sum(weights)
    assert classification_loss(LOGITS, TARGET, rows, classes).item() == pytest.approx(expected)


def test_smoothed_labels_share_with_the_other_class():
    expected = 0.9 * -math.log(3 / 4) + 0.1 * -math.log(1 / 4)
    found = classification_loss(LOGITS[:1], TARGET[:1], label_smoothing=0.2)
    assert found.item() == pytest.approx(expected)


def test_no_weight_is_no_loss():
    assert classification_loss(LOGITS, TARGET, torch.zeros(3)).item() == 0
    assert regression_loss(LOGITS, LOGITS + 1, torch.zeros(3)).item() == 0


def test_the_best_temperature_forgives_being_too_sure(rng):
    target = torch.randint(3, (40,), generator=rng)
    logits = torch.nn.functional.one_hot(target, 3) + torch.randn(40, 3, generator=rng)
    plain, weight = classification_loss(logits, target), torch.tensor([1.0, 2.0, 0.5])
    found = tempered_classification_loss(logits, target)
    assert found <= plain
    torch.testing.assert_close(tempered_classification_loss(4 * logits, target), found)
    assert classification_loss(4 * logits, target) > 1.5 * plain
    shuffled = logits[torch.randperm(40, generator=rng)]
    assert tempered_classification_loss(shuffled, target) > found + 0.1
    assert not torch.isclose(tempered_classification_loss(logits, target, weight), found)


def test_regression_is_the_weighted_mean_squared_error():
    prediction = torch.tensor([[1.0, 2.0], [3.0, 5.0]])
    target = torch.tensor([[1.0, 4.0], [0.0, 4.0]])
    assert regression_loss(prediction, target).item() == pytest.approx((2 + 5) / 2)
    weighted = regression_loss(prediction, target, torch.tensor([3.0, 1.0]))
    assert weighted.item() == pytest.approx((3 * 2 + 5) / 4)


def test_agreement_is_the_cross_entropy_of_both_views():
    first, second = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.0, 3.0], [0.0, 1.0]])
    # Cosines: first row agrees with neither (0, 0), second with both (1, 1).
    forth = (math.log(2) + math.log(2)) / 2
    back = (math.log(1 + math.exp(2)) + math.log(1 + math.exp(-2))) / 2
    assert agreement_loss(first, second, temperature=0.5).item() == pytest.approx((forth + back) / 2)


def test_equal_views_agree_best(rng):
    first, other = torch.randn(2, 7, 5, generator=rng)
    assert agreement_loss(first, 3 * first) < agreement_loss(first, other)
    assert agreement_loss(first[:1], other[:1]).item() == 0


def test_reconstruction_counts_masked_tokens_only():
    prediction, target = torch.tensor([[1.0, 1.0], [5.0, 5.0], [0.0, 2.0]]), torch.zeros(3, 2)
    masked = torch.tensor([True, False, True])
    assert reconstruction_loss(prediction, target, masked).item() == pytest.approx((1 + 2) / 2)
    assert reconstruction_loss(prediction, target, torch.zeros(3, dtype=torch.bool)).item() == 0


def test_corruption_empties_about_the_share_and_says_where():
    x = torch.ones(2003, 3)
    draw = [corrupt(x, 0.3, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    corrupted, masked = draw[0]
    assert (corrupted == (~masked)[:, None]).all()
    assert 0.25 < masked.float().mean() < 0.35
    assert torch.equal(masked, draw[1][1])
    assert not torch.equal(masked, draw[2][1])
    assert (x == 1).all(), "the original stays"


def test_balanced_weights_follow_scikit_learn():
    from sklearn.utils.class_weight import compute_class_weight

    target = torch.tensor([0, 1, 1, 1, 0, 1, 1])
    expected = compute_class_weight("balanced", classes=np.array([0, 1]), y=target.numpy())
    assert balanced_class_weight(target, 2).tolist() == pytest.approx(expected.tolist())
    assert balanced_class_weight(target, 3).tolist() == pytest.approx([7 / 6, 7 / 15, 0.0])
