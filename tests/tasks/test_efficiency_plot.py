import pytest
from matplotlib.figure import Figure
from structformer.tasks import efficiency_plot
from structformer.tasks.efficiency_plot import draw
from structformer.tasks.efficiency_records import record


@pytest.fixture
def figures(monkeypatch):
    """The figures made while a test runs."""
    made = []

    class Kept(Figure):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            made.append(self)

    monkeypatch.setattr(efficiency_plot, "Figure", Kept)
    return made


def test_arms_become_lines_and_keep_their_colours(tmp_path, figures):
    records = [
        record(f"attention layer, {graph}", arm, tokens, milliseconds=tokens / 7, megabytes=tokens / 3)
        for graph in ("random", "clustered")
        for tokens in (101, 211)
        for arm in ("ours", "theirs")
    ]
    records.append(record("attention layer, random", "killed", 211, note="left out"))
    records.append(record("scaling, random", "ours", 101, milliseconds=5.0))
    draw(records, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes()[:4] == b"\x89PNG"
    time, _, scaling_time, scaling_memory = figures[0].axes
    assert [text.get_text() for text in time.get_legend().get_texts()] == ["ours", "theirs"]
    assert [line.get_linestyle() for line in time.lines] == ["-", "-", "--", "--"]
    assert [tick.get_text() for tick in time.get_xticklabels()] == ["101", "211"]
    assert list(time.lines[0].get_ydata()) == pytest.approx([101 / 7, 211 / 7])
    assert time.lines[0].get_color() == time.lines[2].get_color() != time.lines[1].get_color()
    assert len(scaling_time.lines) == 1
    assert not scaling_memory.lines


def test_nothing_to_draw_is_an_empty_picture(tmp_path):
    draw([], tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 1_000
