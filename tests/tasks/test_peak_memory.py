import signal
from functools import partial

import pytest
import torch
from structformer.tasks import efficiency_arms as arms
from structformer.tasks import peak_memory
from structformer.tasks.peak_memory import measures_memory, peak_megabytes

LINUX = pytest.mark.skipif(not measures_memory(), reason="peak memory is read from Linux's /proc")


@pytest.fixture(scope="module")
def peaks():
    """Megabytes of several steps, by name; one call, since the process that forks has to import torch."""
    small, full = arms.Case(67, 5), arms.Case(4_001, 5)
    jobs = {
        # partial(torch.ones, n) is a step that needs 4n bytes.
        "ones": (partial, (torch.ones, 11), (torch.ones, 10_000_019)),
        "killed": (partial, (int,), (signal.raise_signal, signal.SIGKILL)),
        "negative": (partial, (torch.neg, torch.ones(3)), (torch.neg, torch.ones(5_000_011))),
        "dense": (arms.attention, ("SDPA, masked", small), ("SDPA, masked", full)),
        "ours": (arms.attention, (arms.OURS, small), (arms.OURS, full)),
    }
    return dict(zip(jobs, peak_megabytes(list(jobs.values())), strict=True))


@LINUX
def test_what_a_step_allocates_is_measured_and_its_inputs_are_not(peaks):
    assert peaks["ones"] == pytest.approx(40, abs=1.5)
    assert peaks["negative"] == pytest.approx(20, abs=1.5)


@LINUX
def test_a_killed_process_has_no_number_and_does_not_stop_the_others(peaks):
    assert [name for name, megabytes in peaks.items() if megabytes is None] == ["killed"]


@LINUX
def test_dense_attention_needs_memory_for_all_pairs_and_ours_does_not(peaks):
    # The boolean mask becomes one of float32.
    assert peaks["dense"] > 4_001**2 * 4 / 1e6 > 1.5 * peaks["ours"]


@LINUX
def test_what_a_step_raises_is_told():
    with pytest.raises(RuntimeError, match="invalid literal for int"):
        peak_megabytes([(partial, (int,), (int, "no number"))])


def test_elsewhere_it_is_an_error(monkeypatch):
    monkeypatch.setattr(peak_memory.sys, "platform", "plan9")
    with pytest.raises(OSError, match=r"only be read on Linux \(got plan9\)"):
        peak_megabytes([])
