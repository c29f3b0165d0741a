import lzma
import math

import pytest
import torch
from structformer.tasks import language_data
from structformer.tasks.language_data import (
    IGNORED,
    SHAKESPEARE,
    WIKITEXT2,
    Stream,
    bits_per_byte,
    count_words,
    encode_stream,
    read_shakespeare,
    read_wikitext2,
    segments,
    split_by_position,
    word_perplexity,
)

from structformer.tokenize import TextTokenizer
from structformer.tokenize.bpe import BytePairTokenizer

SAMPLE = " \n = Crème brûlée = \n \n The dessert , first <unk> in 1691 , is rich . \n The end\n".encode()


def test_parts_by_position_join_to_the_whole():
    text = bytes(range(211))
    parts = split_by_position(text)
    assert parts.train + parts.valid + parts.test == text
    assert [len(part) for part in (parts.train, parts.valid, parts.test)] == [189, 11, 11]


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


def write_wikitext2(folder, monkeypatch):
    monkeypatch.setattr(language_data, "WIKITEXT2_WORDS", (22 * 97, 22, 44))
    (folder / "wikitext2").mkdir()
    for name, text in zip(WIKITEXT2, (lzma.compress(SAMPLE * 97), SAMPLE, 2 * SAMPLE), strict=True):
        (folder / name).write_bytes(text)


def test_wikitext2_is_read_in_its_own_parts(tmp_path, monkeypatch):
    write_wikitext2(tmp_path, monkeypatch)
    parts = read_wikitext2(tmp_path)
    assert (parts.train, parts.valid, parts.test) == (SAMPLE * 97, SAMPLE, 2 * SAMPLE)


def test_a_damaged_text_is_named(tmp_path, monkeypatch):
    write_wikitext2(tmp_path, monkeypatch)
    train = tmp_path / WIKITEXT2[0]
    whole = train.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:-1], b"no archive"):
        train.write_bytes(damaged)
        with pytest.raises(ValueError, match=f"{train} is damaged or cut short: ."):
            read_wikitext2(tmp_path)
    train.write_bytes(whole)
    valid = tmp_path / WIKITEXT2[1]
    valid.write_bytes(SAMPLE[:-5])
    with pytest.raises(ValueError, match=rf"{valid} is cut short or changed: must have 22 words \(got 20\)"):
        read_wikitext2(tmp_path)
    valid.unlink()
    with pytest.raises(FileNotFoundError, match=str(valid)):
        read_wikitext2(tmp_path)


def test_a_short_shakespeare_is_named(tmp_path):
    path = tmp_path / SHAKESPEARE
    path.parent.mkdir()
    path.write_bytes(b"First Citizen:")
    with pytest.raises(ValueError, match=rf"{path} is cut short .* must have 1115394 bytes \(got 14\)"):
        read_shakespeare(tmp_path)


def test_a_stream_of_byte_pairs_begins_with_one_line_feed():
    pytest.importorskip("tokenizers")
    pairs = BytePairTokenizer(283).fit([SAMPLE * 11])
    stream = encode_stream(SAMPLE, pairs)
    assert pairs.decode(stream.ids[:1]) == "\n"
    assert pairs.decode(stream.ids[1:]) == SAMPLE.decode()
    assert stream.num_bytes == len(SAMPLE)


def real(data_folder, name):
    if not (data_folder / name).is_file():
        pytest.skip(f"real data is needed: there is no {data_folder / name}")
    return data_folder


def test_the_real_shakespeare(data_folder):
    parts = read_shakespeare(real(data_folder, SHAKESPEARE))
    assert [len(part) for part in (parts.train, parts.valid, parts.test)] == [1_003_854, 55_770, 55_770]
    assert parts.train.startswith(b"First Citizen:\nBefore we proceed")


def test_the_real_wikitext2(data_folder):
    parts = read_wikitext2(real(data_folder, WIKITEXT2[0]))
    assert [len(part) for part in (parts.train, parts.valid, parts.test)] == [
        10_797_148,
        1_121_681,
        1_256_449,
    ]
    assert parts.test.startswith(b" \n = Robert <unk> = \n")
