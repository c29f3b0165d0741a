from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from structformer.datasets import TabFact
from structformer.tasks import tabfact as task
from structformer.tasks import tabfact_data
from structformer.tasks.ledger import Trial
from structformer.tasks.tabfact import ARMS, QUICK, TabFactSettings, measure, run
from structformer.tasks.tabfact_data import corpus, examples
from structformer.tasks.training import TrainingSettings

TINY = replace(
    QUICK,
    train=None,
    others=None,
    width=16,
    batch=16,
    training=TrainingSettings(updates=60, learning_rate=1e-2),
    looks=2,
    looked=40,
    shuffles=30,
    workers=0,
)
COUNTRIES = ("spain", "peru", "chad", "oman", "mali", "cuba")


def clear():
    corpus.cache_clear()
    examples.cache_clear()


def drawn(tables=30, seed=0):
    """Tables of players, and statements about where they are from."""
    draw = np.random.default_rng(seed)
    frames, rows = {}, []
    for number in range(tables):
        name = f"t{number}"
        players = [f"p{chr(97 + p)}x{chr(97 + number % 26)} day" for p in range(5)]
        country = draw.choice(COUNTRIES, size=5)
        frames[name] = pd.DataFrame(
            {"player": players, "country": country, "points": map(str, draw.permutation(90)[:5])}
        )
        split = "train" if number < tables // 2 else "val" if number < 3 * tables // 4 else "test"
        for player, home in zip(players, country, strict=True):
            other = draw.choice([one for one in COUNTRIES if one in country and one != home] or ["togo"])
            rows += [(name, f"{player} is from {place}", place == home, split) for place in (home, other)]
    statements = pd.DataFrame(rows, columns=["table", "statement", "entailed", "split"])
    statements["complex"] = statements["table"].isin({"t27", "t28"})
    statements["small"] = statements["table"] == "t29"
    return TabFact(frames, statements, {})


@pytest.fixture
def data(monkeypatch):
    """Statements that can be learned, in place of the real ones."""
    found = drawn()
    monkeypatch.setattr(tabfact_data, "tabfact", lambda: found)
    clear()
    yield found
    clear()


def test_a_run_has_a_row_an_arm_and_is_taken_up_where_it_ended(data, tmp_path, monkeypatch):
    settings = replace(TINY, arms=("majority", "facts, boosted trees", "transformer, rotary", "soes"))
    rows = {row["arm"]: row for row in run(True, 1, settings, tmp_path)}
    assert list(rows) == list(settings.arms)
    assert rows["majority"]["mean"] == 50
    assert rows["facts, boosted trees"]["mean"] > 90
    assert rows["soes"]["mean"] > 90
    assert rows["soes"]["changed"] == 0
    assert rows["soes"]["shuffled"] == 0
    assert rows["soes"]["largest difference"] < 1e-12
    # It has hardly been trained: places change little yet.
    assert rows["transformer, rotary"]["largest difference"] > 1e-10
    assert rows["soes"]["simple"] is not None
    monkeypatch.setattr(task, "measure", lambda *_: 1 / 0)
    assert list(rows.values()) == run(True, 1, settings, tmp_path)


@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_is_measured(data, arm):
    settings = replace(TINY, training=TrainingSettings(updates=2), looks=1)
    found = measure(settings, Trial("TabFact", arm, 0))
    assert set(task.CARD.figures) <= set(found)
    assert 0 <= found["score"] <= 100
    if ARMS[arm].ours or ARMS[arm].options["name"] not in task.NETWORKS:
        assert found["changed"] == 0


def test_parts_are_of_different_tables(data):
    found = corpus()
    tables = [{statement.table for statement in part} for part in found.parts.values()]
    assert [len(part) for part in found.parts.values()] == [150, 70, 80]
    assert not set.intersection(*tables)
    assert sum(map(len, tables)) == len(set.union(*tables)) == 30
    assert [s.entailed for s in found.parts["train"][:4]] == [True, False, True, False]


def test_words_are_learned_from_training_statements_alone(data):
    known = corpus().lexicon().number
    assert "from" in known
    data.statements.loc[data.statements["split"] != "train", "statement"] += " zebra" * 20
    clear()
    assert corpus().lexicon().number == known


@pytest.mark.parametrize("arm", ["soes", "facts, boosted trees"])
def test_what_is_true_in_the_test_has_no_part_in_it(data, arm):
    def judged():
        clear()
        options = dict(ARMS[arm].options)
        fit = task.network if options["name"] in task.NETWORKS else task.rival
        return fit(replace(TINY, training=TrainingSettings(updates=4)), options, 0)[0]("test", None)

    before = judged()
    tested = data.statements["split"] == "test"
    data.statements.loc[tested, "entailed"] = ~data.statements.loc[tested, "entailed"]
    np.testing.assert_array_equal(judged(), before)


def test_pairs_are_met_once_in_each_round(data, monkeypatch):
    met = []
    monkeypatch.setattr(
        task, "pack", lambda some: met.append([example["number"] for example in some]) or 1 / 0
    )
    learned = [{"number": number} for number in range(20)]
    losses = task.fact_losses(None, learned, np.zeros(20, int), 4, 0)
    for update in range(6):
        with pytest.raises(ZeroDivisionError):
            losses(update)
    assert [len(some) for some in met] == [8, 8, 4, 8, 8, 4]
    for some in (met[:3], met[3:]):
        assert sorted(number for part in some for number in part) == list(range(20))
    assert all(
        part[i] + 1 == part[i + 1] and part[i] % 2 == 0 for part in met for i in range(0, len(part), 2)
    )
    assert met[0] != met[3]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arms": ("lstm",)}, r"arms must be among .* \(got lstm\)"),
        ({"batch": 0}, r"batch must be at least 1 \(got 0\)"),
        ({"train": 3}, r"train must be even.* \(got 3\)"),
    ],
)
def test_settings_are_checked(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(TINY, **changes)
    with pytest.raises(ValueError, match="seeds must be at least 1"):
        run(True, 0, TINY)
    assert TabFactSettings().arms == tuple(ARMS)


def test_real_statements(data_folder, monkeypatch):
    monkeypatch.setenv("STRUCTFORMER_DATA", str(data_folder))
    clear()
    found = corpus(40, 20)
    assert [len(part) for part in found.parts.values()] == [40, 20, 20]
    assert found.parts["train"][0].text.startswith("eastern greene and north central farmersburg")
    assert found.linked(found.parts["train"][0]).texts
    clear()
