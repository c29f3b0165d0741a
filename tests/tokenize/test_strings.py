import sys
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from structformer.tokenize.strings import HashedNgrams, SentenceModel


def test_vectors_have_length_one_and_the_width_asked_for():
    vectors = HashedNgrams(26)(["a red dress", "", "!?", "Straße 東京"])
    assert vectors.shape == (4, 26)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1)[[0, 3]], 1, rtol=1e-6)
    assert not vectors[1].any()
    assert HashedNgrams(26)([]).shape == (0, 26)


@settings(max_examples=20)
@given(st.lists(st.text(max_size=20), min_size=1, max_size=7), st.data())
def test_a_vector_depends_on_its_own_string_alone(strings, data):
    embed = HashedNgrams(34)
    alone = data.draw(st.sampled_from(range(len(strings))))
    np.testing.assert_array_equal(embed(strings)[alone], embed([strings[alone]])[0])


def test_similar_spellings_are_near():
    embed = HashedNgrams()
    street, misspelt, other = embed(["Washington Street", "Washingtn Street", "quiet lake"])
    assert street @ misspelt > 0.6
    assert abs(street @ other) < 0.3


def test_letter_case_does_not_matter_and_words_do():
    upper, lower, other = HashedNgrams()(["Good DRESS", "good dress", "bad dress"])
    np.testing.assert_array_equal(upper, lower)
    assert upper @ other < 0.9


@pytest.mark.parametrize("width", [0, 7, -2])
def test_width_must_be_even(width):
    with pytest.raises(ValueError, match=rf"width must be even and at least 2 \(got {width}\)"):
        HashedNgrams(width)


def test_sentence_model_must_be_a_folder_here(tmp_path):
    with pytest.raises(ValueError, match=r"text_model must be a folder .* \(got 'all-MiniLM-L6-v2'\)"):
        SentenceModel("all-MiniLM-L6-v2")


def test_sentence_model_needs_its_library(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ImportError, match=r"pip install 'structformer\[text\]'"):
        SentenceModel(tmp_path)


def test_sentence_model_is_asked_without_the_network(tmp_path, monkeypatch):
    class Model:
        def __init__(self, path, local_files_only):
            assert path == str(tmp_path)
            assert local_files_only

        def encode(self, strings, **options):
            assert options["normalize_embeddings"]
            return np.array([[len(string), 1.0, 0.0] for string in strings])

    library = types.SimpleNamespace(SentenceTransformer=Model)
    monkeypatch.setitem(sys.modules, "sentence_transformers", library)
    model = SentenceModel(tmp_path)
    assert model.width == 3
    assert model(["ab", "abcde"])[:, 0].tolist() == [2, 5]
    assert model([]).shape == (0, 3)
