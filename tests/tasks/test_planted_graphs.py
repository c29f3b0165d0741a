from dataclasses import replace

import numpy as np
import pytest
from structformer.tasks.planted_graphs import BEDS, QUICK, PlantedSettings, nearest, random, run

from structformer.inspect import edge_agreement

TINY = replace(QUICK, data=("blocks", "columns"), epochs=3, workers=0)


def test_a_run_has_a_row_for_each_bed_and_arm(tmp_path):
    rows = {(row["data"], row["arm"]): row for row in run(True, 1, TINY, tmp_path)}
    assert list(rows) == [(data, arm) for data in TINY.data for arm in TINY.arms]
    assert rows["blocks", "kNN"]["mean"] > 95
    assert rows["blocks", "soes"]["mean"] > 90
    assert 40 < rows["blocks", "random"]["mean"] < 60
    assert rows["columns", "kNN"]["recall"] == 100
    assert (tmp_path / "planted_graphs-quick.jsonl").exists()


@pytest.mark.parametrize("name", BEDS)
def test_the_graphs_beside_have_as_many_neighbours(name):
    planted = BEDS[name](0)
    for graph in (nearest(planted), random(0, planted)):
        assert set(graph.degree().tolist()) == {8 if name == "columns" else 16}
        assert graph.names == planted.truth.names
        assert (graph.row != graph.col).all()
    near, chance = (
        edge_agreement(g, planted.truth).roc_auc.item() for g in (nearest(planted), random(0, planted))
    )
    assert near > 0.9
    assert np.isclose(chance, 0.5, atol=0.2)  # few pairs of columns are true


def test_settings_are_checked():
    with pytest.raises(ValueError, match="data must be among"):
        PlantedSettings(data=("star",))
    with pytest.raises(ValueError, match="arms must be among"):
        PlantedSettings(arms=("gcn",))
