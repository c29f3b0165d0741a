"""Handwritten digits: the 10,000 test images of MNIST."""

from __future__ import annotations

import gzip
import struct
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from .store import read


@dataclass(frozen=True)
class Digits:
    """Images of grey values, 0 where there is no ink, and the digits they show."""

    images: UInt8[Tensor, "images height width"]
    labels: Int[Tensor, "images"]


def mnist() -> Digits:
    """Return the test images of MNIST (LeCun et al. 1998) and their labels.

    Raises:
        FileNotFoundError: If they were not downloaded.
        ValueError: If a file is damaged.
    """
    files = read("mnist")
    return Digits(
        _idx(files["mnist_t10k/t10k-images-idx3-ubyte.gz"]),
        _idx(files["mnist_t10k/t10k-labels-idx1-ubyte.gz"]).long(),
    )


def _idx(packed: bytes) -> Tensor:
    """Read the format of these files: the number of dimensions in the fourth byte, their sizes, and the bytes."""
    content = gzip.decompress(packed)
    dimensions = content[3]
    shape = struct.unpack(f">{dimensions}I", content[4 : 4 + 4 * dimensions])
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape).copy())
