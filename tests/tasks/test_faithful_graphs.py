from dataclasses import replace

import pytest
from structformer.tasks.faithful_graphs import QUICK, FaithfulSettings, run


def test_a_run_tells_how_far_predictions_move(tmp_path):
    settings = replace(QUICK, epochs=2, workers=0)
    (row,) = run(True, 1, settings, tmp_path)
    assert (row["data"], row["arm"]) == ("digits", "soes")
    assert row["mean"] == pytest.approx(row["change"] / row["random"])
    assert row["mean"] > 1
    assert 1 < row["effective degree"] < row["degree"]
    assert 0 <= row["flipped"] <= 100
    assert (tmp_path / "faithful_graphs-quick.jsonl").exists()


def test_settings_are_checked():
    with pytest.raises(ValueError, match="data must be among"):
        FaithfulSettings(data=("iris",))
    with pytest.raises(ValueError, match="arms must be among"):
        FaithfulSettings(arms=("gcn",))
