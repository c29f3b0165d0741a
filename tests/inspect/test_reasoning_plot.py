from __future__ import annotations

from collections.abc import Iterator

import matplotlib as mpl
import numpy as np
import pytest

from structformer.inspect.named import NamedTokens
from structformer.inspect.routing import Routing
from structformer.inspect.slots import Slots

DRAW = np.random.default_rng(0)
TOKENS = NamedTokens(np.array([0, 7, 11]), [f"${place}" for place in range(11)])


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    import matplotlib.pyplot as plt

    mpl.use("Agg")
    yield
    plt.close("all")


def slots() -> Slots:
    pooled = DRAW.random((3, 11, 5))
    return Slots(TOKENS, DRAW.random((3, 2, 5)), pooled, np.full((3, 11, 5), 0.2))


def written(ax) -> list[str]:
    ax.figure.canvas.draw()
    return [text.get_text() for text in ax.texts]


def test_experts_are_drawn_by_step_and_layer_and_dead_ones_are_named():
    chosen = DRAW.integers(0, 3, (2, 2, 11, 1))
    routing = Routing(TOKENS, 4, chosen, np.ones_like(chosen, dtype=float), np.ones((2, 11), dtype=bool))
    ax = routing.plot()
    assert written(ax) == [f"{share:.2f}" for share in routing.use().to_numpy().ravel()]
    assert [text.get_text() for text in ax.get_yticklabels()][1] == "step 1, layer 2"
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0", "1", "2", "3\ndead in a layer"]


def test_gates_are_drawn_slots_by_steps():
    memory = slots()
    assert written(memory.plot(of=1)) == [f"{kept:.2f}" for kept in memory.kept[:, 1].T.ravel()]
    ax = memory.plot()
    assert written(ax) == [f"{kept:.2f}" for kept in memory.kept.mean(1).T.ravel()]
    assert ax.get_title() == "Mean of 2 sets"


def test_a_slot_shows_the_tokens_it_pooled_most():
    memory = slots()
    axes = memory.plot_tokens(step=2, of=1, top=3)
    axes[0].figure.canvas.draw()
    assert len(axes) == 5
    for slot, ax in enumerate(axes):
        frame = memory.slot(slot, 2, 1).head(3)
        assert [text.get_text() for text in ax.get_yticklabels()] == frame["name"].tolist()
        assert [bar.get_width() for bar in ax.patches] == frame["pooled"].tolist()


def test_what_is_not_there_is_refused():
    with pytest.raises(ValueError, match=r"of must be from 0 to 1, or None \(got 2\)"):
        slots().plot(of=2)
    with pytest.raises(ValueError, match=r"top must be at least 1 \(got 0\)"):
        slots().plot_tokens(top=0)
