from __future__ import annotations

import numpy as np
import torch

from structformer.graph import TokenGraph
from structformer.inspect import Section, evidence_section, render_report
from structformer.inspect.inside import Reasoning
from structformer.inspect.named import NamedTokens
from structformer.inspect.picture import graph_picture
from structformer.inspect.report_reasoning import expert_colour, reasoning_view
from structformer.inspect.routing import Routing
from structformer.inspect.slots import Slots

DRAW = np.random.default_rng(0)
COLUMNS = ("age", "job")


def inside(
    ptr: tuple[int, ...] = (0, 4, 10), experts: int = 4, table: bool = False, layers: int = 1
) -> Reasoning:
    """Three steps; the first expert is dead, and every other token halts after the first step."""
    ends = np.array(ptr)
    count = int(ends[-1])
    names = list(COLUMNS) * (count // 2) if table else [f"n{place}" for place in range(count)]
    tokens = NamedTokens(ends, names, columns=COLUMNS if table else None)
    taken = np.where(np.arange(count) % 2, 1, 3)
    chosen = DRAW.integers(1, experts, (3, layers, count, 2))
    going = np.arange(3)[:, None] < taken
    routing = Routing(tokens, experts, chosen, np.full(chosen.shape, 0.5), going)
    sets, weights = len(ptr) - 1, DRAW.random((2, 3, count, 5))
    memory = Slots(tokens, DRAW.random((3, sets, 5)), weights[0], weights[1])
    return Reasoning(tokens, 3, routing, memory, taken, taken + 0.5)


def loops(found: Reasoning) -> TokenGraph:
    count = len(found.tokens)
    step = TokenGraph.from_edge_index(
        torch.arange(count).repeat(2, 1), count, ptr=torch.from_numpy(found.tokens.ptr)
    )
    return step.with_steps([step, step])


def test_tokens_are_coloured_by_the_expert_of_each_step():
    found = inside()
    assert found.routing is not None
    (colour,) = graph_picture(Section("", graph=loops(found), reasoning=found))["colours"]
    assert (colour["name"], len(colour["steps"])) == ("expert", 3)
    chosen, _ = found.routing.in_effect()
    for step, told in enumerate(colour["steps"]):
        assert told["value"] == chosen[step, 0, :, 0].tolist()
        assert told["chosen"] == chosen[step, 0].tolist()
        assert [kind["name"] for kind in told["classes"]] == [f"expert {expert}" for expert in range(4)]
        assert [kind["count"] for kind in told["classes"]] == np.bincount(told["value"], minlength=4).tolist()
    # The dead one stays in the legend.
    assert colour["steps"][2]["classes"][0] == {"name": "expert 0", "count": 0}


def test_of_many_experts_the_most_used_are_told_apart():
    found = inside(experts=30)
    assert found.routing is not None
    part = np.array([3, 5])
    colour = expert_colour(found.routing, part, rest=2)
    use = found.routing.use().sum()
    for step in colour["steps"]:
        assert [kind["name"] for kind in step["classes"]][-1] == "21 other experts"
        assert step["value"][2:] == [-1, -1]
        for place, chosen in zip(step["value"], step["chosen"], strict=False):
            name = step["classes"][place]["name"]
            assert name == (f"expert {chosen[0]}" if place < 9 else "21 other experts")
    named = {int(kind["name"].split()[1]) for kind in colour["steps"][0]["classes"][:9]}
    assert use[sorted(named)].min() >= use.drop(sorted(named)).max()


def test_a_graph_of_other_steps_is_not_coloured():
    found = inside(layers=2)
    assert graph_picture(Section("", graph=loops(found), reasoning=found))["colours"] == []


def test_steps_are_counted():
    halting = reasoning_view(inside(), "node")["halting"]
    assert [(row["steps"], row["tokens"], row["text"]) for row in halting["rows"]] == [
        (1, "5", "50%"),
        (2, "0", "0%"),
        (3, "5", "50%"),
    ]
    assert (halting["mean"], halting["ponder"]) == ("2.00", "2.50")


def test_the_page_says_which_experts_are_dead_and_what_the_model_lacks_is_left_out():
    found = inside()
    page = render_report("t", [Section("s", reasoning=found)])
    assert "No token goes through expert 0." in page
    assert "Steps taken before halting" in page
    bare = Reasoning(found.tokens, 3, None, found.memory, None, None, networks=4)
    page = render_report("t", [Section("s", reasoning=bare)])
    assert "4 networks predict together" in page
    assert "Steps taken before halting" not in page
    assert "Experts:" not in page


def test_columns_of_a_table_have_their_experts():
    page = render_report("t", [Section("s", reasoning=inside((0, 2, 4), table=True), token="row")])
    assert "which column goes to which" in page
    assert "No cell goes through expert 0." in page


def test_of_a_wide_table_the_columns_that_differ_are_shown():
    columns = tuple(f"column {place}" for place in range(50))
    tokens = NamedTokens(np.array([0, 50]), list(columns), columns=columns)
    chosen = np.where(np.arange(50) % 5 == 0, 1, 0)[None, None, :, None]
    routing = Routing(tokens, 2, chosen, np.ones(chosen.shape), np.ones((1, 50), dtype=bool))
    experts = reasoning_view(Reasoning(tokens, 1, routing, None, None, None), "row")["experts"]
    assert (len(experts["columns"]), experts["left"]) == (40, 10)
    shown = {row["name"] for row in experts["columns"]}
    assert {f"column {place}" for place in range(0, 50, 5)} <= shown


def test_a_story_shows_what_went_on_inside():
    found = inside((0, 4))
    section = evidence_section(["a", "b", "c"], "Who?", "a", [0.5, 0.2, 0.3], reasoning=found)
    assert "Memory slots" in render_report("t", [section])
