"""Reports in a real browser: what is seen, what the controls do, and that nothing is fetched."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from structformer.graph import TokenGraph
from structformer.inspect import Section, evidence_section, write_report

# Pairs of texts or controls whose boxes overlap; slanted names are left out.
OVERLAPS = """
const boxes = [];
const walker = document.createTreeWalker(document.querySelector("body"), NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode, parent = node.parentElement;
  if (!node.textContent.trim() || parent.closest("script, style, svg, option, .hidden")) continue;
  if (parent.closest("details:not([open]) > :not(summary)")) continue;
  const range = document.createRange();
  range.selectNodeContents(node);
  for (const box of range.getClientRects()) boxes.push([box, node.textContent.trim(), parent]);
}
for (const control of document.querySelectorAll("input, select, button, canvas, .heat, .bar")) {
  boxes.push([control.getBoundingClientRect(), control.className, control]);
}
const found = [];
boxes.forEach(([a, first, one], i) => boxes.slice(i + 1).forEach(([b, second, other]) => {
  if (one.contains(other) || other.contains(one) || !a.width || !b.width) return;
  const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
  const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
  if (wide > 1 && high > 3) found.push([first, second, wide, high]);
}));
return found;
"""

# The lowest contrast of a text to what is behind it (WCAG 2.2, 1.4.3), and the text.
CONTRAST = """
const pen = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
function over(colours) {
  pen.clearRect(0, 0, 1, 1);
  for (const colour of colours) { pen.fillStyle = colour; pen.fillRect(0, 0, 1, 1); }
  const linear = [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3).map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
}
let lowest = [99, ""];
for (const element of document.querySelectorAll("body *")) {
  const own = [...element.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
  if (!own || element.closest("script, style, .hidden") || !element.getClientRects().length) continue;
  const behind = ["white"];
  for (let at = element; at; at = at.parentElement) behind.splice(1, 0, getComputedStyle(at).backgroundColor);
  const style = getComputedStyle(element), svg = element.closest("svg");
  const paper = over(behind), ink = over([...behind, svg ? style.fill : style.color]);
  const contrast = (Math.max(paper, ink) + 0.05) / (Math.min(paper, ink) + 0.05);
  if (contrast < lowest[0]) lowest = [contrast, element.textContent.trim()];
}
return lowest;
"""


def learned(
    targets: int, sources: int | None = None, *, degree: int = 4, sets: int = 1, steps: int = 3
) -> TokenGraph:
    """A random graph without self-loops, each set's tokens listening to others of that set."""
    generator = np.random.default_rng(targets)
    size = targets // sets
    made = []
    for _ in range(steps):
        target = np.repeat(np.arange(targets), degree)
        source = generator.integers(0, size - 1 if sources is None else sources, len(target))
        if sources is None:
            source = (target % size + 1 + source) % size + target // size * size
        weight = torch.from_numpy(generator.random(len(target)))
        made.append(
            TokenGraph.from_edge_index(
                torch.from_numpy(np.stack([source, target])),
                targets,
                weight,
                num_sources=sources,
                ptr=None if sets == 1 else torch.arange(sets + 1) * size,
            )
        )
    return made[-1].with_steps(made[:-1])


def rows() -> Section:
    graph = learned(31, 47)
    graph.source_names = [f"known {place}" for place in range(47)]
    label = np.array(["short", "a rather long name of a class"] * 24)
    columns = [f"column number {place}" for place in range(9)]
    return Section(
        "Rows that listen to rows",
        "A text that is long enough to be broken into lines on a narrow page, as texts are.",
        metrics=pd.DataFrame({"accuracy": [0.9, 0.81], "seconds": [12.5, 0.3]}, index=["ours", "a forest"]),
        graph=graph,
        colours={
            "label": label[:31],
            "prediction": label[1:32],
            "expert": [f"expert {place % 3}" for place in range(31)],
        },
        source_colours={"label": label[:47]},
        data=pd.DataFrame({"age": range(31), "job": ["sailor"] * 31}),
        columns=pd.DataFrame(np.random.default_rng(0).random((9, 9)), index=columns, columns=columns),
        token="row",
    )


def sets() -> Section:
    graph = learned(44, sets=4, steps=1)
    names = [f"label wide, prediction narrow {place}" for place in range(4)]
    return Section(
        "Sets", graph=graph, set_names=names, colours={"height": np.linspace(0, 1, 44)}, token="point"
    )


def story() -> Section:
    sentences = [f"Mary went to the {room} with all that she had." for room in ("park", "hall", "garden")] * 4
    return evidence_section(
        sentences,
        "Where is the ball?",
        "garden",
        np.arange(12) / 66,
        learned(13),
        expected="park",
        supporting=[2],
        title="An answer",
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    return write_report(path, "A report", [rows(), sets(), story()])


def shown(browser: Any, root: str) -> tuple[float, int, int]:
    """Of what the threshold says: the weight, the edges drawn, and the edges there are."""
    text = browser.one(f"{root} .threshold + output").text
    counts = [int(number.replace(",", "")) for number in re.findall(r"(?<![\d.])[\d,]+(?= of| edges)", text)]
    least = re.match(r"([\d.]+) ·", text)
    return float(least[1]) if least else np.inf, counts[0], counts[-1]


def expected(graph: TokenGraph, step: int, least: float) -> int:
    weight = graph.steps[step].mean_weight().tolist()
    # The page's weights have four digits.
    return sum(float(f"{value:.4g}") >= least for value in weight)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 420])
