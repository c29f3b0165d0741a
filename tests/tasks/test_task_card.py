from dataclasses import FrozenInstanceError
from importlib import import_module
from pathlib import Path

import pytest
import structformer.tasks
from structformer.tasks.task_card import TaskCard

FOLDER = Path(structformer.tasks.__file__).parent
TASKS = [
    file.stem
    for file in sorted(FOLDER.glob("*.py"))
    if "\nCARD = " in file.read_text() and not file.stem.endswith("_card")
]


@pytest.mark.parametrize("name", TASKS)
def test_every_task_says_what_it_measures_and_leads_with_an_arm_of_ours(name: str):
    module = import_module(f"structformer.tasks.{name}")
    card = module.CARD
    assert card.name == name
    assert card.title
    assert card.measure
    assert card.protocol.endswith(".")
    arms = getattr(module, "ARMS", {})
    if isinstance(arms, dict) and card.headline in arms:
        assert arms[card.headline].ours
    for published in card.published:
        assert published.figures
        assert published.source


def test_a_card_stays_as_it_is():
    with pytest.raises(FrozenInstanceError):
        TaskCard("a", "A", "x", "y", "soes").better = "lower"
