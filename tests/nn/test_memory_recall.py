import torch
from torch import nn
from torch.nn import functional as F

from structformer.nn import memory_chunks
from structformer.nn.convolution import ShortConvolution
from structformer.nn.memory import DeepShallowMemory, DeepShallowMemoryConfig
from structformer.ops import compiled

PAIRS, WIDTH, EXAMPLES = 7, 32, 16


class Reader(nn.Module):
    """One layer: a short convolution, so that a key meets its value, and a memory."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(2 * PAIRS, WIDTH)
        self.convolution, self.norm = ShortConvolution(WIDTH), nn.LayerNorm(WIDTH)
        self.memory = DeepShallowMemory(DeepShallowMemoryConfig(WIDTH, heads=2))
        self.out = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 2 * PAIRS))

    def forward(self, ids):
        ptr = torch.arange(0, ids.numel() + 1, ids.shape[1])
        h, _ = self.convolution(self.embedding(ids.flatten()), ptr)
        h = h + self.memory(self.norm(h), ptr)[0]
        return self.out(h).view(*ids.shape, -1)[:, -PAIRS:]

    def forget_nothing(self):
        """Take away the gates that let what is old fade: what is outdated has to be overwritten."""
        with torch.no_grad():
            self.memory.keep.weight.zero_()
            self.memory.keep.bias.fill_(-20.0)
        self.memory.keep.requires_grad_(False)
        self.memory.log_rate.requires_grad_(False)


def draw(rng, examples):
    """Every key with a value, every key again with another, then the keys alone, and the values that hold now."""

    def shuffled():
        return torch.rand(examples, PAIRS, generator=rng).argsort(-1)

    def paired(keys):
        values = torch.randint(PAIRS, 2 * PAIRS, (examples, PAIRS), generator=rng)
        return torch.stack([keys, values], -1).flatten(1), values

    keys, order = shuffled(), shuffled()
    (before, _), (now, values) = paired(shuffled()), paired(keys)
    return torch.cat([before, now, keys.gather(1, order)], 1), values.gather(1, order)


def share_learned(rng, steps=250):
    reader = Reader()
    reader.forget_nothing()
    optimizer = torch.optim.Adam(reader.parameters(), lr=1e-2)
    for step in range(steps):
        ids, values = draw(rng, EXAMPLES)
        optimizer.param_groups[0]["lr"] = 1e-2 * min(1, (step + 1) / 30)
        optimizer.zero_grad()
        F.cross_entropy(reader(ids).flatten(0, 1), values.flatten()).backward()
        nn.utils.clip_grad_norm_(reader.parameters(), 1.0)
        optimizer.step()
    ids, values = draw(rng, 211)
    return (reader(ids).argmax(-1) == values).double().mean()


def test_it_learns_to_overwrite_what_no_longer_holds(rng):
    assert share_learned(rng) > 0.95


def test_a_memory_of_values_instead_of_residuals_does_not(rng, monkeypatch):
    monkeypatch.setattr(compiled, "_library", lambda: None)
    monkeypatch.setattr(memory_chunks, "_solve", lambda key, value, *_: (value, torch.zeros_like(key)))
    assert share_learned(rng) < 0.75
