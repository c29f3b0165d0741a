import pytest

from structformer.training import TrainingConfig


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("weight_decay", -0.1),
        ("warmup", 1.5),
        ("clip", 0.0),
        ("patience", 0),
        ("max_time", 0.0),
        ("precision", "half"),
        ("device", "gpu"),
        ("average", 1.0),
    ],
)
def test_a_bad_setting_is_named_with_its_value(field, value):
    with pytest.raises(ValueError, match=rf"{field} must .*\(got '?{value}'?\)"):
        TrainingConfig(**{field: value})


def test_limits_may_be_left_out():
    config = TrainingConfig(patience=None, max_time=None)
    assert (config.patience, config.max_time) == (None, None)
