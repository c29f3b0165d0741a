import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from structformer.tokenize import TextTokenizer


@given(st.text())
def test_round_trip(text):
    tokenizer = TextTokenizer()
    ids = tokenizer.encode(text)
    assert ids.dtype == torch.int64
    assert tokenizer.decode(ids) == text


@given(st.binary())
def test_bytes_are_their_own_ids(raw):
    assert TextTokenizer().encode(raw).tolist() == list(raw)


def test_broken_text():
    tokenizer = TextTokenizer()
    assert tokenizer.decode(tokenizer.encode("a\ud800b")) == "a\ud800b"
    assert tokenizer.decode(torch.tensor([97, 255])) == "a�"
    with pytest.raises(ValueError, match=r"0 to 255 \(got 256\)"):
        tokenizer.decode(torch.tensor([3, 256]))
    with pytest.raises(TypeError, match=r"got int|Type-check"):
        tokenizer.encode(3)


def test_transform_packs_texts_in_order():
    tokens = TextTokenizer().fit_transform(["ab", "né", b"\x00"])
    assert tokens.ptr.tolist() == [0, 2, 5, 6]
    assert tokens.code.tolist() == [97, 98, 110, 195, 169, 0]
    assert tokens.x.shape == (6, 0)


def test_errors():
    with pytest.raises(ValueError, match="texts is empty"):
        TextTokenizer().transform([])
    with pytest.raises(ValueError, match="text 1 is empty"):
        TextTokenizer().transform(["a", ""])
    with pytest.raises(TypeError, match="one text"):
        TextTokenizer().transform("abc")


def test_state_is_json():
    state = json.loads(json.dumps(TextTokenizer().to_dict()))
    assert isinstance(TextTokenizer.from_dict(state), TextTokenizer)
    with pytest.raises(ValueError, match="kind must be 'bytes'"):
        TextTokenizer.from_dict({"kind": "bpe"})
