"""Reports of graphs that know what speaks for the predictions: edges by support, by weight where that is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from structformer.graph import TokenGraph
from structformer.inspect import Section, evidence_section, write_report


def speaking(targets: int, sources: int | None = None, degree: int = 4) -> TokenGraph:
    """Three steps of random edges; half of them speak for what is predicted, the weakest the loudest."""
    draw, made = np.random.default_rng(targets), []
    count = targets if sources is None else sources
    for _ in range(3):
        target = np.repeat(np.arange(targets), degree)
        source = (target + 1 + draw.integers(0, count - 1, len(target))) % count
        edges = torch.from_numpy(np.stack([source, target]))
        graph = TokenGraph.from_edge_index(
            edges, targets, torch.from_numpy(draw.random(len(target)) + 0.1), num_sources=sources
        )
        made.append(graph.with_support((0.7 - graph.weight).clamp(min=0)))
    return made[-1].with_steps(made[:-1])


def rows() -> Section:
    graph = speaking(31, 47)
    graph.source_names = [f"known {place}" for place in range(47)]
    return Section("Rows", graph=graph, colours={"label": np.arange(31) % 2}, token="row")


def story() -> Section:
    sentences = [f"Mary went to the {room}." for room in ("park", "hall", "garden")] * 4
    return evidence_section(sentences, "Where is Mary?", "garden", np.arange(12) / 66, speaking(13))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    return write_report(path, "A report", [rows(), story(), Section("Plain", graph=plain())])


def plain() -> TokenGraph:
    return speaking(9).with_support(None).with_steps(())


def told(browser: Any, root: str) -> str:
    return browser.one(f"{root} .threshold + output").text


def lines(browser: Any, root: str) -> int:
    if browser.all(f"{root} canvas"):
        return int(browser.one(f"{root} canvas").get_attribute("data-lines"))
    return len(browser.all(f"{root} .arcs path"))


@pytest.mark.parametrize("width", [1280, 420])
@pytest.mark.parametrize(("root", "section"), [("#section-1", rows), ("#section-2", story)])
def test_edges_are_drawn_by_what_the_reader_chooses(browser, page, root, section, width):
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.select import Select

    graph = section().graph or section().evidence.graph
    last = graph.steps[-1]
    by_support, by_weight = int((last.support > 0).sum()), last.num_edges
    browser.open(page, width)
    assert browser.complaints() == []
    assert browser.run("return document.documentElement.scrollWidth") <= width
    chosen = Select(browser.one(f"{root} .by"))
    threshold = browser.one(f"{root} .threshold")
    heading = f"{root} .edges th.number"
    browser.run("arguments[0].open = true", browser.one(f"{root} .edges"))
    strongest = f"{root} .edges tbody tr:first-child td:last-child"

    assert chosen.first_selected_option.get_attribute("value") == "support"
    for kind, total, most in (
        ("support", by_support, float(last.support.max())),
        ("weight", by_weight, float(last.weight.max())),
        ("support", by_support, float(last.support.max())),
    ):
        chosen.select_by_value(kind)
        threshold.send_keys(Keys.HOME)
        assert told(browser, root).endswith(f"all {total} edges")
        assert lines(browser, root) == total
        assert browser.one(heading).get_attribute("textContent") == kind
        assert float(browser.one(strongest).get_attribute("textContent")) == pytest.approx(most, abs=6e-4)
        threshold.send_keys(Keys.END)
        assert lines(browser, root) == 0


def test_who_knows_weights_alone_is_not_asked(browser, page):
    from selenium.webdriver.common.keys import Keys

    browser.open(page)
    assert browser.all("#section-3 .by") == []
    browser.one("#section-3 .threshold").send_keys(Keys.HOME)
    assert told(browser, "#section-3").endswith(f"all {plain().num_edges} edges")
    assert browser.one("#section-3 .edges th.number").get_attribute("textContent") == "weight"


def test_the_choice_is_made_by_keyboard_too(browser, page):
    from selenium.webdriver.common.keys import Keys

    browser.open(page)
    choice = browser.one("#section-1 .by")
    before = told(browser, "#section-1")
    choice.send_keys(Keys.ARROW_DOWN)
    assert choice.get_property("value") == "weight"
    assert told(browser, "#section-1") != before
