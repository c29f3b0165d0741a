from structformer.tasks.distractors_plot import draw

PNG = b"\x89PNG"


def test_lengths_and_shares_are_drawn_and_nothing_is_left_beside(tmp_path):
    rows = [
        {"data": data, "arm": arm, "mean": mean}
        for arm in ("soes", "$odd_name")
        for data, mean in (("stories x4", 90.0), ("stories x16", 50.0), ("real 50%", 70.0), ("real 0%", 95.0))
    ]
    draw(rows, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(PNG)
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]
    draw(rows[:1], tmp_path / "one.png")
    assert (tmp_path / "one.png").stat().st_size > 1_000
