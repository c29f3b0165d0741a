import pytest
import torch
from structformer.tasks.shuffled_text_data import (
    ORDERS,
    UNKNOWN,
    Paragraph,
    masked,
    numbered,
    pieces,
    sentences,
    wikitext_paragraphs,
)
from structformer.tasks.sweeps import generator

TEXT = """ = A heading =

 One two . Three four five ! Six ?
 A sentence alone .
 So long a sentence that no piece can hold it , and another . Short one . Short two .
"""


def test_sentences_end_with_their_signs():
    assert sentences(["a", "b", ".", "c", "!", "d"]) == [("a", "b", "."), ("c", "!"), ("d",)]


def test_pieces_are_of_whole_sentences():
    found = pieces(TEXT, 9)
    assert found == [
        [("one", "two", "."), ("three", "four", "five", "!"), ("six", "?")],
        [("short", "one", "."), ("short", "two", ".")],
    ]
    assert [len(piece) for piece in pieces(TEXT, 7)] == [2, 2]


def paragraph():
    return numbered(pieces(TEXT, 9)[0], {"one": 1, ".": 2, "three": 3, "!": 4, "six": 5, "?": 6})


def test_words_are_numbered_and_unknown_ones_alike():
    found = paragraph()
    assert found.words.tolist() == [1, 0, 2, 3, 0, 0, 4, 5, 6]
    assert found.bounds == (0, 3, 7, 9)


def test_orders():
    found = paragraph()
    assert found.order("in order", generator(0)).tolist() == list(range(9))
    blocks = {(0, 1, 2), (3, 4, 5, 6), (7, 8)}
    seen = set()
    for seed in range(60):
        order = found.order("sentences shuffled", generator(seed)).tolist()
        seen.add(tuple(order))
        assert sorted(order) == list(range(9))
        assert all(any(tuple(order[i : i + len(b)]) == b for i in range(9)) for b in blocks)
    assert len(seen) == 6
    words = found.order("words shuffled", generator(0)).tolist()
    assert sorted(words) == list(range(9))
    assert words != list(range(9))
    with pytest.raises(ValueError, match=r"order must be one of in order, .* \(got 'up'\)"):
        found.order("up", generator(0))


def test_the_same_words_are_hidden_whatever_the_order():
    some = [paragraph(), Paragraph(torch.arange(1, 31), (0, 12, 30))]
    found = {order: masked(some, order, 0.4, 7) for order in ORDERS}
    plain = found["in order"]
    assert plain.ptr.tolist() == [0, 9, 39]
    assert 5 < int(plain.chosen.sum()) < 25
    assert not (plain.chosen & (plain.words == UNKNOWN)).any()
    for batch in found.values():
        back = batch.origin.argsort()
        assert batch.words[back].equal(plain.words)
        assert batch.chosen[back].equal(plain.chosen)
        assert batch.ptr.equal(plain.ptr)
    assert not masked(some, "in order", 0.4, 8).chosen.equal(plain.chosen)


def test_real_paragraphs(data_folder, monkeypatch):
    monkeypatch.setenv("STRUCTFORMER_DATA", str(data_folder))
    wikitext_paragraphs.cache_clear()
    found = wikitext_paragraphs(1_000, 64)
    assert found.vocabulary == 1_000
    lengths = [len(one.words) for part in (found.train, found.validation, found.test) for one in part]
    assert max(lengths) <= 64
    assert len(found.train) > 8 * len(found.test) > 8_000
    assert max(int(one.words.max()) for one in found.test) < 1_000
    wikitext_paragraphs.cache_clear()
