import json
from dataclasses import replace

import pytest
from structformer.tasks import efficiency, efficiency_trials
from structformer.tasks.efficiency import QUICK, Settings, run
from structformer.tasks.efficiency_arms import (
    ENCODERS,
    NORMALIZERS,
    OURS,
    attention_arms,
    bare_attention_arms,
)
from structformer.tasks.efficiency_search import SearchSettings

from structformer.cli import _tasks
from structformer.ops import keep_freed_memory

TINY = Settings(
    heads=2,
    channels=3,
    neighbors=5,
    attention_tokens=(37, 61),
    dense_most=40,
    normalizer_tokens=41,
    scaling_tokens=(67, 131, 257),
    scaling_neighbors=3,
    search=SearchSettings(
        tokens=307, neighbors=7, large_tokens=0, sets=5, set_size=13, set_neighbors=3, repeats=1
    ),
    encoder_tokens=43,
    graphs=3,
    graph_size=7,
    layers=2,
    repeats=1,
    slow_repeats=1,
)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The records of a whole tiny run, and its folder."""
    folder = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        # Without processes, as if memory were linear in the tokens: 8 bytes each.
        patch.setattr(
            efficiency_trials, "peak_megabytes", lambda jobs: [job[2][1].tokens * 8.0 for job in jobs]
        )
        patch.setattr(efficiency_trials, "measures_memory", lambda: True)
        return run(True, 1, TINY, folder), folder


def of(records, comparison):
    return [entry for entry in records if entry["comparison"] == comparison]


def test_all_records_have_the_same_fields_and_all_comparisons_are_there(results):
    records, _ = results
    assert len({tuple(entry) for entry in records}) == 1
    assert list(dict.fromkeys(entry["comparison"].partition(",")[0] for entry in records)) == [
        "attention layer",
        "attention alone",
        "normaliser",
        "attention with normaliser",
        "scaling",
        "floor",
        "search",
        "step",
    ]


def test_the_file_holds_the_records_and_a_picture_is_beside_it(results):
    records, folder = results
    assert sorted(file.name for file in folder.iterdir()) == ["efficiency-quick.json", "efficiency-quick.png"]
    parts = json.loads((folder / "efficiency-quick.json").read_text())["parts"]
    assert [entry for part in parts.values() for entry in part["records"]] == records


@pytest.mark.parametrize("graph", efficiency.GRAPHS)
@pytest.mark.parametrize(("name", "names"), [("layer", attention_arms()), ("alone", bare_attention_arms())])
def test_attention_has_all_arms_and_dense_ones_up_to_their_size(results, graph, name, names):
    found = of(results[0], f"attention {name}, {graph}")
    assert [entry["arm"] for entry in found if entry["tokens"] == 37] == names
    left = [entry["arm"] for entry in found if entry["tokens"] == 61]
    assert left == [arm for arm in names if not arm.startswith("SDPA")]
    for entry in found:
        assert entry["milliseconds"] > 0
        assert entry["megabytes"] == 8 * entry["tokens"]
    assert all(entry["ratio"] == 1 for entry in found if entry["arm"] == OURS)


def test_normalisers_are_compared_with_softmax_alone_and_inside_attention(results):
    assert [entry["arm"] for entry in of(results[0], "normaliser")] == list(NORMALIZERS)
    inside = of(results[0], "attention with normaliser")
    assert [entry["arm"] for entry in inside] == [f"{OURS}, {name}" for name in NORMALIZERS]


@pytest.mark.parametrize("graph", efficiency.GRAPHS)
def test_scaling_ends_with_exponents_of_time_and_memory(results, graph):
    *sizes, time, memory = of(results[0], f"scaling, {graph}")
    assert [entry["tokens"] for entry in sizes] == [67, 131, 257]
    assert (time["arm"], memory["arm"]) == ("exponent of milliseconds", "exponent of megabytes")
    assert memory["exponent"] == pytest.approx(1)
    assert -3 < time["exponent"] < 3


@pytest.mark.parametrize("graph", efficiency.GRAPHS)
def test_times_are_taken_once_more_where_memory_is_kept(results, graph):
    if not keep_freed_memory() or not keep_freed_memory(False):
        pytest.skip("the allocator is not glibc's")
    found = of(results[0], f"attention layer, {graph}, memory kept")
    assert [entry["arm"] for entry in found if entry["tokens"] == 37] == list(efficiency.RIVALS)
    *sizes, time = of(results[0], f"scaling, {graph}, memory kept")
    assert [entry["tokens"] for entry in sizes] == [67, 131, 257]
    assert time["arm"] == "exponent of milliseconds"
    assert len(of(results[0], "step, small graphs, memory kept")) == len(ENCODERS)
    assert all(entry["milliseconds"] > 0 and entry["megabytes"] is None for entry in found + sizes)


def test_other_allocators_have_no_times_with_memory_kept(monkeypatch):
    monkeypatch.setattr(efficiency, "keep_freed_memory", lambda *_: False)
    assert efficiency.kept_attention(TINY, 1) == []
    assert efficiency.scaling(TINY, 1, kept=True) == efficiency.encoders(TINY, 1, kept=True) == []


def test_the_floor_is_the_gathered_bytes_over_the_bandwidth(monkeypatch):
    monkeypatch.setattr(efficiency, "streaming_bandwidth", lambda numbers, _: 1e6 * numbers)
    monkeypatch.setattr(efficiency, "median_times", lambda trial, names, seeds: dict.fromkeys(names, 7.0))
    records = efficiency.floor(replace(TINY, attention_tokens=(37,)), 1)
    least = 1e3 * 6 * (37 * 5) * 2 * 3 * 4 / (1e6 * 37 * 2 * 3)
    floor, ours = of(records, "floor, random")
    assert floor["milliseconds"] == pytest.approx(least)
    assert ours["ratio"] == pytest.approx(7 / least)


def test_encoders_are_compared_on_one_set_and_on_small_graphs(results):
    for name, tokens in (("step, one set", 43), ("step, small graphs", 21)):
        found = of(results[0], name)
        assert [entry["arm"] for entry in found] == list(ENCODERS)
        assert {entry["tokens"] for entry in found} == {tokens}


def test_a_run_that_was_cut_short_skips_what_is_done(tmp_path, monkeypatch):
    calls = []

    def cut(settings, seeds):
        raise KeyboardInterrupt

    one = {"first": lambda settings, seeds: calls.append(seeds) or [], "second": cut}
    monkeypatch.setattr(efficiency, "COMPARISONS", one)
    with pytest.raises(KeyboardInterrupt):
        run(False, 3, TINY, tmp_path)
    assert not (tmp_path / "efficiency.json").exists()
    one["second"] = lambda settings, seeds: []
    assert run(False, 3, TINY, tmp_path) == []
    assert calls == [3]
    assert (tmp_path / "efficiency.json").exists()


def test_quick_runs_never_touch_the_published_result(tmp_path, monkeypatch):
    monkeypatch.setattr(efficiency, "COMPARISONS", {})
    (tmp_path / "efficiency.json").write_text("published")
    run(True, 1, folder=tmp_path)
    assert (tmp_path / "efficiency.json").read_text() == "published"


def test_seeds_are_checked_before_anything_is_measured(tmp_path):
    with pytest.raises(ValueError, match=r"seeds must be at least 1 \(got 0\)"):
        run(True, 0, TINY, tmp_path)
    assert not list(tmp_path.iterdir())


def test_quick_is_smaller_in_every_size():
    full = Settings()
    for name in ("normalizer_tokens", "encoder_tokens", "graphs", "repeats", "slow_repeats"):
        assert getattr(QUICK, name) < getattr(full, name)
    assert max(QUICK.attention_tokens) < max(full.attention_tokens)
    assert QUICK.search.tokens < full.search.tokens


def test_the_command_line_knows_the_task_and_no_helper_as_one():
    assert _tasks()["efficiency"].startswith("Time and memory")
    assert not {"measure", "runs", "peak_memory", "efficiency_arms", "baselines"} & set(_tasks())
