from __future__ import annotations

import json
from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd
import pytest
import structformer.tasks

import structformer as sf
from structformer.cli import main

# A note about surplus columns is what some of these tests look for.
pytestmark = pytest.mark.filterwarnings("default:the table has columns:UserWarning")


def table(rows: int, seed: int) -> pd.DataFrame:
    """Mixed columns with gaps; ``answer`` depends on size and kind."""
    generator = np.random.default_rng(seed)
    size, kind = generator.normal(size=rows), generator.choice(["a", "b", "c"], rows)
    return pd.DataFrame(
        {
            "size": np.where(generator.random(rows) < 0.1, np.nan, size),
            "kind": np.where(generator.random(rows) < 0.1, None, kind),
            "flag": generator.random(rows) < 0.5,
            "when": pd.Timestamp("2024-01-01") + pd.to_timedelta(generator.integers(0, 300, rows), unit="D"),
            "answer": np.where(size + (kind == "b") > 0.5, "yes", "no"),
            "price": 3 * size + generator.normal(size=rows) * 0.1,
        }
    )


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    table(83, 0).to_csv(folder / "train.csv", index=False)
    new = table(23, 1)
    new.loc[:3, "kind"] = "never seen"
    # Other column order, a column more.
    new[[*new.columns[::-1]]].assign(extra=1).to_csv(folder / "new.csv", index=False)
    drop = pd.read_csv(folder / "train.csv").drop(columns="price")
    drop.to_parquet(folder / "train.parquet")
    assert (
        run("fit", folder / "train.parquet", "--target", "answer", "--out", folder / "model", "--max-time", 1)
        == 0
    )
    return folder


def test_fit_says_what_it_found(folder, capsys):
    arguments = ("--out", folder / "regression", "--max-time", 1)
    assert run("fit", folder / "train.csv", "--target", "price", *arguments) == 0
    assert "83 rows, 5 columns: regression of 'price'" in capsys.readouterr().out
    assert run("predict", folder / "regression", folder / "new.csv", "--out", folder / "prices.csv") == 0
    prices = pd.read_csv(folder / "prices.csv")
    assert list(prices.columns) == ["prediction"]
    assert len(prices) == 23
    assert np.isfinite(prices["prediction"]).all()


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_predict_writes_classes_and_their_probabilities(folder, capsys, suffix):
    out = folder / f"answers{suffix}"
    assert run("predict", folder / "model", folder / "new.csv", "--out", out) == 0
    told = capsys.readouterr()
    assert "23 predictions" in told.out
    # Once, however often the table is read; the target itself is no surprise.
    assert told.err.count("note:") == 1
    assert "extra" in told.err
    assert "answer" not in told.err
    answers = pd.read_csv(out) if suffix == ".csv" else pd.read_parquet(out)
    assert list(answers.columns) == ["prediction", "probability_no", "probability_yes"]
    shares = answers[["probability_no", "probability_yes"]].to_numpy()
    np.testing.assert_allclose(shares.sum(1), 1.0, rtol=1e-5)
    assert answers["prediction"].tolist() == np.array(["no", "yes"])[shares.argmax(1)].tolist()


def test_predict_for_no_rows(folder):
    pd.read_csv(folder / "new.csv").head(0).to_csv(folder / "none.csv", index=False)
    assert run("predict", folder / "model", folder / "none.csv", "--out", folder / "nothing.csv") == 0
    assert (folder / "nothing.csv").read_text().strip() == "prediction,probability_no,probability_yes"


def test_inspect_writes_a_page(folder):
    out = folder / "pages" / "report.html"
    assert run("inspect", folder / "model", folder / "new.csv", "--out", out) == 0
    page = out.read_text()
    for word in ("new.csv", "accuracy", "homophily", "Which columns listen to which"):
        assert word in page


def test_inspect_looks_into_a_full_model(folder):
    frame = pd.read_csv(folder / "train.csv")
    model = sf.StructFormerClassifier(model="ressformer", members=1, epochs=1, width=16, heads=2)
    model.fit(frame.drop(columns=["answer", "price"]), frame["answer"]).save(folder / "full")
    out = folder / "full.html"
    assert run("inspect", folder / "full", folder / "new.csv", "--out", out) == 0
    page = out.read_text()
    for word in ("Memory slots", "Kept by the gate", "Experts: which column goes to which"):
        assert word in page


def test_encode_a_table(folder):
    out = folder / "rows.npy"
    assert run("encode", folder / "train.parquet", "--out", out, "--max-time", 1) == 0
    vectors = np.load(out, allow_pickle=False)
    assert vectors.shape[0] == 83
    assert np.isfinite(vectors).all()


