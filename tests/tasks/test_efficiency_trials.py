import pytest
from structformer.tasks import efficiency_trials
from structformer.tasks.efficiency_arms import Case
from structformer.tasks.efficiency_trials import KILLED, NO_MEMORY, Trial, measured, median_times

built = []


def build(name, case):
    built.append((name, case))
    return lambda: None


@pytest.fixture
def memory(monkeypatch):
    """Sets the peaks that will be found, and returns the jobs asked for."""
    jobs = []

    def find(peaks):
        def measure(asked):
            jobs.extend(asked)
            return peaks

        monkeypatch.setattr(efficiency_trials, "measures_memory", lambda: True)
        monkeypatch.setattr(efficiency_trials, "peak_megabytes", measure)
        return jobs

    built.clear()
    return find


@pytest.fixture
def clock(monkeypatch):
    """Lets every arm take the milliseconds that its name says, plus 100 for the second seed."""

    def turn(steps, repeats):
        late = 100 * (built[-1][1].seed == 1)
        return {name: [float(name) + late + i for i in range(repeats)] for name in steps}

    monkeypatch.setattr(efficiency_trials, "interleaved", turn)


def test_records_hold_times_ratios_and_memory(memory, clock):
    jobs = memory([7.0, 11.0, 13.0])
    case = Case(97, 5)
    records = measured([Trial("one", build, ("10", "30"), case, 3), Trial("two", build, ("5",), case, 1)], 1)
    assert [(entry["comparison"], entry["arm"], entry["megabytes"]) for entry in records] == [
        ("one", "10", 7.0),
        ("one", "30", 11.0),
        ("two", "5", 13.0),
    ]
    assert [entry["milliseconds"] for entry in records] == [11.0, 31.0, 5.0]
    assert [entry["ratio"] for entry in records] == pytest.approx([1, 31 / 11, 1])
    assert [entry["tokens"] for entry in records] == [97, 97, 97]
    assert [small.tokens for _, (_, small), _ in jobs] == [efficiency_trials.SMALL] * 3
    assert [full for _, _, (_, full) in jobs] == [case] * 3


@pytest.mark.parametrize(("killed", "ratios"), [("10", [None, None]), ("30", [1, None])])
def test_an_arm_that_was_killed_is_not_timed(memory, clock, killed, ratios):
    memory([None if name == killed else 7.0 for name in ("10", "30")])
    records = measured([Trial("one", build, ("10", "30"), Case(97, 5), 1)], 1)
    assert killed not in [name for name, _ in built]
    assert [entry["note"] for entry in records] == [KILLED if arm == killed else "" for arm in ("10", "30")]
    assert [entry["ratio"] for entry in records] == ratios


def test_without_a_way_to_measure_memory_only_times_are_there(monkeypatch, clock):
    monkeypatch.setattr(efficiency_trials, "measures_memory", lambda: False)
    (only,) = measured([Trial("one", build, ("10",), Case(97, 5), 1)], 1)
    assert (only["milliseconds"], only["megabytes"], only["note"]) == (10.0, None, NO_MEMORY)


def test_the_repeats_of_all_seeds_count(clock):
    built.clear()
    trial = Trial("one", build, ("10",), Case(97, 5), 3)
    # 10, 11, 12 and 110, 111, 112.
    assert median_times(trial, ["10"], 2) == {"10": 61.0}
    assert [case.seed for _, case in built] == [0, 1]


def test_memory_is_kept_while_such_a_trial_is_timed_and_no_longer(monkeypatch):
    said = []
    monkeypatch.setattr(efficiency_trials, "keep_freed_memory", lambda keep=True: said.append(keep) or True)
    monkeypatch.setattr(efficiency_trials, "peak_megabytes", lambda jobs: [1.0] * len(jobs))
    trials = [
        Trial("one", build, ("10",), Case(97, 5), 1),
        Trial("two", build, ("10",), Case(97, 5), 1, kept=True),
    ]
    plain, kept = measured(trials, 1)
    assert said == [True, False]
    assert kept["milliseconds"] > 0
    assert kept["megabytes"] is None
    assert kept["note"] == "freed memory is kept"
    assert plain["note"] != kept["note"]


def test_an_allocator_that_cannot_keep_memory_is_named(monkeypatch):
    monkeypatch.setattr(efficiency_trials, "keep_freed_memory", lambda keep=True: False)
    with pytest.raises(OSError, match="with glibc only"):
        median_times(Trial("one", build, ("10",), Case(97, 5), 1, kept=True), ("10",), 1)