def test_it_is_readable_at_every_width_in_both_themes(browser, page, width, theme):
    browser.open(page, width, theme)
    assert browser.complaints() == []
    assert browser.run("return document.documentElement.scrollWidth") <= width
    assert browser.run(OVERLAPS) == []
    contrast, text = browser.run(CONTRAST)
    assert contrast >= 4.5, text
    paper = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(255, 255, 255)" if theme == "light" else "rgb(20, 23, 28)")


def test_nothing_but_the_file_is_asked_for(browser, page):
    browser.open(page)
    browser.one(".card .threshold").send_keys(*["\ue014"] * 3)
    requested = browser.requested()
    assert requested[0] == page.as_uri()
    assert all(address.startswith("data:") for address in requested[1:]), requested


@pytest.mark.parametrize(("root", "section"), [("#section-1", rows), ("#section-3", story)])
def test_the_keyboard_drives_step_and_threshold(browser, page, root, section):
    from selenium.webdriver.common.keys import Keys

    graph = section().graph or section().evidence.graph
    browser.open(page)
    step, threshold = browser.one(f"{root} .step"), browser.one(f"{root} .threshold")
    threshold.send_keys(Keys.HOME)
    seen = set()
    for at in (2, 1, 0):
        assert browser.one(f"{root} .step + output").text == f"step {at + 1} of 3"
        for _ in range(4):
            least, drawn, total = shown(browser, root)
            assert drawn == expected(graph, at, least)
            assert total == graph.steps[at].num_edges
            assert drawn_lines(browser, root) == drawn
            seen.add(drawn)
            threshold.send_keys(*[Keys.ARROW_RIGHT] * 9)
        threshold.send_keys(Keys.END)
        assert shown(browser, root)[1] == drawn_lines(browser, root) == 0
        threshold.send_keys(Keys.HOME)
        step.send_keys(Keys.ARROW_LEFT)
    assert len(seen) > 8


def drawn_lines(browser: Any, root: str) -> int:
    if browser.all(f"{root} canvas"):
        return int(browser.one(f"{root} canvas").get_attribute("data-lines"))
    return len(browser.all(f"{root} .arcs path"))


def pixels(browser: Any) -> str:
    return browser.run("return document.querySelector('#section-1 canvas').toDataURL()")


def drag(browser: Any, slider: Any, share: float) -> None:
    """Take a slider's handle, wherever it is, to a share of the way."""
    from selenium.webdriver.common.action_chains import ActionChains

    browser.run("arguments[0].scrollIntoView({block: 'center'})", slider)
    low, high, value = (float(slider.get_property(name) or 0) for name in ("min", "max", "value"))
    room = slider.size["width"] - 16
    chain = ActionChains(browser.driver, duration=50)
    chain.move_to_element_with_offset(slider, round(room * ((value - low) / (high - low) - 0.5)), 0)
    chain.click_and_hold().move_to_element_with_offset(
        slider, round(room * (share - 0.5)), 0
    ).release().perform()


