import math

import pytest
import torch
from structformer.tasks.language_data import (
    IGNORED,
    Stream,
    bits_per_byte,
    count_words,
    encode_stream,
    segments,
    word_perplexity,
)

from structformer.tokenize import TextTokenizer
from structformer.tokenize.bpe import BytePairTokenizer

SAMPLE = " \n = Crème brûlée = \n \n The dessert , first <unk> in 1691 , is rich . \n The end\n".encode()


def test_words_are_counted_with_ends_of_lines():
    # 0, 4, 0, 11 and 2 words, and five line feeds.
    assert count_words(SAMPLE) == 17 + 5
    assert count_words(b"") == 0


def test_a_stream_of_bytes_begins_with_a_line_feed():
    stream = encode_stream(SAMPLE, TextTokenizer())
    assert stream.ids.tolist() == [10, *SAMPLE]
    assert (stream.num_bytes, stream.num_words) == (len(SAMPLE), 22)
    with pytest.raises(ValueError, match="text is empty: at least 1 byte is needed"):
        encode_stream(b"", TextTokenizer())


def test_measures_of_a_uniform_guess():
    # 1/256 for every byte: 8 bits a byte; and 256 to the power of bytes a word.
    stream = Stream(torch.zeros(1, dtype=torch.long), num_bytes=31, num_words=7)
    nats = 31 * math.log(256)
    assert bits_per_byte(nats, stream) == pytest.approx(8)
    assert word_perplexity(nats, stream) == pytest.approx(256 ** (31 / 7))
    assert word_perplexity(0.0, stream) == 1
    assert word_perplexity(1e6, stream) == math.inf
    assert math.isnan(word_perplexity(math.nan, stream))


@pytest.mark.parametrize("tokens", [2, 13, 62, 97])
@pytest.mark.parametrize(("batch", "length"), [(1, 7), (5, 3), (5, 19), (3, 1_009)])
def test_every_token_is_the_target_of_one_position_and_lanes_go_on(tokens, batch, length, rng):
    ids = torch.randint(1_009, (tokens,), generator=rng)
    found = list(segments(ids, batch, length))
    assert [segment.fresh for segment in found] == [True] + [False] * (len(found) - 1)
    assert all(segment.ids.shape == segment.targets.shape for segment in found)
    assert all(segment.ids.shape == (batch, length) for segment in found[:-1])
    # Lane after lane, the segments are the text, and its targets are the text one token on.
    inputs = torch.cat([segment.ids for segment in found], dim=1).flatten()
    targets = torch.cat([segment.targets for segment in found], dim=1).flatten()
    counts = targets != IGNORED
    assert torch.equal(inputs[counts], ids[:-1])
    assert torch.equal(targets[counts], ids[1:])
    assert not counts[tokens - 1 :].any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.arange(7), 0, 3), r"batch must be at least 1 \(got 0\)"),
        ((torch.arange(7), 3, 0), r"length must be at least 1 \(got 0\)"),
        ((torch.arange(1), 3, 5), r"ids must hold at least 2 tokens \(got 1\)"),
    ],
)
def test_bad_segments_are_refused_at_once(arguments, message):
    with pytest.raises(ValueError, match=message):
        segments(*arguments)


def test_a_stream_of_byte_pairs_begins_with_one_line_feed():
    pytest.importorskip("tokenizers")
    pairs = BytePairTokenizer(283).fit([SAMPLE * 11])
    stream = encode_stream(SAMPLE, pairs)
    assert pairs.decode(stream.ids[:1]) == "\n"
    assert pairs.decode(stream.ids[1:]) == SAMPLE.decode()
    assert stream.num_bytes == len(SAMPLE)
