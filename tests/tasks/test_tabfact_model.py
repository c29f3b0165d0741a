import numpy as np
import pandas as pd
import pytest
import torch
from structformer.tasks.tabfact_links import link
from structformer.tasks.tabfact_model import FactEmbedding, FactModel, fact_encoder
from structformer.tasks.tabfact_tables import ReadTable
from structformer.tasks.tabfact_tokens import Lexicon, pack, tokens_of
from structformer.tasks.tabfact_words import words

TABLE = ReadTable.of(pd.DataFrame({"player": ["ann lee", "bo day"], "points": ["3", "12"]}))
TEXTS = ("ann lee has 3 points", "bo day has the most points")
LEXICON = Lexicon.of([words(text) for text in TEXTS])
EXAMPLES = [tokens_of(link(words(text), TABLE), TABLE, LEXICON) for text in TEXTS]
KNOWN = np.stack([example.facts for example in EXAMPLES])


def test_facts_are_read_on_their_own_scale_and_those_that_never_differ_stay_finite():
    known = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32) * [1, 1e6, 0]
    embed = FactEmbedding(known.astype(np.float32), 4, 0.0).eval()
    found = embed(torch.from_numpy(known).float())
    assert found.shape == (40, 4)
    assert torch.isfinite(found).all()
    assert found.std(0).min() > 0


@pytest.mark.parametrize("name", ["soes", "dense"])
def test_every_part_learns_from_a_statement(name: str):
    options = {"layers": 1} if name == "dense" else {"steps": 2, "neighbors": 2}
    model = FactModel(len(LEXICON), KNOWN, fact_encoder(name, 8, 2, 0.0, **options), 8, 2, 0.0, 0.0)
    score, extra = model(pack(EXAMPLES))
    assert score.shape == (2,)
    (score.square().sum() + extra).backward()
    for part in (model.features, model.word, model.kind, model.facts.mix, model.head, model.pooling):
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in part.parameters())


def test_an_option_that_an_encoder_lacks_is_refused():
    with pytest.raises((TypeError, ValueError), match="layers"):
        fact_encoder("soes", 8, 2, 0.0, layers=3)
