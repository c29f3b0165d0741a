"""The inside of a model in a real browser: colours by expert, hover texts, and the memory of slots."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from structformer.graph import TokenGraph
from structformer.inspect import NamedTokens, Reasoning, Routing, Section, Slots, write_report

DRAW = np.random.default_rng(0)
STEPS, SLOTS = 3, 6


def inside(ptr: list[int], columns: tuple[str, ...] | None = None) -> Reasoning:
    """Expert 3 is dead; every third token halts after the first step."""
    count = ptr[-1]
    names = [f"a member of the club by the number of {place}" for place in range(count)]
    tokens = NamedTokens(
        np.array(ptr), names if columns is None else list(columns) * (len(ptr) - 1), columns=columns
    )
    taken = np.where(np.arange(count) % 3, STEPS, 1)
    chosen = np.stack([DRAW.permuted(np.tile(np.arange(3), (count, 1)), axis=1)[:, :2] for _ in range(STEPS)])
    weights = np.broadcast_to(np.array([0.7, 0.3]), chosen.shape)
    routing = Routing(tokens, 4, chosen[:, None], weights[:, None], np.arange(STEPS)[:, None] < taken)
    pooled, read = (
        DRAW.dirichlet(np.ones(count), (STEPS, SLOTS)),
        DRAW.dirichlet(np.ones(SLOTS), (STEPS, count)),
    )
    kept = DRAW.random((STEPS, len(ptr) - 1, SLOTS))
    memory = Slots(tokens, kept, pooled.swapaxes(1, 2), read)
    return Reasoning(tokens, STEPS, routing, memory, taken, taken + 0.25)


def ring(found: Reasoning) -> TokenGraph:
    """Everyone listens to the token before it, with the same weight in every step."""
    count = len(found.tokens)
    target = torch.arange(count)
    step = TokenGraph.from_edge_index(
        torch.stack([(target - 1) % count, target]), count, torch.ones(count), names=found.tokens.names
    )
    return step.with_steps([step] * (STEPS - 1))


NODES, SETS = inside([0, 31]), inside([0, 7, 19, 31])
CELLS = inside(list(range(0, 33, 4)), ("age", "a long name of a column", "job", "income"))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    nodes = Section("Nodes", graph=ring(NODES), colours={"steps taken": NODES.taken}, reasoning=NODES)
    parts = [nodes, Section("Sets", reasoning=SETS), Section("Rows", reasoning=CELLS, token="row")]
    return write_report(tmp_path_factory.mktemp("inside") / "report.html", "Inside", parts)


def scripts() -> Any:
    """What the other test of reports measures overlaps and contrast with."""
    path = Path(__file__).with_name("test_report_in_browser.py")
    spec = importlib.util.spec_from_file_location("reports_in_browser", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 420])
def test_it_is_readable_at_every_width_in_both_themes(browser, page, width, theme):
    browser.open(page, width, theme)
    assert browser.complaints() == []
    assert browser.run("return document.documentElement.scrollWidth") <= width
    assert browser.run(scripts().OVERLAPS) == []
    contrast, text = browser.run(scripts().CONTRAST)
    assert contrast >= 4.5, text


def classes(browser: Any) -> list[str]:
    return [button.text.replace("\n", " ") for button in browser.all("#section-1 .legend button")]


def counted(found: Reasoning, step: int) -> list[str]:
    assert found.routing is not None
    first = found.routing.in_effect()[0][step, 0, :, 0]
    return [f"expert {expert} {count}" for expert, count in enumerate(np.bincount(first, minlength=4))]


def test_tokens_are_coloured_by_the_expert_of_the_step_that_the_slider_shows(browser, page):
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import Select

    browser.open(page)
    Select(browser.one("#colour-1")).select_by_visible_text("expert")
    pixels = scripts().pixels
    seen, step = set(), browser.one("#step-1")
    for at in (2, 1, 0):
        assert classes(browser) == counted(NODES, at)
        seen.add(pixels(browser))
        step.send_keys(Keys.ARROW_LEFT)
    # The edges are the same in every step: what changed are the colours.
    assert len(seen) == STEPS
    # A class that is held alone stays so in another step.
    browser.all("#section-1 .legend button")[1].click()
    step.send_keys(Keys.END)
    pressed = [button.get_attribute("aria-pressed") for button in browser.all("#section-1 .legend button")]
    assert pressed == ["false", "true", "false", "false"]
    assert classes(browser) == counted(NODES, 2)


def test_a_token_tells_its_experts_and_steps(browser, page):
    from selenium.webdriver.common.keys import Keys

    assert NODES.routing is not None
    chosen, _ = NODES.routing.in_effect()
    browser.open(page)
    canvas, tip = browser.one("#section-1 canvas"), browser.one("#section-1 .tip")
    for token in range(4):
        canvas.send_keys(Keys.ARROW_RIGHT)
        lines = tip.text.splitlines()
        assert lines[0] == NODES.tokens.name(token)
        known = dict(zip(lines[1:5:2], lines[2:5:2], strict=True))
        first, second = chosen[-1, 0, token]
        assert known == {
            "steps taken": "1" if token % 3 == 0 else "3",
            "expert": f"{first} (70%), {second} (30%)",
        }


def percent(value: float) -> str:
    # The page's numbers have three digits.
    value = float(f"{value:.3g}")
    return "<1%" if 0 < value < 0.005 else f"{int(100 * value + 0.5)}%"


def held(browser: Any, root: str) -> tuple[str, str]:
    cells = browser.all(f"{root} .slots .held")
    assert [cell.get_attribute("aria-selected") for cell in cells] == ["true", "true"]
    kept, read = (cell.text for cell in cells)
    return kept, read


def listed(browser: Any, root: str, name: str) -> list[str]:
    return [line.text.split("\n")[0] for line in browser.all(f"{root} .{name} li")]


def test_the_keyboard_goes_from_slot_to_slot_and_from_step_to_step(browser, page):
    from selenium.webdriver.common.keys import Keys

    memory, root = NODES.memory, "#section-1"
    assert memory is not None
    browser.open(page)
    grid = browser.one(f"{root} .slots.kept")
    grid.send_keys(*[Keys.ARROW_UP] * SLOTS, *[Keys.ARROW_LEFT] * STEPS)
    for step, slot in ((0, 0), (0, 1), (1, 1), (2, 1)):
        kept, read = held(browser, root)
        assert kept == percent(memory.kept[step, 0, slot])
        assert read == percent(memory.read_by_set()[step, 0, slot])
        frame = memory.slot(slot, step + 1)
        assert listed(browser, root, "pooled") == frame["name"].head(8).tolist()
        readers = frame.sort_values("read", ascending=False)["name"].head(8).tolist()
        assert listed(browser, root, "readers") == readers
        said = browser.one(f"{root} .memory .reading").text
        assert said.startswith(f"Slot {slot} in step {step + 1}: the tokens gave it {read} of their reading")
        assert f"its gate kept {kept} of what was there" in said
        active = grid.get_attribute("aria-activedescendant")
        assert browser.one(f"#{active}").text == kept
        grid.send_keys(Keys.ARROW_DOWN if slot == 0 else Keys.ARROW_RIGHT)


@pytest.mark.parametrize("width", [1280, 420])
def test_a_press_chooses_slot_step_and_set(browser, page, width):
    from selenium.webdriver.support.ui import Select

    memory, root = SETS.memory, "#section-2"
    assert memory is not None
    browser.open(page, width)
    select = Select(browser.one("#memory-2"))
    assert [option.text for option in select.options] == ["set 1", "set 2", "set 3", "all 3 sets, mean"]
    browser.all(f"{root} .slots.read tbody tr")[4].find_elements("css selector", "td")[1].click()
    for number in range(3):
        select.select_by_index(number)
        assert held(browser, root)[0] == percent(memory.kept[1, number, 4])
        assert listed(browser, root, "pooled") == memory.slot(4, 2, number)["name"].head(8).tolist()
    select.select_by_index(3)
    assert held(browser, root)[0] == percent(memory.kept[1, :, 4].mean())
    assert listed(browser, root, "pooled") == ["Choose one of the sets to see its tokens."]


def test_cells_of_a_table_are_averaged_over_rows(browser, page):
    memory, root = CELLS.memory, "#section-3"
    assert memory is not None
    assert CELLS.tokens.columns is not None
    browser.open(page)
    browser.all(f"{root} .slots.kept tbody tr")[2].find_elements("css selector", "td")[0].click()
    mean = memory.pooled[0, :, 2].reshape(8, 4).mean(0)
    expected = [CELLS.tokens.columns[place] for place in np.argsort(-mean)]
    assert listed(browser, root, "pooled") == expected
    assert "the cells gave it" in browser.one(f"{root} .memory .reading").text


def test_the_maps_are_reached_by_tab_and_show_it(browser, page):
    from selenium.webdriver.common.keys import Keys

    browser.open(page)
    found = set()
    for _ in range(60):
        browser.driver.switch_to.active_element.send_keys(Keys.TAB)
        grid, outline = browser.run(
            "const made = document.activeElement;"
            "return [made.matches('.slots') && made.dataset.id, getComputedStyle(made).outlineStyle]"
        )
        if grid:
            found.add(grid)
            assert outline == "solid"
    assert found == {f"{kind}-{section}" for kind in ("kept", "read") for section in (1, 2, 3)}
