import networkx as nx
import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from structformer.estimators.order import canonical
from structformer.tokens import TokenSet

SIZES = (5, 1, 7, 11)


def packed(seed, edges=True, token_type=True):
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for i, size in enumerate(SIZES):
        x = torch.randint(0, 3, (size, 2), generator=generator).float()
        tree = nx.random_labeled_tree(size, seed=seed % 1000 + i)
        pairs = torch.tensor(list(tree.edges), dtype=torch.long).reshape(-1, 2).T
        fields = {}
        if edges:
            fields = {"edge_index": pairs, "edge_attr": torch.rand(pairs.shape[1], 3, generator=generator)}
        if token_type:
            fields["token_type"] = torch.randint(0, 2, (size,), generator=generator)
        parts.append(TokenSet(x=x, **fields))
    return TokenSet.cat(parts)


def same(a, b):
    assert dict(a).keys() == dict(b).keys()
    assert torch.equal(a.x, b.x)
    assert torch.equal(a.ptr, b.ptr)
    if a.edge_index is not None:
        # What is drawn from a token is the same wherever equal tokens stand.
        ends = [torch.cat([t.x[t.edge_index[0]], t.x[t.edge_index[1]], t.edge_attr], dim=1) for t in (a, b)]
        orders = [np.lexsort(end.numpy().T) for end in ends]
        assert torch.equal(ends[0][orders[0]], ends[1][orders[1]])


@given(seed=st.integers(0, 2**31), edges=st.booleans())
@settings(deadline=None, max_examples=25)
def test_shuffling_changes_nothing(seed, edges, shuffled):
    tokens, y = packed(seed, edges), np.array([0.5, 2.0, 0.5, -1.0])
    expected, _, place = canonical(tokens, y)
    assert not np.isnan(y[place.numpy()]).any()
    order = torch.randperm(4, generator=torch.Generator().manual_seed(seed))
    other = tokens.permute(shuffled(tokens.ptr, seed)).select(order)
    found, _, found_place = canonical(other, y[order.numpy()])
    same(found, expected)
    assert torch.equal(order[found_place], place)


def test_old_places_are_told():
    tokens = packed(3)
    tokens["token_number"] = torch.arange(tokens.num_tokens)
    ordered, place, sets = canonical(tokens, np.zeros(4))
    assert torch.equal(ordered["token_number"], place)
    assert torch.equal(ordered.x, tokens.x[place])
    assert torch.equal(ordered.sizes, tokens.sizes[sets])


def test_targets_of_tokens_move_with_them(shuffled):
    tokens = packed(5)
    target = np.arange(tokens.num_tokens) % 5
    expected, place, _ = canonical(tokens, target)
    perm = shuffled(tokens.ptr, 7)
    found, other, _ = canonical(tokens.permute(perm), target[perm.numpy()])
    same(found, expected)
    np.testing.assert_array_equal(target[perm.numpy()][other.numpy()], target[place.numpy()])


def test_what_differs_by_one_edge_or_label_or_sign_of_zero():
    x = torch.zeros(6, 1)
    ring = torch.tensor([[0, 1, 2, 3, 4, 5], [1, 2, 0, 4, 5, 3]])
    whole = torch.tensor([[0, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 0]])
    path = TokenSet(
        x=torch.zeros(12, 1), ptr=torch.tensor([0, 6, 12]), edge_index=torch.cat([whole, ring + 6], 1)
    )
    chain = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 4]])
    line = TokenSet(x=x, edge_index=chain)
    order = canonical(line, np.zeros(1))[1].tolist()
    assert sorted(order) == list(range(6))
    moved = line.permute(torch.tensor([3, 5, 1, 0, 4, 2]))
    found = canonical(moved, np.zeros(1))[0]
    assert torch.equal(
        found.edge_index.sort(dim=1).values, canonical(line, np.zeros(1))[0].edge_index.sort(dim=1).values
    )
    # Directed rings of three look like one of six to this test; nothing may break on them.
    assert canonical(path, np.zeros(2))[0].num_sets == 2
    minus = TokenSet(x=torch.tensor([[1.0], [-0.0], [2.0]]))
    plus = TokenSet(x=torch.tensor([[1.0], [0.0], [2.0]]))
    assert torch.equal(canonical(minus, np.zeros(1))[1], canonical(plus, np.zeros(1))[1])
