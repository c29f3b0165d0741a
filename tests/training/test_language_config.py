from dataclasses import FrozenInstanceError

import pytest

from structformer.training.language_config import LanguageTrainingConfig

NAN = float("nan")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("updates", 0, "at least 1"),
        ("batch", -1, "at least 1"),
        ("learning_rate", 0.0, "positive"),
        ("learning_rate", NAN, "positive"),
        ("clip", 0.0, "positive"),
        ("weight_decay", -0.1, "not be negative"),
        ("ponder", NAN, "not be negative"),
        ("warmup", 1.1, r"in \[0, 1\]"),
        ("warmup", NAN, r"in \[0, 1\]"),
    ],
)
def test_a_setting_that_cannot_be_is_named(name: str, value: float, said: str):
    with pytest.raises(ValueError, match=rf"{name} must (be )?{said} \(got {value}\)"):
        LanguageTrainingConfig(**{name: value})


def test_the_ends_of_what_can_be_are_taken():
    config = LanguageTrainingConfig(updates=1, batch=1, weight_decay=0, ponder=0, warmup=1)
    with pytest.raises(FrozenInstanceError):
        config.updates = 2
