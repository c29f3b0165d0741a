import gc
import mmap
import re
import sys
import threading
from pathlib import Path

import pytest
import torch

from structformer.ops import keep_freed_memory, large
from structformer.ops.large import LARGE, empty, release

ENABLED = Path("/sys/kernel/mm/transparent_hugepage/enabled")
on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is kept on Linux only")


@pytest.fixture(autouse=True)
def _fresh():
    release()
    yield
    release()


@pytest.fixture
def small(monkeypatch):
    """What is large is small, so that tests are fast."""
    monkeypatch.setattr(large, "LARGE", 1)


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
    found = empty(torch.empty(0), LARGE).zero_()
    assert kilobytes_in_huge_pages(found) > found.nbytes / 1024 / 2


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(5, 3, 2), (7,), (5, 0, 2), ()])
def test_types_and_shapes_are_as_asked_for(dtype, shape, small):
    found = empty(torch.empty(0, dtype=dtype), *shape)
    assert (found.shape, found.dtype) == (shape, dtype)
    assert found.is_contiguous()
    assert not found._is_view()
    numbers = torch.randn(shape).to(dtype)
    torch.testing.assert_close(found.copy_(numbers), numbers)


def test_other_devices_are_left_to_torch(small):
    assert empty(torch.empty(0, device="meta"), 5, 2).device.type == "meta"


@on_linux
def test_memory_serves_again_once_the_last_tensor_on_it_is_gone(small):
    like = torch.empty(0)
    first = empty(like, 1_000)
    place, part = first.data_ptr(), first[500:]
    part.fill_(7)
    del first
    gc.collect()
    second = empty(like, 1_000)
    assert second.data_ptr() != place, "a part of it is still in use"
    second.fill_(3)
    assert bool((part == 7).all())
    del part
    gc.collect()
    assert empty(like, 1_000).data_ptr() == place


@on_linux
@pytest.mark.parametrize(("wanted", "serves"), [(1, False), (8, True), (9, True), (10, True), (11, False)])
def test_memory_of_about_the_size_serves(small, wanted, serves):
    like, pages = torch.empty(0), large._HUGE // 4
    held = empty(like, 10 * pages)
    del held
    assert len(large._POOL.free) == 1
    found = empty(like, wanted * pages)
    assert found.numel() == wanted * pages
    assert (not large._POOL.free) is serves


@on_linux
def test_of_several_the_smallest_serves(small):
    like, pages = torch.empty(0), large._HUGE // 4
    held = [empty(like, many * pages) for many in (12, 10, 11)]
    places = [x.data_ptr() for x in held]
    del held
    assert empty(like, 10 * pages).data_ptr() == places[1]
    assert len(large._POOL.free) == 3, "the tensor is gone as well"


@on_linux
def test_what_is_not_used_is_given_back_after_a_while(small, monkeypatch):
    like = torch.empty(0)
    held = [empty(like, 1_000), empty(like, 8_000_000)]
    del held
    assert len(large._POOL.free) == 2
    monkeypatch.setattr(large, "KEPT", 0.0)
    kept = empty(like, 1_000)
    assert not large._POOL.free
    assert kept.numel() == 1_000


@on_linux
def test_what_is_not_used_is_given_back_on_request(small):
    del [empty(torch.empty(0), 1_000)][0]
    assert large._POOL.free
    if keep_freed_memory(False):
        assert not large._POOL.free


@on_linux
def test_threads_get_memory_of_their_own(small):
    failures = []

    def work(number):
        like = torch.empty(0)
        for _ in range(200):
            x = empty(like, 1_000).fill_(number)
            if not bool((x == number).all()):
                failures.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


@on_linux
def test_short_of_memory_what_is_kept_is_given_back_first(small, monkeypatch):
    del [empty(torch.empty(0), 1_000)][0]
    assert large._POOL.free
    tried = []

    def short(*args, **options):
        tried.append(len(large._POOL.free))
        if len(tried) == 1:
            raise OSError("Cannot allocate memory")
        return mmap.mmap(*args, **options)

    monkeypatch.setattr(large, "_map", short)
    assert empty(torch.empty(0), 9_000_000).numel() == 9_000_000
    assert tried == [1, 0]


@on_linux
def test_where_there_is_no_memory_torch_says_so(small, monkeypatch):
    def none(*_, **__):
        raise OSError("Cannot allocate memory")

    monkeypatch.setattr(large, "_map", none)
    assert empty(torch.empty(0), 1_000).shape == (1_000,)
    with pytest.raises(RuntimeError, match="allocate"):
        empty(torch.empty(0), 1 << 50)


@on_linux
def test_advice_that_is_refused_does_no_harm(small, monkeypatch):
    monkeypatch.setattr(large.mmap, "MADV_HUGEPAGE", 10_000)
    monkeypatch.setattr(large.mmap, "MADV_FREE", 10_000)
    for _ in range(2):
        assert empty(torch.empty(0), 1_000).fill_(3).sum() == 3_000


def test_elsewhere_torch_allocates(small, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not large._serves.__wrapped__()
    monkeypatch.setattr(large, "_serves", lambda: False)
    assert empty(torch.empty(0), 1_000).shape == (1_000,)
    assert not large._POOL.free
