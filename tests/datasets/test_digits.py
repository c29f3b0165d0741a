import gzip
import struct

import pytest
import torch
from structformer.datasets import mnist

IMAGES, LABELS = "mnist_t10k/t10k-images-idx3-ubyte.gz", "mnist_t10k/t10k-labels-idx1-ubyte.gz"


def idx(values):
    header = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    return gzip.compress(header + values.to(torch.uint8).numpy().tobytes())


def test_the_real_digits(real):
    real("mnist")
    digits = mnist()
    assert digits.images.shape == (10_000, 28, 28)
    assert digits.images.dtype == torch.uint8
    assert torch.bincount(digits.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    # The corners are empty, the middle is not.
    assert digits.images[:, 0, 0].max() == 0
    assert digits.images[:, 10:18, 10:18].float().mean() > 50


def test_images_and_labels_are_read(given, rng):
    images, labels = torch.randint(256, (5, 3, 7), generator=rng), torch.tensor([1, 0, 9, 3, 3])
    given("mnist", {IMAGES: idx(images), LABELS: idx(labels)})
    digits = mnist()
    assert digits.images.tolist() == images.tolist()
    assert digits.labels.tolist() == labels.tolist()
    assert digits.labels.dtype == torch.int64


@pytest.mark.parametrize("path", [IMAGES, LABELS])
def test_a_damaged_file_is_named(given, path):
    folder = given("mnist", {IMAGES: idx(torch.zeros(2, 3, 3)), LABELS: idx(torch.zeros(2))})
    (folder / path).write_bytes((folder / path).read_bytes()[:-1])
    with pytest.raises(ValueError, match=f"{folder / path} is damaged"):
        mnist()
