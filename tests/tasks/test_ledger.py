import json
from dataclasses import replace

import pytest
from structformer.tasks import ledger
from structformer.tasks.ledger import Arm, Ledger, Trial, read_ledger

ARMS = (Arm("ours", ours=True, options={"width": 8}), Arm("forest"))
FIRST = Trial("wine", "ours", 0)


def opened(path, arms=ARMS, settings=None):
    return Ledger(path, "structformer.tasks.mqar", "structformer bench x", settings or {"epochs": 3}, arms)


def filled(path):
    book = opened(path)
    book.put(FIRST, {"score": 0.5})
    book.put(Trial("wine", "forest", 0), {"score": 0.25})
    return book


def test_every_result_can_be_traced(tmp_path):
    path = tmp_path / "new" / "x.jsonl"
    filled(path).finish()
    runs, rows = read_ledger(path)
    (about,) = runs.values()
    assert about["command"] == "structformer bench x"
    assert about["settings"] == {"epochs": 3}
    assert {"python", "torch", "structformer"} <= set(about["versions"])
    assert {"cpu", "cores"} <= set(about["machine"])
    assert "commit" in about
    assert [(row["data"], row["arm"], row["seed"], row["score"]) for row in rows] == [
        ("wine", "ours", 0, 0.5),
        ("wine", "forest", 0, 0.25),
    ]
    assert {row["run"] for row in rows} == set(runs)
    assert [file.name for file in path.parent.iterdir()] == ["x.jsonl"]


def test_what_was_cut_short_is_taken_over(tmp_path):
    path = tmp_path / "x.jsonl"
    filled(path)
    assert not path.exists()
    again = opened(path)
    assert FIRST in again
    assert again[FIRST] == {"data": "wine", "arm": "ours", "seed": 0, "score": 0.5}
    assert Trial("wine", "ours", 1) not in again


def test_a_last_line_cut_short_is_left_out_and_damage_elsewhere_told(tmp_path):
    path = tmp_path / "x.jsonl"
    filled(path)
    partial = tmp_path / "x.partial.jsonl"
    whole = partial.read_text()
    partial.write_text(whole[:-9])
    again = opened(path)
    assert FIRST in again
    assert Trial("wine", "forest", 0) not in again
    again.put(Trial("wine", "forest", 0), {"score": 1.0})
    assert opened(path)[Trial("wine", "forest", 0)]["score"] == 1.0
    lines = whole.splitlines(keepends=True)
    partial.write_text(lines[0] + lines[1][:-9] + "\n" + lines[2])
    with pytest.raises(ValueError, match=r"x\.partial\.jsonl, line 2: damaged"):
        opened(path)


def test_another_library_spoils_our_results_alone(tmp_path, monkeypatch):
    path = tmp_path / "x.jsonl"
    filled(path).finish()
    digest = ledger.digest_of
    monkeypatch.setattr(
        ledger,
        "digest_of",
        lambda module, packages: digest(module, packages) + "+" * (packages == ledger.LIBRARY),
    )
    again = opened(path)
    assert FIRST not in again
    assert Trial("wine", "forest", 0) in again


def test_other_settings_spoil_all_and_other_options_one_arm(tmp_path):
    path = tmp_path / "x.jsonl"
    filled(path).finish()
    other = opened(path, settings={"epochs": 4})
    assert FIRST not in other
    assert Trial("wine", "forest", 0) not in other
    (tmp_path / "x.partial.jsonl").unlink()
    other = opened(path, (replace(ARMS[0], options={"width": 16}), ARMS[1]))
    assert FIRST not in other
    assert Trial("wine", "forest", 0) in other


def test_a_finished_file_holds_what_is_good_alone(tmp_path):
    path = tmp_path / "x.jsonl"
    filled(path).finish()
    later = opened(path, (replace(ARMS[0], options={"width": 16}), ARMS[1]))
    later.put(FIRST, {"score": 0.75})
    later.finish()
    runs, rows = read_ledger(path)
    assert sorted(row["score"] for row in rows) == [0.25, 0.75]
    assert len(runs) == 2
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_the_commit_is_named():
    found = ledger.commit()
    assert found is None or len(found.rstrip("+")) == 10
