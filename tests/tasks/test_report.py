import json
from dataclasses import replace

import pytest
from structformer.tasks import report
from structformer.tasks.report import Reported, compared, lead, page, section, shown, spread
from structformer.tasks.report_plot import plot_family
from structformer.tasks.task_card import Published, TaskCard

CARD = TaskCard(
    "x",
    "Tables without a graph",
    "tables",
    "accuracy, %",
    headline="ours",
    protocol="20 splits.",
    figures={"changed": "changed, %"},
    published=(Published("SUBLIME", {"wine": "98.2 ± 1.6"}, "arXiv 2201.06367", "scaled on all rows"),),
)


def row(arm, mean, **other):
    return {
        "data": "wine", "arm": arm, "seeds": 3, "failed": 0, "mean": mean, "sd": 1.0, "lead": None, "low": None,
        "high": None, "changed": 0.0, "seconds": 2.0,
        "cpu seconds": 4.0, "megabytes": None, **other,
    }  # fmt: skip


ABOUT = {
    "command": "structformer bench x --full",
    "commit": "0123456789",
    "machine": {"cores": 2, "cpu": "some"},
    "versions": {"torch": "2.13"},
}


@pytest.fixture
def found(tmp_path):
    rows = [
        row("forest", 98.0, lead=-1.5, low=-2.0, high=-1.0),
        row("ours", 96.5),
        row("svm", None, seeds=0, failed=3),
    ]
    return Reported(CARD, tmp_path / "x.jsonl", {"a": ABOUT}, rows)


def test_a_loss_is_said(found):
    text = section(found)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert lines[2].startswith("| forest | 98 ± 1 | -1.5 [-2, -1], behind | 0 |")
    assert lines[3].startswith("| **ours** | 96.5 ± 1 |")
    assert lines[4].startswith("| svm | none |")
    assert "3 failed" in lines[4]
    assert lines[5].startswith("| *SUBLIME* | *98.2 ± 1.6* | arXiv 2201.06367 |")
    assert {line.count("|") for line in lines} == {9}
    assert "- SUBLIME: scaled on all rows" in text
    assert "`structformer bench x --full` at 0123456789" in text


def test_one_seed_has_no_interval():
    alone = row("forest", 98.0, sd=None, lead=0.5)
    assert (spread(alone), lead(alone)) == ("98", "+0.5")


def test_a_family_has_one_picture(found, tmp_path):
    assert page([found, found]).count("![tables]") == 1
    plot_family([found], tmp_path / "tables.png")
    assert (tmp_path / "tables.png").read_bytes().startswith(b"\x89PNG")


def test_numbers_are_readable():
    assert [shown(value) for value in (None, 0.12345, 98.7654, 75051.2)] == ["-", "0.1235", "98.77", "75,051"]


def test_data_sets_with_one_arm_share_a_table_and_have_no_picture(tmp_path):
    card = replace(CARD, published=())
    rows = [row("ours", 1.0, data=f"task {number}") for number in (1, 10, 2)]
    one = Reported(card, tmp_path / "x.jsonl", {"a": ABOUT}, rows)
    assert list(one.data()) == ["task 1", "task 2", "task 10"]
    assert [line.split(" | ")[0] for line in section(one).splitlines() if line.startswith("| task")] == [
        "| task 1",
        "| task 2",
        "| task 10",
    ]
    assert "![" not in page([one])
    both = Reported(card, tmp_path / "x.jsonl", {"a": ABOUT}, [*rows, row("forest", 2.0, data="task 2")])
    assert compared([one, both]) == ["tables"]
    plot_family([one, both], tmp_path / "tables.png")
    assert (tmp_path / "tables.png").read_bytes().startswith(b"\x89PNG")


def test_the_page_in_the_repository_is_the_one_the_results_make():
    readme = report.HERE / "README.md"
    ready = list(report.reported())
    if not ready:
        pytest.skip("no results are committed yet")
    assert readme.read_text(encoding="utf-8") == page(ready)
    assert all(json.dumps(one.runs) for one in ready)
