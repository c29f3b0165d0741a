from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest
from structformer.datasets import catalogue, transfer
from structformer.datasets.card import DataFile

from structformer.cli import main

CONTENT = b"0123456789" * 1_001


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty data folder; two data sets lie in a file each, which comes from no network."""
    monkeypatch.setenv("STRUCTFORMER_DATA", str(tmp_path))
    known = catalogue.cards()
    changed = {
        name: replace(
            card,
            files=(
                DataFile(f"a/{name}", len(CONTENT), sha256(CONTENT).hexdigest(), f"https://x.org/{name}"),
            ),
        )
        for name, card in known.items()
        if name in ("mnist", "babi")
    }
    monkeypatch.setattr(catalogue, "cards", lambda: {**known, **changed})

    def receive(url, part, size, tell):
        tell(len(CONTENT) // 2)
        part.write_bytes(CONTENT)
        tell(len(CONTENT))
        return False

    monkeypatch.setattr(transfer, "_receive", receive)
    return tmp_path


def test_the_list_says_what_is_here(folder, capsys):
    assert run("data", "list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(catalogue.cards()) + 1
    assert lines[0].split() == ["planetoid/cora", "572", "kB", "not", "here"]
    assert {line.split()[0] for line in lines if line.endswith("kB  here")} == set()
    assert str(folder) in lines[-1]
    assert run("data", "get", "babi") == 0
    assert capsys.readouterr().out.split() == ["babi", "is", "complete", "in", str(folder)]
    assert run("data", "list") == 0
    here = [line for line in capsys.readouterr().out.splitlines() if line.endswith("kB  here")]
    assert [line.split() for line in here] == [["babi", "10", "kB", "here"]]


def test_cards_are_shown_alone_and_in_groups(capsys):
    assert run("data", "show", "mnist") == 0
    told = capsys.readouterr().out
    assert told == f"{catalogue.card('mnist')}\n"
    assert run("data", "show", "tu_graphs") == 0
    told = capsys.readouterr().out
    assert [line.split(",")[0] for line in told.splitlines() if not line.startswith(" ")] == [
        "tu_graphs/MUTAG",
        "tu_graphs/PROTEINS",
        "tu_graphs/ENZYMES",
    ]


@pytest.mark.parametrize("watched", [False, True])
def test_data_sets_are_got_and_a_watcher_sees_how_far_it_is(folder, capsys, monkeypatch, watched):
    if watched:
        monkeypatch.setenv("FORCE_COLOR", "1")
    assert run("data", "get", "mnist", "babi") == 0
    told = capsys.readouterr()
    assert (folder / "a/mnist").read_bytes() == (folder / "a/babi").read_bytes() == CONTENT
    assert "mnist is complete in" in told.out + told.err
    assert "babi is complete in" in told.out + told.err
    assert ("10.0/10.0 kB" in told.err) is watched


def test_a_list_of_names_is_checked_before_anything_is_got(folder, capsys):
    assert run("data", "get", "mnist", "mnits") == 2
    told = capsys.readouterr().err.strip()
    assert told.startswith("structformer: there is no data set 'mnits'; known are planetoid/cora, ")
    assert "\n" not in told
    assert list(folder.iterdir()) == []


def test_trouble_on_the_way_is_one_line(folder, capsys, monkeypatch):
    def refused(*_):
        raise ConnectionError("no route")

    monkeypatch.setattr(transfer, "_receive", refused)
    assert run("data", "get", "mnist") == 2
    told = capsys.readouterr().err.strip()
    assert told == "structformer: https://x.org/mnist could not be downloaded: no route"
