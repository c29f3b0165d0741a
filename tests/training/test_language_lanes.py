from itertools import pairwise

import pytest
import torch

from structformer.training.language_lanes import Lanes


def documents(*sizes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(1_009, (size,), generator=generator) for size in sizes]


def walk(lanes, pieces):
    """What each lane read, piece by piece: (ids, targets, fresh)."""
    found = [[] for _ in range(len(lanes.begins))]
    for _ in range(pieces):
        piece = lanes.take()
        bounds = piece.ptr.tolist()
        for lane, (a, b) in enumerate(pairwise(bounds)):
            found[lane].append(
                (piece.ids[a:b].tolist(), piece.targets[a:b].tolist(), bool(piece.fresh[lane]))
            )
    return found


def test_one_lane_by_hand():
    lanes = Lanes([torch.arange(10, 17), torch.arange(20, 22), torch.arange(30, 34)], 1, 4)
    assert len(lanes) == 10
    expected = [
        ([10, 11, 12, 13], [11, 12, 13, 14], True),
        ([14, 15], [15, 16], False),
        ([20], [21], True),
        ([30, 31, 32], [31, 32, 33], True),
    ]
    assert walk(lanes, 8)[0] == expected * 2


@pytest.mark.parametrize("sizes", [(101,), (13, 2, 37, 3, 29), (2, 2, 2, 2, 2)])
@pytest.mark.parametrize(("count", "segment"), [(1, 7), (3, 5), (5, 1), (5, 1_009)])
def test_lanes_together_read_every_token_once_in_a_pass(sizes, count, segment):
    texts = documents(*sizes)
    lanes = Lanes(texts, count, segment)
    pairs = [(a, b) for text in texts for a, b in pairwise(text.tolist())]
    found = []
    for lane, pieces in enumerate(walk(lanes, 2 * len(lanes))):
        read = [pair for ids, targets, _ in pieces for pair in zip(ids, targets, strict=True)]
        size = int(lanes.ends[lane] - lanes.begins[lane])
        assert size in (len(lanes) // count, -(-len(lanes) // count))
        # A lane begins again where it began.
        assert read[:size] == read[size : 2 * size]
        assert pieces[0][2]
        assert all(1 <= len(ids) <= segment for ids, _, _ in pieces)
        found += read[:size]
    assert found == pairs


def test_pieces_stand_in_a_document_as_when_it_is_read_from_its_beginning():
    lanes = Lanes(documents(18, 11), 1, 5)
    assert [len(ids) for ids, _, _ in walk(lanes, 6)[0]] == [5, 5, 5, 2, 5, 5]


def test_a_place_says_what_comes_next():
    texts = documents(13, 29, 7)
    lanes, others = Lanes(texts, 3, 4), Lanes(texts, 3, 4)
    walk(lanes, 5)
    others.place = lanes.place
    assert walk(lanes, 7) == walk(others, 7)


def test_a_digest_tells_texts_apart():
    first, second = documents(13, 29)
    digest = Lanes([first, second], 3, 4).digest
    assert Lanes([first, second], 1, 9).digest == digest
    changed = first.clone()
    changed[-1] += 1
    # The last two have the same tokens in another cut.
    for other in ([second, first], [changed, second], [first], [torch.cat([first, second])]):
        assert Lanes(other, 3, 4).digest != digest


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], 1, 1), "documents is empty: at least 1 document is needed"),
        ((documents(5, 1), 1, 1), r"documents must have at least 2 tokens each \(got 1 in number 1\)"),
        ((documents(5), 0, 1), r"lanes must be at least 1 \(got 0\)"),
        ((documents(5), 1, 0), r"segment must be at least 1 \(got 0\)"),
        ((documents(3, 3), 5, 1), r"for each of 5 lanes \(got 4\)"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Lanes(*arguments)
