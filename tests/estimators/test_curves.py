import math
import xml.etree.ElementTree as ET

import pytest

from structformer.estimators.curves import PANEL, WIDTH, curves
from structformer.training import Epoch, History


def history(losses, scores=None, best=None):
    scores = [None] * len(losses) if scores is None else scores
    pairs = enumerate(zip(losses, scores, strict=True), start=1)
    epochs = [Epoch(number, loss, score, float(number), 1.0, 1e-3) for number, (loss, score) in pairs]
    return History(epochs, len(losses) if best is None else best)


def drawn(html, tag):
    return [element for element in ET.fromstring(html).iter() if element.tag.endswith(tag)]


def lines(html):
    """The points of each curve, which have no opacity of their own as the axes do."""
    paths = [path.attrib["d"] for path in drawn(html, "path") if "stroke-opacity" not in path.attrib]
    return [[tuple(map(float, point.split())) for point in path[1:].split("L")] for path in paths]


def test_a_curve_falls_as_the_loss_does_and_stays_in_its_panel():
    losses = [3.0, 2.0, 1.5, 1.25]
    (line,) = lines(curves([history(losses)]))
    assert [x for x, _ in line] == sorted(x for x, _ in line)
    assert [y for _, y in line] == sorted(y for _, y in line), "y grows downwards"
    heights = [line[-1][1] - y for _, y in line]
    assert heights[0] / heights[1] == pytest.approx((3 - 1.25) / (2 - 1.25), rel=0.02)
    assert all(0 <= x <= WIDTH and 0 <= y <= PANEL for x, y in line)


def test_held_out_data_have_a_panel_where_the_kept_epoch_is_marked():
    html = curves([history([2.0, 1.0, 0.5], [-4.0, -1.0, -3.0], best=2)])
    _, validation = lines(html)
    (dot,) = drawn(html, "circle")
    assert (float(dot.attrib["cx"]), float(dot.attrib["cy"])) == validation[1]
    assert validation[1][1] == max(y for _, y in validation), "a score is a loss turned round"
    assert "epoch 2, kept: 1" in html
    assert "1 to 4" in html
    assert "training loss from 2 to 0.5 and validation loss from 4 to 3" in html
    assert not drawn(curves([history([2.0, 1.0])]), "circle")


def test_networks_of_several_lengths_share_the_panels():
    html = curves([history([2.0, 1.0, 0.5], [-2.0, -1.0, -1.5], 2), history([1.0, 0.9], [-3.0, -2.0], 2)])
    assert [len(line) for line in lines(html)] == [3, 2, 3, 2]
    assert len(drawn(html, "circle")) == 2
    ends = [line[-1][0] for line in lines(html)]
    assert ends[0] == ends[2] > ends[1] == ends[3]


def test_numbers_that_are_not_finite_are_left_out():
    html = curves([history([2.0, 1.0, 0.5], [-math.inf, -1.0, math.nan], best=2)])
    assert [len(line) for line in lines(html)] == [3], "one score makes no line"
    assert len(drawn(html, "circle")) == 1
    assert "nan" not in html
    assert "inf" not in html


def test_a_constant_loss_is_a_level_line():
    (line,) = lines(curves([history([1.0, 1.0, 1.0])]))
    assert len({y for _, y in line}) == 1


@pytest.mark.parametrize("histories", [[], [History()], [history([1.0])]])
def test_one_point_is_no_curve(histories):
    assert curves(histories) == ""


def test_long_trainings_stay_small():
    html = curves([history([1 / (i + 1) for i in range(100_000)])])
    assert len(html) < 10_000
    assert lines(html)[0][-1][0] == pytest.approx(WIDTH - 3)
