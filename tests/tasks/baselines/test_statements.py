import numpy as np
import pytest
from structformer.tasks.baselines.statements import NAMES, StatementClassifier, Statements


def drawn(count, seed, by):
    """Statements whose truth is told by a word or by a fact."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(2, size=count)
    other = draw.integers(2, size=count)
    told = {"word": labels, "fact": other} if by == "word" else {"word": other, "fact": labels}
    texts = [f"it be {'so' if one else 'not so'}" for one in told["word"]]
    facts = np.column_stack([draw.normal(size=count), told["fact"] + 0.1 * draw.normal(size=count)])
    return Statements(texts, facts.astype(np.float32)), labels


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("by", ["word", "fact"])
def test_each_learns_from_what_it_sees(name, by):
    train, validation, test = (drawn(300, seed, by) for seed in range(3))
    model = StatementClassifier(name, strength=1.0).fit(*train, *validation)
    accuracy = ((model.predict_proba(test[0]) > 0.5) == test[1]).mean()
    if (
        by
        in {"majority": "", "words": "word", "words and facts": "word, fact", "boosted facts": "fact"}[name]
    ):
        assert accuracy > 0.95
    else:
        assert accuracy < 0.65


def test_as_many_trees_are_used_as_validation_data_wants():
    train, validation = drawn(300, 0, "fact"), drawn(300, 1, "fact")
    noisy = (train[0], np.where(np.arange(300) % 3 == 0, 1 - train[1], train[1]))
    model = StatementClassifier("boosted facts", rate=0.3).fit(*noisy, *validation)
    stages = [(stage == validation[1]).mean() for stage in model.model.staged_predict(validation[0].facts)]
    assert model.trees < len(stages)
    found = ((model.predict_proba(validation[0]) > 0.5) == validation[1]).mean()
    assert found == max(stages)


def test_names_are_checked():
    with pytest.raises(ValueError, match="name must be one of majority"):
        StatementClassifier("forest")
