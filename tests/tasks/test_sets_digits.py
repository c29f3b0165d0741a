import pytest
import torch
from structformer.tasks.sets_digits import (
    DIGITS,
    DistinctDigits,
    OddOneOut,
    PixelSets,
    Pool,
    digit_pools,
)
from structformer.tasks.sweeps import TEST, TRAINING, VALIDATION, generator

PARTS = (TRAINING, VALIDATION, TEST)


@pytest.fixture(scope="module")
def pools():
    return digit_pools("digits", 0)


@pytest.fixture(scope="module")
def told():
    """Images of 2 × 2 pixels that say their digit in the first pixel, three of each."""
    labels = torch.arange(DIGITS).repeat_interleave(3)
    images = torch.zeros(len(labels), 2, 2)
    images[:, 0, 0] = labels
    images[:, 0, 1] = torch.arange(3).repeat(DIGITS)
    return dict.fromkeys(PARTS, Pool(images, labels))


def digits_of(batch):
    return [some.tolist() for some in batch.x[:, 0].long().split(batch.ptr.diff().tolist())]


def test_parts_are_disjoint_and_together_all_images(pools):
    images = [{image.numpy().tobytes() for image in pools[part].images} for part in PARTS]
    assert [len(pools[part].labels) for part in PARTS] == [1258, 180, 359]
    whole = set().union(*images)
    assert sum(map(len, images)) == pytest.approx(len(whole), abs=3)  # a few images are there twice
    for part in PARTS:
        assert pools[part].labels.equal(pools[part].labels.sort().values)
    again, other = digit_pools("digits", 0), digit_pools("digits", 1)
    assert again[TEST].images.equal(pools[TEST].images)
    assert not other[TEST].labels.equal(pools[TEST].labels)


def test_images_are_drawn_from_all_of_their_digit(told):
    digits = torch.arange(DIGITS).repeat(200)
    images = told[TEST].some(digits, generator(0))
    assert images[:, 0].long().equal(digits)
    counts = torch.bincount(images[:, 1].long(), minlength=3) / len(digits)
    assert counts.tolist() == pytest.approx([1 / 3] * 3, abs=0.05)


def test_bags_show_as_many_digits_as_told(told):
    batch = DistinctDigits(told).draw(TRAINING, 2_000, generator(0))
    found = digits_of(batch)
    assert [len(set(digits)) - 1 for digits in found] == batch.target.tolist()
    assert {len(digits) for digits in found} == {6, 7, 8, 9, 10}
    assert set(batch.target.tolist()) == set(range(10))
    # Their order tells nothing: what came first in construction is not always different.
    assert any(digits[0] == digits[1] and len(set(digits)) > 2 for digits in found)


def test_an_odd_digit_shows_once_and_no_other_does(told):
    batch = OddOneOut(told).draw(TRAINING, 4_000, generator(0))
    kinds = {0: [], 1: []}
    for digits, odd in zip(digits_of(batch), batch.target.tolist(), strict=True):
        single = [digit for digit in set(digits) if digits.count(digit) == 1]
        assert len(single) == odd
        kinds[odd].append((len(digits), len(set(digits))))
    # Neither size nor number of digits tells whether there is an odd one.
    for measure in (0, 1):
        means = [sum(one[measure] for one in some) / len(some) for some in kinds.values()]
        assert means[0] == pytest.approx(means[1], abs=0.1)
    assert len(kinds[1]) == pytest.approx(2_000, abs=150)


def test_pixels_are_those_of_the_image(pools):
    problem = PixelSets(pools)
    batch = problem.draw(TEST, 40, generator(0))
    assert len(batch.target) == 40
    for points, digit in zip(batch.x.split(batch.ptr.diff().tolist()), batch.target.tolist(), strict=True):
        row, column, ink = ((points + 1) * torch.tensor([3.5, 3.5, 0.5])).unbind(1)
        image = torch.zeros(8, 8)
        image[row.round().long(), column.round().long()] = ink
        same = (pools[TEST].images - image).abs().amax((1, 2)) < 1e-5
        assert digit in pools[TEST].labels[same].tolist()
        assert not row.equal(row.sort().values)


def test_every_image_is_judged_once(pools):
    found = PixelSets(pools).draw_many(TEST, 10_000, generator(0))
    labels = torch.cat([batch.target for batch in found])
    assert labels.sort().values.equal(pools[TEST].labels)
    assert len(PixelSets(pools).draw_many(TEST, 60, generator(0))) == 2


@pytest.mark.parametrize("kind", [DistinctDigits, OddOneOut, PixelSets])
def test_right_answers_score_best(kind, pools):
    problem = kind(pools)
    batch = problem.draw(TEST, 60, generator(0))
    if kind is OddOneOut:
        right = batch.target[:, None] * 2.0 - 1
    else:
        right = torch.nn.functional.one_hot(batch.target, problem.outputs) * 5.0
    assert problem.score(right, batch) == 100
    assert problem.score(-right, batch) < 20
    assert float(problem.loss(right, batch)) < float(problem.loss(-right, batch))
    assert not bool(problem.changed(right, right + 1e-6).any())
    assert bool(problem.changed(right, -right).all())


def test_mnist_is_halved(data_folder, monkeypatch):
    monkeypatch.setenv("STRUCTFORMER_DATA", str(data_folder))
    pools = digit_pools("mnist", 0)
    assert [len(pools[part].labels) for part in PARTS] == [7_000, 1_000, 2_000]
    assert pools[TRAINING].images.shape[1:] == (14, 14)
    assert 0.9 < float(pools[TRAINING].images.max()) <= 1
    sizes = PixelSets(pools).draw(TEST, 200, generator(0)).ptr.diff()
    assert 40 < float(sizes.double().mean()) < 80
