from itertools import chain

import pytest
import torch
from accelerate.data_loader import BatchSamplerShard

from structformer.training import EvenBatches, index_loader


@pytest.mark.parametrize(("size", "most"), [(1, 5), (5, 5), (13, 5), (97, 7)])
def test_batches_are_even_and_hold_everything_once(size, most):
    batches = [*EvenBatches(size, most, torch.Generator().manual_seed(0))]
    lengths = {len(batch) for batch in batches}
    assert max(lengths) <= most
    assert max(lengths) - min(lengths) <= 1
    assert sorted(chain(*batches)) == [*range(size)]
    assert len(batches) == len(EvenBatches(size, most, torch.Generator())) == -(-size // most)


def test_the_seed_decides_the_order_and_every_epoch_has_its_own():
    def epochs(seed):
        loader = index_loader(13, 5, seed, torch.Tensor.tolist)
        return [[*loader], [*loader]]

    assert epochs(1) == epochs(1)
    assert epochs(1) != epochs(2)
    assert epochs(1)[0] != epochs(1)[1]


def test_the_loader_hands_indices_to_collate():
    values = torch.arange(10, 17)
    loader = index_loader(7, 3, 0, lambda index: values[index])
    assert len(loader) == 3
    assert torch.cat([*loader]).sort()[0].tolist() == values.tolist()


@pytest.mark.parametrize(("size", "processes"), [(13, 2), (13, 3), (24, 2), (1, 2)])
def test_processes_share_the_batches(size, processes):
    """As accelerate deals them: no two get the same while there is enough, and all get as many."""
    shares = []
    for index in range(processes):
        batches = EvenBatches(size, 5, torch.Generator().manual_seed(3))
        shares.append([*BatchSamplerShard(batches, processes, index)])
    assert len({len(share) for share in shares}) == 1
    dealt = [thing for share in shares for batch in share for thing in batch]
    assert set(dealt) == set(range(size))
    rounds = -(-len(EvenBatches(size, 5, torch.Generator())) // processes)
    assert len(dealt) <= size + 5 * (processes * rounds - -(-size // 5))


@pytest.mark.parametrize(("size", "most", "name"), [(0, 5, "size"), (5, 0, "batch_size")])
def test_nothing_cannot_be_dealt(size, most, name):
    with pytest.raises(ValueError, match=rf"^{name} must be at least 1 \(got 0\)"):
        index_loader(size, most, 0, torch.Tensor.tolist)
