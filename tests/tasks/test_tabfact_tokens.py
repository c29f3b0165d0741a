import numpy as np
import pandas as pd
import pytest
import torch
from structformer.tasks.tabfact_data import shuffled
from structformer.tasks.tabfact_links import link
from structformer.tasks.tabfact_model import FactModel, fact_encoder
from structformer.tasks.tabfact_tables import ReadTable
from structformer.tasks.tabfact_tokens import (
    CELL,
    COLUMN,
    EDGES,
    LINKED,
    ROW,
    ROWS,
    STATEMENT,
    WORD,
    Lexicon,
    pack,
    tokens_of,
)
from structformer.tasks.tabfact_words import words

FRAME = pd.DataFrame(
    {
        "player": [f"{a} {b}" for a in ("ann", "bo", "cy") for b in ("lee", "fox", "day")],
        "country": ["spain", "peru", "spain", "spain", "chad", "peru", "peru", "chad", "spain"],
        "points": ["30", "12", "45", "9", "14", "12", "7", "8", "30"],
    }
)
TABLE = ReadTable.of(FRAME)
TEXTS = (
    "ann lee of spain has 18 more points than ann fox",
    "the most points are 45",
    "4 players are from spain",
    "nothing is said here",
)
LEXICON = Lexicon.of([words(text) for text in TEXTS * 20])
ARMS = {
    "soes": {"steps": 2, "neighbors": 3},
    "ressformer": {"steps": 2, "neighbors": 3, "slots": 2, "experts": 1},
}


def example(text, table=TABLE):
    return tokens_of(link(words(text), table), table, LEXICON)


def network(name, masked=0.5, **options):
    torch.manual_seed(0)
    known = np.stack([example(text).facts for text in TEXTS])
    return FactModel(len(LEXICON), known, fact_encoder(name, 16, 2, 0.0, **options), 16, 2, 0.0, masked)


def edges(found, name):
    return {(a, b) for a, b, kinds in found.edges.tolist() if kinds >> EDGES.index(name) & 1}


def test_tokens_of_each_kind():
    found = example(TEXTS[0])
    counts = np.bincount(found.kind, minlength=5)
    assert counts[[STATEMENT, WORD, COLUMN]].tolist() == [1, len(words(TEXTS[0])), 3]
    # Four rows of Spain, one of them with a name that is said, and the other name's row.
    assert counts[[ROW, CELL]].tolist() == [5, 15]
    assert np.bincount(example("spain or peru or chad").kind)[ROW] == ROWS
    assert np.bincount(example(TEXTS[3]).kind, minlength=5)[[ROW, CELL]].tolist() == [0, 0]


def test_words_hear_their_neighbours_and_know_on_which_side_they_are():
    found = example(TEXTS[1])
    after, before = edges(found, "next word"), edges(found, "word before")
    assert {(b, a) for a, b in after} == before
    assert len(after) == len(words(TEXTS[1])) - 1
    assert not after & before


def test_words_and_cells_rows_and_columns_are_linked():
    found = example(TEXTS[1])
    (word, cell), *more = edges(found, "word in cell")
    assert not more
    assert found.kind[[word, cell]].tolist() == [WORD, CELL]
    assert (cell, word) in edges(found, "cell of word")
    (row,) = (b for a, b in edges(found, "cell in row") if a == cell)
    assert found.kind[row] == ROW
    header = {b for a, b in edges(found, "word in header")}
    (column,) = (b for a, b in edges(found, "cell in column") if a == cell)
    assert header == {column}


def test_cells_of_a_column_know_which_is_larger_and_by_how_much():
    found = example(TEXTS[0])
    larger, smaller, apart = (edges(found, name) for name in ("larger", "smaller", "apart by a number"))
    assert {(b, a) for a, b in larger} == smaller
    assert apart
    assert apart <= larger | smaller
    assert edges(found, "equal")


@pytest.mark.parametrize("name", ARMS)
def test_the_score_does_not_depend_on_the_order_of_rows_and_columns(name):
    model = network(name, **ARMS[name]).double().eval()

    def scores(table):
        tokens = pack([example(text, table) for text in TEXTS])
        for field in ("x", "edge_attr", "set_facts"):
            tokens[field] = tokens[field].double()
        return model(tokens)[0]

    plain = scores(TABLE)
    assert plain.std() > 1e-3
    for seed in range(5):
        torch.testing.assert_close(scores(shuffled(TABLE, seed)), plain, rtol=0, atol=1e-9)


@torch.no_grad()
def test_positions_are_what_the_transformer_hears():
    found = {}
    for name in ("transformer", "dense"):
        model = network(name, layers=2).eval()
        before = model(pack([example(TEXTS[0])]))[0]
        found[name] = float((model(pack([example(TEXTS[0], shuffled(TABLE, 1))]))[0] - before).abs())
    assert found["transformer"] > 1e-4
    assert found["dense"] < 1e-5


@pytest.mark.parametrize("name", [*ARMS, "transformer"])
def test_a_statement_is_judged_the_same_in_any_company(name):
    model = network(name, **ARMS.get(name, {"layers": 2})).eval()
    together = model(pack([example(text) for text in TEXTS]))[0]
    apart = torch.cat([model(pack([example(text)]))[0] for text in TEXTS])
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-5)


def test_linked_words_are_masked_in_training_alone():
    model = network("dense", masked=1.0, layers=1)
    tokens = pack([example(TEXTS[2])])
    ids = tokens.token_words
    assert int(ids.max()) > 1
    linked = (tokens.token_type == CELL) & (tokens.x[:, LINKED[CELL]] > 0) & (ids > 1).any(1)
    assert linked.any()
    plain = model.eval()._read(tokens)
    masked = model.train()._read(tokens)
    unknown = model.word.weight[1]
    place = int(linked.nonzero()[0])
    assert not torch.allclose(plain[place], masked[place])
    torch.testing.assert_close(masked[place], unknown)
