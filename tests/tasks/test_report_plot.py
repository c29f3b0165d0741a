from pathlib import Path

import matplotlib.image
import pytest
from structformer.tasks.report import Reported
from structformer.tasks.report_plot import plot_family
from structformer.tasks.task_card import TaskCard


def reported(data: int, arms: int, mean: float | None = 50.0) -> Reported:
    rows = [
        {"data": f"set {d}", "arm": f"arm ${a}", "mean": mean if a else 7.0, "sd": None if a % 2 else 1.0}
        for d in range(data)
        for a in range(arms)
    ]
    return Reported(TaskCard("x", "X", "family", "accuracy, %", "arm $0"), Path("x.jsonl"), {}, rows)


@pytest.mark.parametrize(("data", "lines", "columns"), [(1, 1, 1), (2, 1, 2), (4, 2, 3)])
def test_a_panel_a_data_set_in_rows_of_three_at_most(tmp_path, data: int, lines: int, columns: int):
    path = tmp_path / "new" / "x.png"
    plot_family([reported(data, 3)], path)
    height, width = matplotlib.image.imread(path).shape[:2]
    assert width == pytest.approx(columns * 4.6 * 110, abs=2)
    assert height == pytest.approx((1.2 + 0.24 * 3) * lines * 110, abs=2)
    assert list(path.parent.iterdir()) == [path]


def test_arms_that_failed_everywhere_are_left_out_of_their_panel(tmp_path):
    plot_family([reported(1, 3, mean=None), reported(2, 2)], tmp_path / "x.png")
    assert (tmp_path / "x.png").is_file()
