import json
import stat

import pytest
from structformer.tasks import runs
from structformer.tasks.runs import Run, machine, source_digest, versions

SETTINGS = {"tokens": (3, 7), "repeats": 2}


def fail():
    raise AssertionError("what is on disk is not measured again")


def cut_short(path):
    run = Run(path, SETTINGS)
    run.part("first", lambda: [{"arm": "ours", "milliseconds": 1.5}])
    return run


def test_a_complete_run_has_everything_on_disk(tmp_path):
    path = tmp_path / "new" / "task.json"
    cut_short(path).finish()
    found = json.loads(path.read_text())
    assert found["settings"] == {"tokens": [3, 7], "repeats": 2}
    assert {"cpu", "cores", "threads", "memory_gib"} <= set(found["machine"])
    assert {"python", "torch", "torch_geometric", "structformer", "sources"} <= set(found["versions"])
    part = found["parts"]["first"]
    assert part["records"] == [{"arm": "ours", "milliseconds": 1.5}]
    assert part["date"].endswith("+00:00")
    assert part["seconds"] >= 0
    assert part["load"] >= 0
    assert [file.name for file in path.parent.iterdir()] == ["task.json"]
    assert path.stat().st_mode & stat.S_IRUSR


def test_a_run_cut_short_goes_on_where_it_ended(tmp_path):
    path = tmp_path / "task.json"
    cut_short(path)
    assert not path.exists()
    again = Run(path, SETTINGS)
    assert again.part("first", fail) == [{"arm": "ours", "milliseconds": 1.5}]
    assert again.part("second", lambda: [{"arm": "theirs"}]) == [{"arm": "theirs"}]
    again.finish()
    assert list(json.loads(path.read_text())["parts"]) == ["first", "second"]


def test_a_part_that_fails_keeps_those_before_it(tmp_path):
    path = tmp_path / "task.json"
    with pytest.raises(AssertionError, match="not measured again"):
        cut_short(path).part("second", fail)
    assert Run(path, SETTINGS).part("first", fail)


def test_a_complete_run_is_replaced_by_a_complete_one_only(tmp_path):
    path = tmp_path / "task.json"
    cut_short(path).finish()
    before = path.read_text()
    second = Run(path, SETTINGS)
    assert second.part("first", lambda: [{"arm": "anew"}]) == [{"arm": "anew"}]
    assert path.read_text() == before
    second.finish()
    assert json.loads(path.read_text())["parts"]["first"]["records"] == [{"arm": "anew"}]


@pytest.mark.parametrize("change", ["settings", "versions", "machine"])
def test_nothing_is_taken_over_from_another_kind_of_run(tmp_path, monkeypatch, change):
    path = tmp_path / "task.json"
    cut_short(path)
    settings = SETTINGS
    if change == "settings":
        settings = {**SETTINGS, "repeats": 5}
    else:
        monkeypatch.setattr(runs, change, lambda: {"changed": True})
    with pytest.raises(AssertionError, match="not measured again"):
        Run(path, settings).part("first", fail)


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "task.partial.json").write_text("{")
    with pytest.raises(ValueError, match=r"task\.partial\.json is damaged .*: remove it"):
        Run(tmp_path / "task.json", SETTINGS)


def test_versions_leave_out_what_is_not_installed():
    found = versions(["torch", "no-such-package"])
    assert set(found) == {"python", "torch", "sources"}


def test_the_digest_follows_the_sources(tmp_path, monkeypatch):
    assert source_digest() == source_digest()
    for name, text in (("a", "x = 1"), ("b", "x = 2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "runs.py").write_text(text)
    digests = set()
    for name in ("a", "b"):
        monkeypatch.setattr(runs, "__file__", str(tmp_path / name / "runs.py"))
        digests.add(source_digest())
    assert len(digests) == 2


def test_the_machine_has_cores_and_memory():
    found = machine()
    assert found["cores"] >= found["threads"] >= 1 or found["threads"] >= 1
    assert found["memory_gib"] > 0.1
    assert found["cpu"]
