import json
import sys

import pytest
import torch

from structformer.tokenize.bpe import BytePairTokenizer, _byte_of_symbol

SAMPLE = " \n = Crème brûlée = \n \n The dessert , first <unk> in 1691 , is rich . \n The end\n"
NEVER_SEEN = "žluťoučký 猫\t\r\n\x00 \x85\u2028 end"


def fitted(size=271, text=SAMPLE * 11):
    pytest.importorskip("tokenizers")
    return BytePairTokenizer(size).fit([text])


def test_any_text_is_written_and_read_again():
    tokenizer = fitted()
    assert tokenizer.vocab_size == 271
    for text in (SAMPLE, NEVER_SEEN, ""):
        ids = tokenizer.encode(text)
        assert ids.dtype == torch.int64
        assert torch.equal(tokenizer.encode(text.encode()), ids)
        assert tokenizer.decode(ids) == text
        assert tokenizer.to_bytes(ids) == text.encode()
    assert len(tokenizer.encode(SAMPLE)) < len(SAMPLE.encode()) - 15


def test_a_part_of_a_character_is_its_bytes():
    tokenizer = fitted(256, "ab")
    ids = tokenizer.encode("猫")
    assert len(ids) == 3
    assert b"".join(tokenizer.to_bytes(one) for one in ids.split(1)) == "猫".encode()
    assert tokenizer.decode(ids[:1]) == "�"


def test_every_byte_has_one_symbol():
    found = _byte_of_symbol()
    assert sorted(found.values()) == list(range(256))
    assert (found["a"], found["Ġ"], found["Ċ"]) == (97, 32, 10)


def test_the_same_texts_teach_the_same_tokens():
    first, second = fitted(), fitted()
    assert first.to_dict() == second.to_dict()
    # A text that has fewer pairs to learn.
    assert fitted(1_009, "ab").vocab_size == 257


def test_state_is_json():
    tokenizer = fitted()
    state = json.loads(json.dumps(tokenizer.to_dict()))
    again = BytePairTokenizer.from_dict(state)
    assert again.vocab_size == 271
    assert torch.equal(again.encode(NEVER_SEEN), tokenizer.encode(NEVER_SEEN))
    assert again.decode(tokenizer.encode(NEVER_SEEN)) == NEVER_SEEN
    with pytest.raises(ValueError, match="kind must be 'byte pairs'"):
        BytePairTokenizer.from_dict({"kind": "bytes"})


def test_errors():
    with pytest.raises(ValueError, match=r"vocab_size must be at least 256 \(got 255\)"):
        BytePairTokenizer(255)
    tokenizer = fitted()
    with pytest.raises(ValueError, match=r"ids must lie in 0 to 270 \(got 271\)"):
        tokenizer.decode(torch.tensor([3, 271]))
    with pytest.raises(ValueError, match="call fit before"):
        BytePairTokenizer(257).encode("a")


def test_the_library_is_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ImportError, match=r"pip install 'structformer\[text\]'"):
        BytePairTokenizer(257)
