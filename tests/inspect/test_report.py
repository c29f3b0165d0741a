from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import torch

from structformer.graph import TokenGraph
from structformer.inspect import Section, render_report, write_report

EVIL = "</script><script>alert(1)</script>&\u2028<!--"


class Page(HTMLParser):
    """What a browser would find: elements, ids, the JSON of each data script, and all text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.data: list[object] = []
        self.text = ""
        self._inside = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._inside = "json" if dict(attrs).get("type") == "application/json" else "code"

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "json":
            self.data.append(json.loads(data))
        elif not self._inside:
            self.text += data

    def count(self, tag: str) -> int:
        return sum(found == tag for found, _ in self.tags)


def graph(count: int, degree: int = 3, steps: int = 2, seed: int = 0) -> TokenGraph:
    generator = torch.Generator().manual_seed(seed)
    target = torch.arange(count).repeat_interleave(degree)
    made = []
    for _ in range(steps):
        source = torch.rand(count, count, generator=generator).argsort(1)[:, :degree].flatten()
        weight = torch.rand(len(source), generator=generator)
        made.append(TokenGraph.from_edge_index(torch.stack([source, target]), count, weight))
    return made[-1].with_steps(made[:-1])


def evil_section() -> Section:
    learned = graph(5)
    learned.names = [f"{i}{EVIL}" for i in range(5)]
    return Section(
        EVIL,
        EVIL,
        metrics=pd.DataFrame({EVIL: [0.5, EVIL]}, index=[EVIL, "b"]),
        graph=learned,
        colours={"label": [EVIL, "b", "b", EVIL, None], EVIL: [0.5, 1, 2, 3, 4]},
        data=pd.DataFrame({EVIL: [EVIL] * 5}),
        columns=pd.DataFrame(np.eye(2)[::-1], index=[EVIL, "c"], columns=[EVIL, "c"]),
        token=EVIL,
    )


def test_nothing_from_the_data_becomes_markup():
    page = Page(render_report(EVIL, [evil_section()]))
    assert page.count("script") == 3
    assert "alert(1)" in page.text
    picture, columns = page.data
    assert picture["names"][0] == f"0{EVIL}"
    assert picture["colours"][1]["name"] == EVIL
    assert columns[0] == EVIL


def test_nothing_is_fetched():
    html = render_report("a", [evil_section()])
    page = Page(html)
    assert "default-src 'none'" in html
    for tag, attributes in page.tags:
        assert "src" not in attributes
        if "href" in attributes:
            assert attributes["href"].startswith(("#", "data:")), tag
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|https?://", html)


def test_every_control_has_a_label_of_its_own():
    page = Page(render_report("a", [evil_section(), Section("b", graph=graph(7, steps=1))]))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    labelled = {attributes["for"] for tag, attributes in page.tags if tag == "label"}
    controls = {attributes["id"] for tag, attributes in page.tags if tag in ("input", "select")}
    # A graph of one step has no step slider, one without colours no choice of them.
    assert labelled == controls == {"step-1", "threshold-1", "colour-1", "threshold-2"}
    assert all(attributes.get("tabindex") == "0" for tag, attributes in page.tags if tag == "canvas")


def test_statistics_and_scores_are_there_without_scripts():
    metrics = pd.DataFrame({"accuracy": [0.97, 0.95], "seconds": [12.0, 0.5]}, index=["ours", "forest"])
    page = Page(
        render_report(
            "a", [Section("b", metrics=metrics, graph=graph(7), colours={"label": list("ppqqqpp")})]
        )
    )
    for word in ("ours", "forest", "0.970", "12", "0.5", "homophily", "lift", "change", "step 2"):
        assert word in page.text
    bars = [
        attributes for tag, attributes in page.tags if (attributes.get("style") or "").startswith("width:")
    ]
    assert [bar["style"] for bar in bars] == ["width:97.0%", "width:95.0%"]


def test_labels_on_a_scale_have_no_homophily():
    page = Page(render_report("a", [Section("b", graph=graph(5), colours={"label": [0.5, 1.5, 2, 3, 4]})]))
    assert "homophily" not in page.text


def test_the_few_labels_a_graph_was_trained_on_have_no_homophily():
    learned = graph(5)
    learned.labels = [0, -1, -1, -1, 1]
    assert "homophily" not in Page(render_report("a", [Section("b", graph=learned)])).text
    assert learned.labels == [0, -1, -1, -1, 1]


def test_a_large_graph_is_drawn_in_part_and_says_so():
    page = Page(render_report("a", [Section("b", graph=graph(2003), token="row")]))
    assert "of 2,003 rows drawn" in page.text
    assert len(page.data[0]["names"]) <= 2000
    # The statistics are of the whole.
    assert "6,009" in page.text


def test_two_thousand_tokens_are_all_drawn_in_less_than_five_megabytes():
    data = pd.DataFrame({f"field {place}": np.linspace(0, 1, 2000) for place in range(12)})
    section = Section("b", graph=graph(2000, degree=10, steps=3), data=data)
    html = render_report("a", [section])
    assert len(html.encode()) < 5_000_000
    picture = Page(html).data[0]
    assert len(picture["names"]) == 2000
    assert [len(step["weight"]) for step in picture["steps"]] == [step["total"] for step in picture["steps"]]
    assert picture["fields"][0][-1] == "field 11"


def test_many_large_sections_stay_below_five_megabytes(tmp_path):
    learned = graph(101, degree=67, steps=4)
    names = [f"a rather long name {i}" for i in range(43)]
    columns = pd.DataFrame(np.random.default_rng(0).random((43, 43)), index=names, columns=names)
    sections = [Section(str(i), graph=learned, columns=columns) for i in range(14)]
    path = write_report(tmp_path / "out" / "report.html", "a", sections)
    assert 1_000_000 < path.stat().st_size < 5_000_000


def test_the_same_input_gives_the_same_page():
    section = evil_section()
    assert render_report("a", [section]) == render_report("a", [section])


def test_no_sections_are_an_error_and_write_nothing(tmp_path):
    with pytest.raises(ValueError, match="sections must hold at least one"):
        write_report(tmp_path / "r.html", "a", [])
    assert list(tmp_path.iterdir()) == []


def test_paragraphs():
    page = Page(render_report("a", [Section("b", "one\n\ntwo\nlines")]))
    assert "one" in page.text
    assert page.count("canvas") == 0
    assert "<p>two\nlines</p>" in render_report("a", [Section("b", "one\n\ntwo\nlines")])