def test_encode_a_graph(folder):
    nx.write_gml(nx.relabel_nodes(nx.cycle_graph(7), {i: f"n{i}" for i in range(7)}), folder / "ring.gml")
    out = folder / "nodes.csv"
    assert run("encode", folder / "ring.gml", "--out", out, "--max-time", 1) == 0
    vectors = pd.read_csv(out)
    assert vectors["node"].tolist() == [f"n{i}" for i in range(7)]
    assert np.isfinite(vectors.drop(columns="node").to_numpy()).all()


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        (["fit", "{}/gone.csv", "--target", "a", "--out", "{}/m"], "there is no file {}/gone.csv"),
        (
            ["fit", "{}/train.csv", "--target", "anser", "--out", "{}/m"],
            "no column 'anser'; its columns are 'size'",
        ),
        (
            ["fit", "{}/train.csv", "--target", "answer", "--out", "{}"],
            "{} exists and is not a model that structformer fit wrote",
        ),
        (["fit", "{}/train.csv", "--target", "answer", "--out", "{}/m", "--task", "guess"], "(got 'guess')"),
        (
            ["fit", "{}/train.csv", "--target", "answer", "--out", "{}/m", "--delimiter", ";"],
            "--delimiter ','",
        ),
        (["fit", "{}/train.csv", "--out", "{}/m"], "--target"),
        (["predict", "{}", "{}/new.csv", "--out", "{}/p.csv"], "{} is not a structformer model"),
        (["predict", "{}/model", "{}/new.csv", "--out", "{}/p.npy"], "known are .csv, .parquet"),
        (["predict", "{}/model", "{}/short.csv", "--out", "{}/p.csv"], "kind"),
        (["encode", "{}/notes.txt", "--out", "{}/p.csv"], "not a table or a graph"),
        (["inspect", "{}/model", "{}/new.csv", "--out", "{}/p.pdf"], "known are .html"),
        (["inspect", "{}/model", "{}/pair.edgelist", "--out", "{}/p.html"], "which reads tables"),
        (["bench", "gone"], "there is no task 'gone'"),
        (["bench", "--seeds", "0"], "--seeds"),
        (["guess"], "guess"),
    ],
)
def test_errors_are_one_line_that_names_the_culprit(folder, capsys, arguments, culprit):
    (folder / "notes.txt").write_text("x")
    (folder / "pair.edgelist").write_text("a b")
    pd.read_csv(folder / "new.csv").drop(columns=["kind", "flag", "extra"]).to_csv(
        folder / "short.csv", index=False
    )
    before = sorted(path.name for path in folder.iterdir())
    assert run(*(argument.format(folder) for argument in arguments)) == 2
    told = capsys.readouterr().err.strip().splitlines()
    line = [line for line in told if "note:" not in line]
    assert len(line) == 1
    assert line[0].startswith("structformer: ")
    assert culprit.format(folder) in line[0]
    assert sorted(path.name for path in folder.iterdir()) == before


def test_a_missing_target_names_its_row(folder, capsys):
    frame = table(11, 2)
    frame.loc[4, "answer"] = None
    frame.to_csv(folder / "gap.csv", index=False)
    assert run("fit", folder / "gap.csv", "--target", "answer", "--out", folder / "m") == 2
    assert "gap.csv: the target 'answer' is missing in row 5" in capsys.readouterr().err


def test_no_command_shows_the_help(capsys):
    assert run() == 2
    assert "predict" in capsys.readouterr().out


def test_bench_lists_runs_and_writes(tmp_path, monkeypatch, capsys):
    (tmp_path / "toy.py").write_text(
        '"""A toy task.\n\nMore."""\n\ndef run(quick, seeds):\n'
        '    ours = {"arm": "ours", "score": 0.5, "quick": quick, "seeds": seeds, "curve": [2, 1]}\n'
        '    return [ours, {"arm": "a rival of a very long name " * 5, "score": None, "note": "slow"}]\n'
    )
    (tmp_path / "helper.py").write_text('"""No task: it has no run."""\n')
    (tmp_path / "broken.py").write_text(
        '"""Cannot be imported."""\nimport gone\ndef run(quick, seeds): ...\n'
    )
    monkeypatch.setattr(structformer.tasks, "__path__", [str(tmp_path)])
    assert run("bench") == 0
    assert capsys.readouterr().out.split() == [
        "broken",
        "Cannot",
        "be",
        "imported.",
        "toy",
        "A",
        "toy",
        "task.",
    ]
    assert run("bench", "toy", "--full", "--seeds", 3, "--json", tmp_path / "r.json") == 0
    head, ours, rival = capsys.readouterr().out.splitlines()
    assert head.split() == ["arm", "score", "quick", "seeds", "note"]
    assert ours.split() == ["ours", "0.5", "False", "3", "-"]
    assert rival.startswith("a rival of a very long name " * 5)
    assert rival.split()[-4:] == ["-", "-", "-", "slow"]
    written = json.loads((tmp_path / "r.json").read_text())
    assert written[0] == {"arm": "ours", "score": 0.5, "quick": False, "seeds": 3, "curve": [2, 1]}
    assert run("bench", "broken") == 2
    assert "No module named 'gone'" in capsys.readouterr().err
