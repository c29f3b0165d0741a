import pytest
import torch

from structformer.graph import TokenGraph
from structformer.nn.content_space import MANY, ContentSpace
from structformer.tokenize.scaling import Standardizer

PTR = torch.tensor([0, 9, 10, 26])


def points(rng, count=26):
    return torch.randn(count, 4, generator=rng, dtype=torch.float64) * torch.tensor([1.0, 50.0, 0.01, 1.0])


def words(rng, texts=60):
    """Texts of two subjects, each with 60 words of its own."""
    chance = torch.zeros(texts, 120)
    chance[::2, :60] = chance[1::2, 60:] = 0.12
    return (torch.rand(texts, 120, generator=rng) < chance).double()


def nearest(x, k):
    """The k nearest rows by Euclidean distance, by force."""
    distance = torch.cdist(x, x).fill_diagonal_(torch.inf)
    return distance.topk(k, largest=False)


def test_all_features_weigh_alike(rng):
    x = points(rng)
    place = ContentSpace.fit(x).double()(x)
    torch.testing.assert_close(place.amin(0), torch.zeros(4, dtype=torch.float64), atol=1e-6, rtol=0)
    torch.testing.assert_close(place.amax(0), torch.ones(4, dtype=torch.float64), atol=1e-6, rtol=0)


def test_the_scale_of_the_data_does_not_matter(rng):
    x = points(rng)
    scaled = torch.from_numpy(Standardizer.fit(x.numpy())(x.numpy())).double()
    found, same = (ContentSpace.fit(one).double().graph(one, 5) for one in (x, scaled))
    assert torch.equal(found.col, same.col)
    torch.testing.assert_close(found.weight, same.weight, rtol=1e-4, atol=1e-5)


def test_a_feature_that_never_changes_tells_nothing(rng):
    x = torch.cat([points(rng), torch.full((26, 1), 7.0, dtype=torch.float64)], dim=1)
    place = ContentSpace.fit(x).double()(x)
    assert (place[:, 4] == 0).all()
    assert torch.isfinite(ContentSpace.fit(torch.ones(5, 2)).graph(torch.ones(5, 2), 2).weight).all()


def test_links_are_those_to_the_nearest_and_back_with_self_tuned_weights(rng):
    x = points(rng)
    space = ContentSpace.fit(x).double()
    graph = space.graph(x, 3)
    distance, near = nearest(space(x), 3)
    wanted = torch.zeros(26, 26, dtype=torch.float64)
    width = distance[:, -1]
    rows = torch.arange(26)[:, None].expand(-1, 3)
    wanted[rows, near] = (-(distance**2) / (width[:, None] * width[near])).exp()
    wanted = torch.maximum(wanted, wanted.T).fill_diagonal_(1.0)
    found = torch.zeros_like(wanted)
    found[graph.row, graph.col] = graph.weight
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-9)


def test_words_are_compared_by_which_are_there(rng):
    x = words(rng)
    assert x.shape[1] > MANY
    space = ContentSpace.fit(x).double()
    assert space.counted
    place = space(x)
    torch.testing.assert_close(place.norm(dim=1), torch.ones(60, dtype=torch.float64))
    # A word that two texts share adds its 1 + idf to their likeness.
    weight = (61 / (1 + x.sum(0))).log() + 1
    size = (x @ weight).sqrt()
    torch.testing.assert_close(
        place @ place.T, (x * weight) @ x.T / (size[:, None] * size), atol=1e-6, rtol=1e-6
    )
    assert space.graph(x, 4).homophily(torch.arange(60) % 2) > 0.95


def test_how_often_words_occur_and_how_they_were_weighed_does_not_matter(rng):
    x = words(rng)
    space, weighed = ContentSpace.fit(x), x * torch.rand(x.shape, generator=rng).double().clamp(min=0.01)
    other = ContentSpace.fit(weighed)
    assert torch.equal(space(x), other(weighed))
    assert torch.equal(space.readable(x), other.readable(weighed))


def test_a_network_reads_words_that_are_there_by_their_weight_and_points_as_they_are(rng):
    x = points(rng)
    assert torch.equal(ContentSpace.fit(x).readable(x), x)
    x = words(rng)
    weight = ((61 / (1 + x.sum(0))).log() + 1).sqrt()
    torch.testing.assert_close(ContentSpace.fit(x).double().readable(x * 0.3), x * weight)


def test_a_text_without_words_is_like_no_other(rng):
    x = torch.cat([words(rng), torch.zeros(1, 120, dtype=torch.float64)])
    space = ContentSpace.fit(x).double()
    assert (space(x)[60] == 0).all()
    assert torch.isfinite(space.graph(x, 4).weight).all()


def test_given_edges_stay_and_weigh_one(rng):
    x = points(rng)
    edges = torch.tensor([[0, 5, 3, 3], [25, 6, 3, 4]])
    given = TokenGraph.from_edge_index(edges, 26)
    graph = ContentSpace.fit(x).double().graph(x, 2, given=given)
    marked = set(zip(graph.col[graph.given].tolist(), graph.row[graph.given].tolist(), strict=True))
    assert marked == {(0, 25), (5, 6), (3, 3), (3, 4)}
    assert (graph.weight[graph.given] == 1).all()
    alone = ContentSpace.fit(x).double().graph(x, 0, given=given)
    assert alone.num_edges == 26 + 3


def test_nothing_crosses_sets_and_company_changes_nothing(rng):
    x = points(rng)
    space = ContentSpace.fit(x).double()
    together = space.graph(x, 4, PTR)
    of = torch.repeat_interleave(torch.arange(3), PTR.diff())
    assert torch.equal(of[together.row], of[together.col])
    alone = space.graph(x[10:], 4)
    kept = together.row >= 10
    assert torch.equal(together.col[kept] - 10, alone.col)
    torch.testing.assert_close(together.weight[kept], alone.weight)


def test_permuting_tokens_permutes_the_links(rng, shuffled):
    x, perm = points(rng), shuffled(PTR, 3)
    space = ContentSpace.fit(x).double()
    expected, found = space.graph(x, 4, PTR).permute(perm), space.graph(x[perm], 4, PTR)
    assert torch.equal(found.col, expected.col)
    torch.testing.assert_close(found.weight, expected.weight)


@pytest.mark.parametrize("kind", ["points", "words"])
def test_a_loaded_space_is_the_same_space(rng, kind):
    x = points(rng) if kind == "points" else words(rng)
    space = ContentSpace.fit(x)
    other = ContentSpace(x.shape[1], space.counted)
    other.load_state_dict(space.state_dict())
    assert torch.equal(other(x.float()), space(x.float()))
