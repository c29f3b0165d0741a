"""Experts, slots and steps of fitted estimators: they line up with the data, and looking changes nothing."""

from __future__ import annotations

from functools import partial
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import pytest
import torch

import structformer as sf
from structformer.estimators import packed, rows
from structformer.inspect.inside import Reasoning, holds_reasoning, reasoning
from structformer.models.text_qa import TextQA, TextQAConfig

FULL = {"model": "ressformer", "width": 16, "heads": 2, "epochs": 2, "random_state": 0, "verbose": False}
HALTING = {"halting": "act", "slots": 3}
DRAW = np.random.default_rng(0)
SETS = [DRAW.normal(size=(size, 2)) for size in DRAW.integers(3, 9, 24)]
FRAME = pd.DataFrame(DRAW.normal(size=(23, 3)), [f"r{row}" for row in range(23)], ["one", "two", "three"])


@pytest.fixture(scope="module")
def of_sets() -> Any:
    model = sf.SetClassifier(model_options=HALTING, steps=3, **FULL)
    return model.fit(SETS, [0, 1] * 12)


@pytest.fixture(scope="module")
def of_nodes() -> Any:
    return sf.NodeClassifier(model_options=HALTING, steps=3, **FULL).fit(nx.karate_club_graph(), "club")


@pytest.fixture(scope="module")
def of_rows() -> Any:
    model = sf.StructFormerClassifier(model_options=HALTING, members=2, **FULL)
    return model.fit(FRAME, ["a", "b"] * 11 + ["a"])


def same(first: Reasoning, second: Reasoning, order: np.ndarray, sets: np.ndarray) -> None:
    """The second is about the first's tokens and sets in another order."""
    for part in ("chosen", "weights"):
        values, others = getattr(first.routing, part), getattr(second.routing, part)
        np.testing.assert_allclose(values[:, :, order], others, atol=1e-6)
    for part in ("pooled", "read"):
        values, others = getattr(first.memory, part), getattr(second.memory, part)
        np.testing.assert_allclose(values[:, order], others, atol=1e-6)
    np.testing.assert_allclose(first.memory.kept[:, sets], second.memory.kept, atol=1e-6)
    np.testing.assert_array_equal(first.taken[order], second.taken)
    np.testing.assert_allclose(first.ponder[order], second.ponder, atol=1e-6)


def test_looking_changes_no_prediction(of_sets, of_nodes, of_rows):
    for model, data in ((of_sets, SETS), (of_nodes, nx.karate_club_graph()), (of_rows, FRAME)):
        before = model.predict_proba(data)
        reasoning(model, data)
        assert np.array_equal(model.predict_proba(data), before)


def test_nodes_keep_their_names_however_they_are_ordered(of_nodes):
    graph = nx.karate_club_graph()
    order = np.random.default_rng(1).permutation(34)
    other = nx.Graph()
    other.add_nodes_from((node, graph.nodes[node]) for node in order.tolist())
    other.add_edges_from(graph.edges(data=True))
    first, second = reasoning(of_nodes, graph), reasoning(of_nodes, other)
    assert first.tokens.names == [str(node) for node in range(34)]
    assert second.tokens.names == [str(node) for node in order]
    same(first, second, order, np.array([0]))


def test_nodes_line_up_with_what_the_network_was_given(of_nodes):
    graph, asked = nx.karate_club_graph(), []
    network = of_nodes._exact_model()
    hook = network.register_forward_hook(lambda _, args, out: asked.append((args[0], out.encoded)))
    of_nodes.predict(graph)
    hook.remove()
    ((tokens, encoded),) = asked
    degree = np.array([degree for _, degree in graph.degree()])
    given = torch.bincount(tokens.edge_index[1], minlength=34).numpy()
    # Ponder times tell nodes apart, and were computed where these degrees are.
    order = np.lexsort([encoded.thought.ponder.numpy()])
    found = np.lexsort([reasoning(of_nodes, graph).ponder])
    np.testing.assert_array_equal(given[order], degree[found])


def test_elements_follow_their_sets_and_places(of_sets):
    draw = np.random.default_rng(2)
    sets = draw.permutation(len(SETS))
    inside = [draw.permutation(len(SETS[at])) for at in sets]
    start = np.cumsum([0, *map(len, SETS)])
    order = np.concatenate([start[at] + place for at, place in zip(sets, inside, strict=True)])
    shuffled = [SETS[at][place] for at, place in zip(sets, inside, strict=True)]
    first, second = reasoning(of_sets, SETS), reasoning(of_sets, shuffled)
    assert second.tokens.ptr.tolist() == np.cumsum([0, *map(len, shuffled)]).tolist()
    same(first, second, order, sets)


def test_cells_follow_their_rows_and_columns(of_rows):
    order = np.random.default_rng(3).permutation(23)
    first, second = reasoning(of_rows, FRAME), reasoning(of_rows, FRAME.iloc[order][["two", "three", "one"]])
    assert first.tokens.columns == second.tokens.columns
    assert first.tokens.set_names == FRAME.index.tolist()
    assert second.tokens.set_names == FRAME.index[order].tolist()
    same(first, second, (3 * order[:, None] + np.arange(3)).ravel(), order)