@pytest.mark.parametrize("width", [1280, 420])
def test_the_mouse_drives_step_and_threshold(browser, page, width):
    graph = rows().graph
    assert graph is not None
    browser.open(page, width)
    drag(browser, browser.one("#step-1"), 0.5)
    assert browser.one("#step-1 + output").text == "step 2 of 3"
    drag(browser, browser.one("#threshold-1"), 0.6)
    assert 55 <= int(browser.one("#threshold-1").get_property("value")) <= 65
    least, drawn, _ = shown(browser, "#section-1")
    assert 0 < drawn == expected(graph, 1, least) == drawn_lines(browser, "#section-1") < graph.num_edges


def into(graph: TokenGraph, token: int, name: Callable[[int], str]) -> list[str]:
    """The names of the sources of a token, the one with the most weight first."""
    edges = [
        (-weight, int(source))
        for source, target, weight in zip(graph.col, graph.row, graph.mean_weight().tolist(), strict=True)
        if target == token
    ]
    return [name(source) for _, source in sorted(edges)]


def test_arrow_keys_tell_what_is_known_of_a_token(browser, page):
    from selenium.webdriver.common.keys import Keys

    graph = rows().graph
    assert graph is not None
    browser.open(page)
    canvas, tip = browser.one("#section-1 canvas"), browser.one("#section-1 .tip")
    assert not tip.is_displayed()
    canvas.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    lines = tip.text.splitlines()
    assert lines[0] == "row 1"
    known = dict(zip(lines[1:11:2], lines[2:11:2], strict=True))
    assert known == {
        "label": "a rather long name of a class",
        "prediction": "short",
        "expert": "expert 1",
        "age": "1",
        "job": "sailor",
    }
    assert lines[12::2] == into(graph, 1, lambda source: f"known {source}")
    assert "Listens to known" in browser.one("#told-1").get_attribute("textContent")
    canvas.send_keys(Keys.ARROW_LEFT)
    assert tip.text.startswith("row 0")
    canvas.send_keys(Keys.ESCAPE)
    assert not tip.is_displayed()


@pytest.mark.parametrize("width", [1280, 420])
def test_pointing_tells_what_is_known_of_a_token(browser, page, width):
    from selenium.webdriver.common.action_chains import ActionChains

    browser.open(page, width)
    canvas, tip = browser.one("#section-1 canvas"), browser.one("#section-1 .tip")
    names = set()
    for share in np.linspace(-0.4, 0.4, 9):
        for down in (-90, -30, 30, 90):
            ActionChains(browser.driver, duration=0).move_to_element_with_offset(
                canvas, round(canvas.size["width"] * share), down
            ).perform()
            if tip.is_displayed():
                lines = tip.text.splitlines()
                names.add(lines[0])
                if lines[0].startswith("row "):
                    assert lines[lines.index("age") + 1] == lines[0].removeprefix("row ")
                box, paper = tip.rect, canvas.rect
                assert box["x"] >= paper["x"]
                assert box["x"] + box["width"] <= paper["x"] + paper["width"] + 1
    assert len(names) > 3
    assert names <= {f"row {place}" for place in range(31)} | {f"known {place}" for place in range(47)}


def test_choosing_a_colour_changes_the_legend(browser, page):
    from selenium.webdriver.support.ui import Select

    browser.open(page)

    def classes() -> list[str]:
        return [button.text.replace("\n", " ") for button in browser.all("#section-1 .legend button")]

    assert classes() == ["a rather long name of a class 38", "short 40"]
    before = pixels(browser)
    Select(browser.one("#colour-1")).select_by_visible_text("expert")
    # What is not known of the sources is said to be unknown.
    assert classes() == ["expert 0 11", "expert 1 10", "expert 2 10"]
    assert browser.one("#section-1 .legend .unknown").text == "unknown"
    by_expert = pixels(browser)
    assert by_expert != before
    button = browser.all("#section-1 .legend button")[1]
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    assert pixels(browser) != by_expert
    button.click()
    assert pixels(browser) == by_expert


def test_a_token_is_found_by_name_and_brought_near(browser, page):
    from selenium.webdriver.common.keys import Keys

    browser.open(page)
    find = browser.one("#find-1")
    find.send_keys("Known 4")
    assert browser.one("#section-1 .tip strong").text == "known 4"
    assert browser.one("#find-1 + output").text.startswith("1 of 8")
    find.send_keys(Keys.ENTER)
    assert browser.one("#section-1 .tip strong").text == "known 40"
    find.send_keys("nobody")
    assert browser.one("#find-1 + output").text == "none"
    before = pixels(browser)
    browser.one("#section-1 .zoom .in").click()
    assert pixels(browser) != before
    browser.one("#section-1 .zoom .all").click()
    assert pixels(browser) == before


