import pytest
import torch

from structformer.ops.search import limits


@pytest.fixture
def _tiny(monkeypatch):
    """Limits at which sets of a hundred tokens are large."""
    monkeypatch.setattr(limits, "SMALL", 12)
    monkeypatch.setattr(limits, "CROSSOVER", {"ivf": 37, "warm": 53, "lsh": 67})
    monkeypatch.setattr(limits, "CROSSOVER_DOUBLE", 73)
    monkeypatch.setattr(limits, "CELL", 17)
    monkeypatch.setattr(limits, "CACHED", 997)


@pytest.fixture
def clustered():
    """Draws unit vectors around a few directions: [tokens, affinity]."""

    def draw(tokens, affinity=7, clusters=11, seed=0, noise=0.15, dtype=torch.float64):
        generator = torch.Generator().manual_seed(seed)
        centres = torch.nn.functional.normalize(torch.randn(clusters, affinity, generator=generator), dim=1)
        own = torch.randint(clusters, (tokens,), generator=generator)
        x = centres[own] + noise * torch.randn(tokens, affinity, generator=generator)
        return torch.nn.functional.normalize(x, dim=1).to(dtype)

    return draw
