from __future__ import annotations

import io
import re

import matplotlib.pyplot as plt
import numpy as np
from rich.console import Console

from structformer.demo import point_sets, run_demo


def test_point_sets_hold_every_inked_pixel_in_any_order():
    image = np.zeros((8, 8))
    image[2, 5], image[7, 0] = 3.0, 16.0
    (points,) = point_sets(image[None], np.random.default_rng(0))
    assert sorted(points.tolist()) == [[0, 7, 16], [5, 2, 3]]
    full = np.arange(1, 65.0).reshape(1, 8, 8)
    (shuffled,) = point_sets(full, np.random.default_rng(0))
    assert shuffled[:, 2].tolist() != sorted(shuffled[:, 2].tolist())
    assert sorted(shuffled[:, 2].tolist()) == full.ravel().tolist()


def test_the_demo_scores_beside_baselines_and_writes_its_report(tmp_path):
    printed = io.StringIO()
    path = run_demo(tmp_path / "out", max_time=2.0, console=Console(file=printed, width=100))
    told = printed.getvalue()
    for model in ("structformer", "logistic regression", "random forest", "label propagation"):
        assert model in told
    assert str(path) in told.replace("\n", "")
    scores = [float(found) for found in re.findall(r"\b[01]\.\d{3}\b", told)]
    assert len(scores) == 10
    assert all(0 <= score <= 1 for score in scores)
    page = path.read_text()
    assert page.count("<canvas") == 4
    assert page.count('class="heat"') == 2
    assert len(page) < 5_000_000
    assert plt.imread(tmp_path / "out" / "karate.png").shape[:2] == (605, 880)