@pytest.mark.parametrize("kind", ["sets", "rows"])
def test_batches_of_the_estimator_do_not_show(kind, of_sets, of_rows, monkeypatch):
    model, data = (of_sets, SETS) if kind == "sets" else (of_rows, FRAME)
    whole = reasoning(model, data)
    calls = []
    network = model.graph_layers()[0][0]
    hook = network.register_forward_hook(lambda *_: calls.append(1))
    monkeypatch.setattr(packed, "batches", partial(packed.batches, most=10))
    monkeypatch.setattr(rows, "CELLS_A_BATCH", 10)
    parts = reasoning(model, data)
    hook.remove()
    assert len(calls) > 5
    same(whole, parts, np.arange(len(whole.tokens)), np.arange(whole.tokens.sets))


def test_networks_of_a_table_are_told_apart(of_rows):
    first, second = (reasoning(of_rows, FRAME, network=number) for number in (0, 1))
    assert first.networks == second.networks == 2
    assert not np.array_equal(first.memory.pooled, second.memory.pooled)
    with pytest.raises(ValueError, match=r"network must be from 0 to 1 \(got 2\)"):
        reasoning(of_rows, FRAME, network=2)


def test_a_table_without_row_steps_has_cells_that_reason():
    model = sf.StructFormerRegressor(row_steps=0, members=1, **FULL).fit(FRAME, np.arange(23.0))
    found = reasoning(model, FRAME)
    assert len(found.tokens) == 69
    assert found.taken is None


def test_the_table_of_tokens(of_sets):
    found = reasoning(of_sets, SETS)
    frame = found.to_frame()
    assert list(frame) == ["set", "token", "steps", "ponder", "expert", "slot"]
    assert frame["set"].tolist() == [number for number, of in enumerate(SETS) for _ in of]
    assert frame["steps"].between(1, 3).all()
    token = int(frame["steps"].argmin())
    last = found.taken[token] - 1
    assert frame["expert"][token] == found.routing.chosen[last, -1, token, 0]
    assert frame["slot"][token] == found.memory.read[last, token].argmax()


@pytest.mark.parametrize("estimator", [sf.SetEncoder, sf.GraphEncoder, sf.TableEncoder])
def test_encoders_are_looked_into_too(estimator):
    data = {"SetEncoder": SETS, "GraphEncoder": nx.karate_club_graph(), "TableEncoder": FRAME}
    of = data[estimator.__name__]
    found = reasoning(estimator(**FULL).fit(of), of)
    assert found.memory.kept.shape[0] == found.steps == 2
    assert found.routing.use().shape == (2, 4)


def test_sentences_of_stories_are_looked_into():
    asked = [(["Mary went.", "John sat."], "Who went?"), (["Mary sat."], "Who sat?")] * 3
    model = sf.QuestionAnswerer(width=16, heads=2, epochs=1, random_state=0, verbose=False)
    model.fit(asked, ["Mary", "John"] * 3)
    before = model.predict_proba(asked)
    found = reasoning(model, asked[:2])
    assert np.array_equal(model.predict_proba(asked), before)
    assert found.tokens.names == ["Mary went.", "John sat.", "Who went?", "Mary sat.", "Who sat?"]
    assert found.tokens.ptr.tolist() == [0, 3, 5]
    assert found.memory is not None
    assert found.memory.slot(0, step=1, of=1)["name"].tolist()[0] in ("Mary sat.", "Who sat?")


def test_sentences_of_a_story_are_named_by_who_asks():
    torch.manual_seed(0)
    model = TextQA(TextQAConfig(width=16, heads=2, vocabulary=20, answers=((8,), (9,)), halting="act"))
    words = torch.tensor([1, 2, 3, 4, 5, 6, 7])
    story = (words, torch.tensor([0, 7]), torch.tensor([0, 0, 0, 1, 1, 2, 2]))
    found = reasoning(model, story, names=["Mary went.", "John sat.", "Who went?"])
    assert found.to_frame()["name"].tolist() == ["Mary went.", "John sat.", "Who went?"]
    assert model.training
    with pytest.raises(ValueError, match=r"names must have 3 entries \(got 1\)"):
        reasoning(model, story, names=["Mary went."])
    with pytest.raises(ValueError, match="X must be a tuple"):
        reasoning(model, words)


def test_what_the_model_lacks_is_none():
    options = {"experts": 1, "active": 1, "slots": 0}
    model = sf.SetClassifier(model_options=options, **FULL).fit(SETS, [0, 1] * 12)
    found = reasoning(model, SETS)
    assert (found.routing, found.memory, found.taken, found.ponder) == (None, None, None, None)
    assert list(found.to_frame()) == ["set", "token"]


def test_models_without_a_ressformer_are_refused():
    model = sf.SetClassifier(**{**FULL, "model": "soes"}).fit(SETS, [0, 1] * 12)
    assert not holds_reasoning(model)
    with pytest.raises(ValueError, match="must hold a ReSSFormer"):
        reasoning(model, SETS)
    with pytest.raises(TypeError, match=r"estimator of structformer or a module \(got dict\)"):
        reasoning({}, SETS)


def test_estimators_name_tokens_themselves(of_sets):
    assert holds_reasoning(of_sets)
    with pytest.raises(ValueError, match="names are for modules"):
        reasoning(of_sets, SETS, names=["a"])