def test_what_is_magnified_is_moved_by_dragging(browser, page):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    browser.open(page)
    canvas = browser.one("#section-1 canvas")

    def dragged() -> bool:
        before = pixels(browser)
        chain = ActionChains(browser.driver, duration=50).move_to_element_with_offset(canvas, 0, -60)
        chain.click_and_hold().move_by_offset(80, 60).release().send_keys(Keys.ESCAPE).perform()
        return pixels(browser) != before

    assert not dragged()
    canvas.send_keys("+")
    assert dragged()


def test_an_open_page_follows_its_window(browser, page):
    browser.open(page, 1280, "light")
    drawn, wide = drawn_lines(browser, "#section-1"), browser.one("#section-1 canvas").size["width"]
    browser.look(420, "dark")
    canvas = browser.one("#section-1 canvas")
    # A new size is told after the next frame, and drawn in the one after.
    browser.wait(lambda: int(canvas.get_attribute("width")) == canvas.size["width"] < wide)
    assert canvas.size["width"] < 420
    assert drawn_lines(browser, "#section-1") == drawn
    assert browser.run("return document.documentElement.scrollWidth") <= 420


def test_the_edges_drawn_are_there_as_a_table(browser, page):
    graph = story().evidence.graph
    browser.open(page)
    browser.one("#section-3 .edges summary").click()
    # A table is told that it was opened in a later task of the browser's, and filled then.
    browser.wait(lambda: browser.all("#section-3 .edges tbody tr"))
    cells = [
        [cell.text for cell in row.find_elements("css selector", "td")]
        for row in browser.all("#section-3 .edges tbody tr")
    ]
    weights = [float(cell[2]) for cell in cells]
    assert len(cells) == shown(browser, "#section-3")[1] <= graph.num_edges
    assert weights == sorted(weights, reverse=True)
    assert weights[0] == pytest.approx(float(graph.mean_weight().max()), abs=1e-3)
    assert re.fullmatch(
        r"(\d+ Mary went to the \w+ with all that she had\.|\? Where is the ball\?)", cells[0][0]
    )


def test_a_sentence_says_which_it_listens_to(browser, page):
    from selenium.webdriver.common.keys import Keys

    graph = story().evidence.graph
    browser.open(page)
    first = browser.one("#section-3 li")
    first.send_keys(Keys.ARROW_DOWN)
    names = into(graph, 1, lambda source: "the question" if source == 12 else f"sentence {source + 1}")
    said = browser.one("#section-3 .reading").text
    assert re.findall(r"(?:the question|sentence \d+)(?= \()", said) == names
    assert len(browser.all("#section-3 li.listened")) == len(names)
    # Arcs of the sentence pointed at are drawn whatever the threshold.
    assert len(browser.all("#section-3 .arcs .own")) == len(names)
    browser.driver.switch_to.active_element.send_keys(Keys.END)
    assert browser.one("#section-3 .reading").text.startswith("The question listens to ")
    browser.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert browser.all("#section-3 li.listened") == []


def test_the_column_map_is_read_by_keyboard_and_mouse(browser, page):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    browser.open(page)
    weights = np.random.default_rng(0).random((9, 9))
    heat, reading = browser.one("#section-1 .heat"), browser.one("#section-1 .map .reading")
    heat.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    said = "column number {} listens to column number {} with weight {:.3f}."
    assert reading.text == said.format(1, 1, weights[1, 1])
    ActionChains(browser.driver, duration=0).move_to_element(
        browser.all("#section-1 .heat rect")[9 * 3 + 5]
    ).perform()
    assert reading.text == said.format(3, 5, weights[3, 5])


def test_every_control_is_reached_by_tab_and_shows_it(browser, page):
    from selenium.webdriver.common.keys import Keys

    browser.open(page)
    wanted = set(browser.run("return [...document.querySelectorAll('input, select')].map((made) => made.id)"))
    for _ in range(80):
        browser.driver.switch_to.active_element.send_keys(Keys.TAB)
        identity, outline = browser.run(
            "const made = document.activeElement; return [made.id, getComputedStyle(made).outlineStyle]"
        )
        if identity in wanted:
            wanted.remove(identity)
            assert outline == "solid"
    assert not wanted
