from collections import Counter
from itertools import combinations, permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from structformer.nn.shared_words import SharedWords

WORDS, PLACES, FEATURES = 7, 4, 3
RARITY = torch.tensor([0.0, 0.3, 1.0, 1.7, 0.5, 2.0, 0.9], dtype=torch.float64)
# Two stories of sentences; word 0 links nothing.
STORIES = [[[1, 2, 0], [2, 3, 2, 4, 5], [6, 0], [5, 1]], [[3, 3], [1, 3, 2]]]


def layer(reach=9, seed=0):
    torch.manual_seed(seed)
    return SharedWords(RARITY, PLACES, FEATURES, reach).double()


def packed(stories):
    words = [word for story in stories for part in story for word in part]
    lengths = [len(part) for story in stories for part in story]
    sentence = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    story = torch.tensor([n for n, some in enumerate(stories) for part in some for _ in part])
    return torch.tensor(words), sentence, story, torch.tensor([0, *lengths]).cumsum(0)


def dense(links, sentences):
    i, j = links.edge_index[1], links.edge_index[0]
    weight = torch.zeros(sentences, sentences, dtype=torch.float64).index_put((i, j), links.weight)
    attributes = torch.zeros(sentences, sentences, FEATURES, dtype=torch.float64)
    return weight, attributes.index_put((i, j), links.attributes)


def naive(module, stories):
    parts = [part for story in stories for part in story]
    owner = [number for number, story in enumerate(stories) for _ in story]
    weight = torch.zeros(len(parts), len(parts), dtype=torch.float64)
    attributes = torch.zeros(len(parts), len(parts), FEATURES, dtype=torch.float64)
    mentions = numbered(stories)
    bags = torch.stack([torch.bincount(torch.tensor(part), minlength=WORDS) * RARITY for part in parts])
    for i, j in permutations(range(len(parts)), 2):
        if owner[i] != owner[j]:
            continue
        weight[i, j] = SharedWords.STRENGTH * torch.cosine_similarity(bags[i], bags[j], dim=0) ** 2
        for a, word in enumerate(parts[i]):
            for b, other in enumerate(parts[j]):
                if word == other:
                    begin = module.from_begin[min(a, PLACES - 1), min(b, PLACES - 1)]
                    left = min(len(parts[i]) - 1 - a, PLACES - 1), min(len(parts[j]) - 1 - b, PLACES - 1)
                    after = mentions[j][b] - mentions[i][a]
                    mention = module.mention[module.reach + after - (after > 0)]
                    attributes[i, j] = attributes[i, j] + RARITY[word] * (
                        begin + module.from_end[left] + mention
                    )
    return weight, attributes


def numbered(stories):
    """For each word of each sentence, the how-manieth of its kind it is in the story."""
    found = []
    for story in stories:
        seen = Counter()
        for part in story:
            found.append([])
            for word in part:
                found[-1].append(seen[word])
                seen[word] += 1
    return found


def test_links_equal_the_naive_twin_values_and_gradients(rng):
    module = layer()
    found = dense(module(*packed(STORIES)), 6)
    twin = naive(module, STORIES)
    torch.testing.assert_close(found, twin)
    upstream = torch.randn(6, 6, FEATURES, generator=rng, dtype=torch.float64)
    ours, theirs = (
        torch.autograd.grad((attributes * upstream).sum(), [*module.parameters()])
        for attributes in (found[1], twin[1])
    )
    torch.testing.assert_close(ours, theirs)


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(4)))
def test_how_strong_links_are_does_not_depend_on_the_order_of_sentences(order):
    module, story = layer(), STORIES[0]
    weight, _ = dense(module(*packed([story])), 4)
    shuffled, _ = dense(module(*packed([[story[i] for i in order]])), 4)
    torch.testing.assert_close(shuffled, weight[order][:, order])


def test_who_said_it_last_is_known_however_much_is_said_of_others_in_between():
    story = [[1, 2], [1, 3], [1, 4]]
    between = [[5, 6]] * 7
    module = layer()
    weight, attributes = dense(module(*packed([story])), 3)
    far = dense(module(*packed([[*story[:1], *between, *story[1:2], *between, *story[2:]]])), 17)
    kept = torch.tensor([0, 8, 16])
    torch.testing.assert_close(far[0][kept][:, kept], weight)
    torch.testing.assert_close(far[1][kept][:, kept], attributes)
    assert not torch.allclose(attributes[2, 1], attributes[2, 0])
    assert not torch.allclose(attributes[1, 0], attributes[1, 2])


def test_a_frequent_word_links_the_sentences_nearest_on_either_side():
    links = layer(reach=2)(*packed([[[1]] * 6]))
    assert {(i, j) for i, j in links.edge_index.T.tolist() if i < j} == {
        (i, j) for i, j in combinations(range(6), 2) if j - i <= 2
    }


def test_a_long_story_has_links_in_proportion_to_its_words():
    short, long = (layer(reach=3)(*packed([[[1, 2, 3]] * n])).edge_index.shape[1] for n in (100, 1_000))
    assert long < 10.5 * short


@pytest.mark.parametrize("stories", [[[[0, 0]]], [[[1, 2]]], [[[1], [2]], [[1]]]])
def test_without_shared_words_there_are_no_links(stories):
    links = layer()(*packed(stories))
    assert links.edge_index.shape == (2, 0)
    assert links.attributes.shape == (0, FEATURES)
