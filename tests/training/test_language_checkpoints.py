import json
import math
from dataclasses import replace

import pytest
import torch

from structformer.models.language import ReSSFormerLM, ReSSFormerLMConfig
from structformer.tokenize.text import TextTokenizer
from structformer.training.checkpoints import save_checkpoint
from structformer.training.language import LanguageTrainer
from structformer.training.language_checkpoints import (
    load_language_model,
    resume_language_training,
    save_language_training,
)
from structformer.training.language_config import LanguageTrainingConfig

CONFIG = ReSSFormerLMConfig(
    width=12,
    heads=2,
    steps=2,
    neighbors=3,
    affinity=5,
    slots=3,
    dropout=0.2,
    experts=3,
    vocabulary=29,
    segment=7,
)
TRAINING = LanguageTrainingConfig(updates=13, batch=3, learning_rate=1e-2, seed=5)
TOKENIZER = TextTokenizer().to_dict()
VARIANTS = {
    "attention": {},
    "rsa": {"mixer": "rsa"},
    "both": {"mixer": "both", "halting": "act"},
    "plain": {"slots": 0, "convolution": 0, "experts": 1},
    "untied": {"tied": False},
}


def documents(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(29, (size,), generator=generator) for size in (19, 5, 37, 23)]


def make(changes=None, seed=0, texts=None, **training):
    torch.manual_seed(seed)
    model = ReSSFormerLM(replace(CONFIG, **(changes or {})))
    return LanguageTrainer(model, texts or documents(), replace(TRAINING, **training))


def same(first, second):
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("cut", [1, 6])
def test_a_run_cut_and_resumed_equals_an_uncut_one_bit_for_bit(tmp_path, changes, cut):
    whole = make(changes)
    whole.run(progress=False)
    first = make(changes)
    first.run(cut, progress=False)
    save_language_training(tmp_path, first, TOKENIZER)
    second = make(changes, seed=1)
    torch.rand(7)
    resume_language_training(tmp_path, second)
    assert second.history == first.history
    assert torch.equal(second.state.read, first.state.read)
    second.run(progress=False)
    assert second.history == whole.history
    same(second.model.state_dict(), whole.model.state_dict())
    old, new = (run.optimizer.state_dict()["state"] for run in (whole, second))
    assert old.keys() == new.keys()
    for number in old:
        same(old[number], new[number])
    same(second.dice, whole.dice)
    # What is written after the last update is the same, too.
    one, other = (
        save_language_training(tmp_path / name, run, TOKENIZER) for name, run in (("a", whole), ("b", second))
    )
    assert sorted(file.read_bytes() for file in one.iterdir()) == sorted(
        file.read_bytes() for file in other.iterdir()
    )


def test_every_part_of_a_checkpoint_counts(tmp_path):
    """Without any one of them the run would not be the same."""
    whole, first = make({"mixer": "both"}), make({"mixer": "both"})
    whole.run(progress=False)
    first.run(6, progress=False)
    save_language_training(tmp_path, first, TOKENIZER)
    for part in ("optimizer", "place", "state", "dice"):
        second = make({"mixer": "both"})
        kept = getattr(second.lanes, part) if part == "place" else getattr(second, part)
        kept = dict(kept) if part == "dice" else kept
        fresh = second.optimizer.state_dict() if part == "optimizer" else None
        resume_language_training(tmp_path, second)
        if fresh is not None:
            second.optimizer.load_state_dict(fresh)
        else:
            setattr(second.lanes if part == "place" else second, part, kept)
        second.run(progress=False)
        assert second.history != whole.history, part


def test_a_saved_model_is_loaded_with_its_tokenizer(tmp_path):
    trainer = make({"mixer": "both"})
    trainer.run(3, progress=False)
    save_language_training(tmp_path, trainer, TOKENIZER)
    model, tokenizer = load_language_model(tmp_path)
    assert not model.training
    assert model.config == trainer.model.config
    assert tokenizer == TOKENIZER
    ids = documents()[0]
    assert torch.equal(model(ids).logits, trainer.model.eval()(ids).logits)


def test_other_settings_are_named(tmp_path):
    trainer = make()
    trainer.run(2, progress=False)
    save_language_training(tmp_path, trainer, TOKENIZER)
    with pytest.raises(ValueError, match=r"was trained with width=12, batch=3 \(got width=14, batch=2\)"):
        resume_language_training(tmp_path, make({"width": 14}, batch=2))
    with pytest.raises(ValueError, match=r"updates=13 \(got updates=17\): give the same settings"):
        resume_language_training(tmp_path, make(updates=17))
    with pytest.raises(ValueError, match="was trained on another text"):
        resume_language_training(tmp_path, make(texts=documents(1)))
    resume_language_training(tmp_path, make())


def test_what_is_no_language_model_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a structformer model"):
        load_language_model(tmp_path)
    folder = save_checkpoint(tmp_path / "table", {"class": "TableEncoder"}, {})
    for read in (load_language_model, lambda folder: resume_language_training(folder, make())):
        with pytest.raises(ValueError, match="holds a TableEncoder, not a language model"):
            read(folder)


def test_damage_is_named(tmp_path):
    trainer = make()
    folder = save_language_training(tmp_path / "model", trainer, TOKENIZER)
    file = folder / "structformer.json"
    found = json.loads(file.read_text())
    for model in ({"width": 14}, {"colour": "red"}):
        changed = found | {"state": found["state"] | {"model": found["state"]["model"] | model}}
        file.write_text(json.dumps(changed))
        with pytest.raises(ValueError, match="holds a model of another version"):
            load_language_model(folder)
    file.write_text(json.dumps(found))
    (weights,) = folder.glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-5])
    with pytest.raises(ValueError, match="is damaged"):
        resume_language_training(folder, make())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(FileExistsError, match="is not a structformer model"):
        save_language_training(tmp_path / "mine", trainer, TOKENIZER)


def test_a_run_that_fails_leaves_the_last_checkpoint(tmp_path):
    trainer = make()

    def save(one):
        save_language_training(tmp_path, one, TOKENIZER)
        if len(one.history) == 4:
            torch.nn.init.constant_(one.model.norm.weight, math.nan)

    with pytest.raises(FloatingPointError, match="in update 5"):
        trainer.run(every=2, save=save, progress=False)
    again, whole = make(seed=1), make()
    resume_language_training(tmp_path, again)
    assert again.history == whole.run(4, progress=False)
    assert again.run(progress=False) == whole.run(progress=False)
