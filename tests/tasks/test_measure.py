import time

import pytest
import torch
from structformer.tasks.measure import exponent, interleaved, medians, refusal, streaming_bandwidth, timed


def test_steps_run_in_turn_after_one_unmeasured_call_each():
    calls = []
    times = interleaved({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, repeats=3)
    assert "".join(calls) == "ab" + "ab" * 3
    assert {name: len(found) for name, found in times.items()} == {"a": 3, "b": 3}


def test_times_are_milliseconds():
    taken, result = timed(lambda: time.sleep(0.023) or "slept")
    assert result == "slept"
    assert 23 <= taken < 1_000


def test_median_by_name():
    assert medians({"a": [5.0, 1.0, 2.0], "b": [7.0]}) == {"a": 2.0, "b": 7.0}


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_exponent_of_a_power_law(power):
    sizes = [3, 7, 31]
    assert exponent(sizes, [5 * size**power for size in sizes]) == pytest.approx(power)


def test_bandwidth_is_bytes_over_the_fastest_reading(monkeypatch):
    monkeypatch.setattr("structformer.tasks.measure.interleaved", lambda *_: {"read": [4.0, 2.0, 8.0]})
    assert streaming_bandwidth(1_009, 3) == pytest.approx(1_009 * 4 / 2e-3)


def test_bandwidth_of_this_machine_is_believable():
    assert 1e7 < streaming_bandwidth(100_003, 50) < 1e13


def test_too_few_repeats_or_sizes():
    with pytest.raises(ValueError, match=r"repeats must be at least 1 \(got 0\)"):
        interleaved({"a": lambda: None}, 0)
    with pytest.raises(ValueError, match=r"sizes must be at least two for a slope \(got 1\)"):
        exponent([2], [3.0])


def test_a_refusal_is_told_in_one_line_and_other_errors_are_not_hidden():
    assert refusal(lambda: torch.ones(2)) is None
    assert refusal(lambda: int("a\nb")) is not None
    assert "\n" not in str(refusal(lambda: __import__("no_such_module")))
    with pytest.raises(ZeroDivisionError):
        refusal(lambda: 1 / 0)
