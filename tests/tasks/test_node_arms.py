import pytest
from structformer.tasks.node_arms import (
    CONFIGURATIONS,
    NodeArm,
    knn_network,
    network,
    ours,
    propagation,
    rows_alone,
)


def test_every_arm_chooses_among_equally_many_at_most():
    arms = [*rows_alone(), propagation()]
    assert len({arm.name for arm in arms}) == len(arms)
    assert all(1 <= len(arm.grid) <= CONFIGURATIONS for arm in arms)
    assert not any(arm.ours for arm in arms)
    for count in (0, CONFIGURATIONS + 1):
        with pytest.raises(ValueError, match=rf"x: grid must hold 1 to 4 configurations \(got {count}\)"):
            NodeArm("x", print, ({},) * count)


def test_what_is_shared_is_in_every_configuration_and_can_be_told_otherwise():
    arm = network("gcn", {"hidden": 8}, {"hidden": 9, "kind": "gat"}, kind="gcn")
    assert arm.grid == ({"kind": "gcn", "hidden": 8}, {"kind": "gat", "hidden": 9})
    assert knn_network("k", neighbors=5).grid == ({"kind": "gcn", "neighbors": 5},)
    assert ours("soes").grid == ({},)
    assert ours("soes").ours
