import re
import sys
from pathlib import Path

import pytest
import torch

from structformer.ops import huge_pages
from structformer.ops.huge_pages import LARGE, empty

ENABLED = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def kilobytes_in_huge_pages(x):
    """What the system says of the mapping that holds the tensor."""
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if bounds := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            inside = int(bounds[1], 16) <= x.data_ptr() + x.nbytes // 2 < int(bounds[2], 16)
        elif inside and line.startswith("AnonHugePages"):
            return int(line.split()[1])
    return 0


@pytest.mark.skipif(
    not ENABLED.is_file() or "[never]" in ENABLED.read_text(), reason="the system has no huge pages to give"
)
def test_large_tensors_lie_in_huge_pages():
    like = torch.empty(0)
    large = empty(like, 4 * LARGE // 4).zero_()
    assert kilobytes_in_huge_pages(large) > large.nbytes / 1024 / 2


def test_types_devices_and_shapes_follow_the_other_tensor():
    for like in (
        torch.empty(0, dtype=torch.float64),
        torch.empty(3, dtype=torch.bfloat16),
        torch.empty(0, device="meta"),
    ):
        found = empty(like, 5, 0, 2)
        assert (found.shape, found.dtype, found.device) == ((5, 0, 2), like.dtype, like.device)


def test_elsewhere_nothing_is_advised(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert huge_pages._madvise.__wrapped__() is None
    monkeypatch.setattr(huge_pages, "_madvise", lambda: None)
    assert empty(torch.empty(0), LARGE).shape == (LARGE,)
