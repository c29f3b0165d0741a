import pytest
import torch
from structformer.tasks.baselines.sets import (
    DeepSets,
    PooledMLP,
    PooledTransformer,
    SetTransformer,
    sinusoids,
)
from torch import nn
from torch.nn import functional as F

NETWORKS = {
    "mean": lambda: PooledMLP(3, 2, 16, "mean"),
    "max": lambda: PooledMLP(3, 2, 16, "max"),
    "deep sets": lambda: DeepSets(3, 2, 16),
    "set transformer": lambda: SetTransformer(3, 2, 16, heads=2, seeds=2),
    "induced": lambda: SetTransformer(3, 2, 16, heads=2, seeds=2, induced=4),
    "transformer": lambda: PooledTransformer(3, 2, 16, heads=2),
    "positions": lambda: PooledTransformer(3, 2, 16, heads=2, positions=True),
}
PTR = torch.tensor([0, 5, 6, 17])


@pytest.mark.parametrize("name", NETWORKS)
def test_a_set_is_told_alike_in_any_company_and_order(name):
    network = NETWORKS[name]().double().eval()
    x = torch.randn(17, 3, dtype=torch.float64)
    outputs = network(x, PTR)
    assert outputs.shape == (3, 2)
    alone = network(x[6:], torch.tensor([0, 11]))
    torch.testing.assert_close(outputs[2:], alone)
    turned = torch.cat([x[:6], x[6:].flip(0)])
    same = torch.allclose(network(turned, PTR), outputs)
    assert same == (name != "positions")


@pytest.mark.parametrize("name", NETWORKS)
def test_it_learns_whether_a_mean_is_high(name):
    drawn = torch.Generator().manual_seed(0)
    network = NETWORKS[name]()
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)

    def batch(sets):
        sizes = torch.randint(1, 6, (sets,), generator=drawn)
        ptr = F.pad(sizes.cumsum(0), (1, 0))
        high = torch.randint(2, (sets,), generator=drawn)
        x = torch.randn(int(ptr[-1]), 3, generator=drawn)
        return x + 2 * (high * 2 - 1).repeat_interleave(sizes)[:, None], ptr, high

    for _ in range(150):
        x, ptr, high = batch(64)
        loss = F.cross_entropy(network(x, ptr), high)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x, ptr, high = batch(500)
    assert float((network(x, ptr).argmax(1) == high).double().mean()) > 0.95


def test_the_poolings_are_those_of_their_names():
    x = torch.randn(17, 3)
    for pooling, of_set in (("mean", lambda h: h.mean(0)), ("max", lambda h: h.amax(0))):
        network = PooledMLP(3, 2, 16, pooling)
        expected = network.whole(
            torch.stack([of_set(network.local(some)) for some in x.tensor_split(PTR[1:-1])])
        )
        torch.testing.assert_close(network(x, PTR), expected)
    network = DeepSets(3, 2, 16)
    local, whole = network.aggregation.local_mlp, network.aggregation.global_mlp
    expected = whole(torch.stack([local(some).sum(0) for some in x.tensor_split(PTR[1:-1])]))
    torch.testing.assert_close(network(x, PTR), expected)
    with pytest.raises(ValueError, match="pooling must be"):
        PooledMLP(3, 2, 16, "median")


def test_the_seeds_of_a_set_transformer_are_read_out_alike():
    network = SetTransformer(3, 8, 16, heads=2, seeds=4)
    network.aggregation.forward = lambda h, dim_size, **_: torch.arange(dim_size * 64.0).view(dim_size, 64)
    vectors = torch.arange(3 * 64.0).view(3 * 4, 16)
    torch.testing.assert_close(network(torch.randn(17, 3), PTR), network.head(vectors).view(3, 8))
    with pytest.raises(ValueError, match=r"seeds must divide outputs, 20 \(got 3\)"):
        SetTransformer(3, 20, 16, heads=2, seeds=3)


def test_places_begin_anew_in_every_set():
    network = PooledTransformer(3, 2, 16, heads=2, positions=True)
    network.encoder = nn.Identity()
    seen = []
    network.encoder.forward = lambda h, index: seen.append(h) or h
    network(torch.zeros(17, 3), PTR)
    torch.testing.assert_close(seen[0][0:5], seen[0][6:11])
    assert not torch.allclose(seen[0][0], seen[0][1])


def test_sinusoids_of_an_odd_width():
    found = sinusoids(torch.tensor([0, 3]), torch.zeros(2, 5))
    assert found.shape == (2, 5)
    assert found[0].tolist() == [0, 0, 0, 1, 1]
