import copy
import pickle
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Batch
from torch_geometric.loader import DataLoader

from structformer.tokens import TokenSet


def random_tokens(sizes: list[int], seed: int = 0, **extra: Any) -> TokenSet:
    """Sets of the given sizes with about two edges a token, every kind of field present."""
    generator = torch.Generator().manual_seed(seed)
    total, ptr = sum(sizes), torch.tensor([0, *sizes]).cumsum(0)
    ends = []
    for start, size in zip(ptr[:-1].tolist(), sizes, strict=True):
        if size:
            ends.append(start + torch.randint(0, size, (2, 2 * size), generator=generator))
    edge_index = torch.cat([torch.empty(2, 0, dtype=torch.long), *ends], dim=1)
    # Edges of different sets interleaved: nothing may rely on their order.
    edge_index = edge_index[:, torch.randperm(edge_index.shape[1], generator=generator)]
    return TokenSet(
        torch.rand(total, 3, generator=generator),
        ptr,
        edge_index,
        edge_attr=torch.arange(edge_index.shape[1]).float()[:, None],
        token_type=torch.arange(total),
        code=torch.arange(total) * 2,
        y=torch.arange(len(sizes)) * 10,
        names=[f"t{i}" for i in range(total)],
        set_names=[f"s{i}" for i in range(len(sizes))],
        train_mask=torch.arange(total) % 2 == 0,
        token_weight=torch.arange(total).float(),
        edge_kind=torch.arange(edge_index.shape[1]),
        set_weight=torch.arange(len(sizes)).float(),
        **extra,
    )


def describe(tokens: TokenSet, index: int) -> dict[str, Any]:
    """Everything about one set, in terms that do not depend on where its tokens stand."""
    start, end = tokens.ptr[index : index + 2].tolist()
    assert tokens.names is not None
    assert tokens.set_names is not None
    assert isinstance(tokens.y, torch.Tensor)
    members = {
        name: (
            tokens.x[t].tolist(),
            int(tokens.token_type[t]),
            int(tokens.code[t]),
            bool(tokens["train_mask"][t]),
            float(tokens["token_weight"][t]),
        )
        for t, name in enumerate(tokens.names)
        if start <= t < end
    }
    edges = {
        (tokens.names[source], tokens.names[target], float(attribute), int(kind))
        for (source, target), attribute, kind in zip(
            tokens.edge_index.T.tolist(), tokens.edge_attr[:, 0], tokens["edge_kind"], strict=True
        )
        if start <= source < end
    }
    level = (int(tokens.y[index]), tokens.set_names[index], float(tokens["set_weight"][index]))
    return {"tokens": members, "edges": edges, "set": level}


def same(a: TokenSet, b: TokenSet) -> bool:
    return a.num_sets == b.num_sets and all(describe(a, i) == describe(b, i) for i in range(a.num_sets))


def test_sizes_and_set_index():
    tokens = random_tokens([2, 0, 5, 3])
    assert (tokens.num_tokens, tokens.num_sets) == (10, 4)
    assert tokens.sizes.tolist() == [2, 0, 5, 3]
    assert tokens.set_index.tolist() == [0, 0, 2, 2, 2, 2, 2, 3, 3, 3]
    assert tokens.num_nodes == 10


def test_one_set_by_default():
    tokens = TokenSet(torch.rand(7, 2), y=3.5)
    assert tokens.ptr.tolist() == [0, 7]
    assert tokens.y.tolist() == [3.5]
    assert TokenSet(torch.rand(7, 2), y=torch.tensor(2)).y.tolist() == [2]
    assert tokens.names is None
    assert tokens.set_names is None
    assert tokens.token_type is None
    assert tokens.code is None


def test_no_tokens_and_no_arguments():
    empty = TokenSet(torch.rand(0, 3), torch.tensor([0]), set_names=[])
    assert (empty.num_tokens, empty.num_sets) == (0, 0)
    assert empty.set_index.tolist() == []
    assert empty.select(torch.tensor([], dtype=torch.long)).num_sets == 0
    nothing = TokenSet()
    assert (nothing.num_tokens, nothing.num_sets) == (0, 0)
    assert repr(nothing) == "TokenSet(0 tokens, 0 sets)"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"x": None, "y": 1.0}, "x must be given"),
        (
            {"x": torch.rand(5)},
            r"x must be a float tensor \[tokens, features\] \(got torch.float32 of shape \[5\]\)",
        ),
        ({"x": torch.ones(5, 2, dtype=torch.long)}, "got torch.int64"),
        ({"x": torch.tensor([[1.0, 2.0]] * 4 + [[0.0, torch.nan]])}, "token 4 of set 1, feature 1 is nan"),
        ({"ptr": torch.tensor([0.0, 5.0])}, "ptr must be a vector of int64"),
        ({"ptr": torch.tensor([1, 5])}, "ptr must rise from 0"),
        ({"ptr": torch.tensor([0, 3])}, r"to the number of tokens, 5 \(got \[0, 3\]\)"),
        ({"ptr": torch.tensor([0, 4, 3, 5])}, "ptr must rise"),
        (
            {"edge_index": torch.tensor([[0, 0, 0, 17], [1, 1, 1, 0]])},
            "edge 3 names token 17, but there are 5",
        ),
        ({"edge_index": torch.tensor([[0, 0], [1, -1]])}, "edge 1 names token -1"),
        ({"edge_index": torch.tensor([[0, 0], [1, 4]])}, "edge 1 joins a token of set 0 to one of set 1"),
        ({"edge_index": torch.rand(2, 3)}, "edge_index must be int64"),
        ({"edge_index": torch.tensor([0, 1])}, r"of shape \[2\]"),
        ({"edge_attr": torch.rand(2, 1)}, "edge_index must be given with edge_attr"),
        (
            {"edge_index": torch.tensor([[0], [1]]), "edge_attr": torch.rand(2, 1)},
            r"each edge \(1\) \(got 2\)",
        ),
        ({"token_type": torch.zeros(4, dtype=torch.long)}, r"token_type .* each token \(5\) \(got 4\)"),
        ({"code": torch.zeros(5)}, r"code must be int64 \(got torch.float32\)"),
        ({"y": torch.zeros(3)}, r"y must have one row for each token \(5\) or set \(2\) \(got 3\)"),
        ({"names": ["a"]}, r"names must have one row for each token \(5\) \(got 1\)"),
        ({"set_names": ["a"]}, r"set_names must have one row for each set \(2\) \(got 1\)"),
        ({"val_mask": torch.ones(2, dtype=torch.bool)}, "val_mask must have one row for each token"),
    ],
)
def test_bad_fields_are_named(fields: dict[str, Any], message: str):
    good: dict[str, Any] = {"x": torch.rand(5, 2), "ptr": torch.tensor([0, 2, 5])}
    with pytest.raises(ValueError, match=message):
        TokenSet(**(good | fields))


sizes_strategy = st.lists(st.integers(0, 7), min_size=1, max_size=7)


@settings(deadline=None, max_examples=40)
@given(sizes_strategy, st.data())
def test_select_takes_everything_along(sizes: list[int], data: st.DataObject):
    tokens = random_tokens(sizes, seed=len(sizes))
    chosen = data.draw(st.lists(st.integers(0, len(sizes) - 1), max_size=9))
    part = tokens.select(torch.tensor(chosen, dtype=torch.long))
    assert part.sizes.tolist() == [sizes[i] for i in chosen]
    for place, index in enumerate(chosen):
        assert describe(part, place) == describe(tokens, index)
    edge_set = part.set_index[part.edge_index]
    assert edge_set[0].equal(edge_set[1])


@settings(deadline=None, max_examples=40)
@given(sizes_strategy, st.randoms(use_true_random=False))
def test_permute_changes_order_and_nothing_else(sizes: list[int], random: Any):
    tokens = random_tokens(sizes)
    start, perm = 0, []
    for size in sizes:
        perm += random.sample(range(start, start + size), size)
        start += size
    moved = tokens.permute(torch.tensor(perm, dtype=torch.long))
    assert moved.names == [f"t{i}" for i in perm]
    assert same(moved, tokens)


@settings(deadline=None, max_examples=25)
@given(st.lists(sizes_strategy, min_size=1, max_size=4))
def test_cat_is_undone_by_select(parts: list[list[int]]):
    sets = [random_tokens(sizes, seed=i) for i, sizes in enumerate(parts)]
    joined = TokenSet.cat(sets)
    assert joined.sizes.tolist() == [size for part in parts for size in part]
    start = 0
    for part in sets:
        assert same(joined.select(torch.arange(start, start + part.num_sets)), part)
        start += part.num_sets


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (torch.tensor([0, 2]), r"sets must be from 0 to 1 \(got 2\)"),
        (torch.tensor([-1]), r"\(got -1\)"),
        (torch.tensor([True, False]), "sets must be a vector of int64"),
        (torch.tensor(1), "sets must be a vector"),
    ],
)
def test_select_names_what_is_wrong(sets: torch.Tensor, message: str):
    with pytest.raises(ValueError, match=message):
        random_tokens([2, 3]).select(sets)


@pytest.mark.parametrize(
    ("perm", "message"),
    [
        ([0, 1, 2, 3], "each of the 5 tokens once"),
        ([0, 1, 2, 3, 3], "each of the 5 tokens once"),
        ([0, 2, 1, 3, 4], r"token 2 leaves set 1"),
    ],
)
def test_permute_names_what_is_wrong(perm: list[int], message: str):
    with pytest.raises(ValueError, match=message):
        random_tokens([2, 3]).permute(torch.tensor(perm))


def test_targets_of_tokens_move_with_tokens():
    tokens = TokenSet(torch.rand(5, 2), torch.tensor([0, 2, 5]), y=torch.arange(5))
    assert tokens.select(torch.tensor([1, 0])).y.tolist() == [2, 3, 4, 0, 1]
    assert tokens.permute(torch.tensor([1, 0, 2, 4, 3])).y.tolist() == [1, 0, 2, 4, 3]


def test_fields_of_the_whole_batch_stay():
    text = torch.rand(5, 4)
    tokens = random_tokens([2, 3], text=text, text_strings=["a"] * 5)
    assert tokens.select(torch.tensor([1]))["text"] is text
    assert tokens.permute(torch.tensor([1, 0, 2, 3, 4]))["text"] is text
    joined = TokenSet.cat([tokens, tokens])
    assert joined["text"].equal(text)
    assert joined["text_strings"] == ["a"] * 5
    with pytest.raises(ValueError, match="text belongs to the whole batch and differs"):
        TokenSet.cat([tokens, random_tokens([2, 3], text=text + 1, text_strings=["a"] * 5)])


def test_one_token_for_each_set_follows_the_sets():
    rows = TokenSet(torch.arange(3.0)[:, None], names=["p", "q", "r"])
    tokens = random_tokens([2, 1, 4], rows=rows)
    part = tokens.select(torch.tensor([2, 0]))
    assert part["rows"].names == ["r", "p"]
    assert part["rows"].x[:, 0].tolist() == [2, 0]
    assert part["rows"].ptr.tolist() == [0, 2]
    joined = TokenSet.cat([part, tokens])["rows"]
    assert joined.names == ["r", "p", "p", "q", "r"]
    assert joined.ptr.tolist() == [0, 5]
    assert tokens.permute(torch.arange(7))["rows"].names == ["p", "q", "r"]


def test_cat_wants_the_same_fields():
    with pytest.raises(ValueError, match="at least one TokenSet"):
        TokenSet.cat([])
    with pytest.raises(ValueError, match="'code' is missing from some, see part 1"):
        TokenSet.cat([TokenSet(torch.rand(2, 1), code=torch.zeros(2).long()), TokenSet(torch.rand(3, 1))])


def test_pyg_batches_single_sets():
    tokens = random_tokens([2, 5, 3])
    singles = [tokens.select(torch.tensor([i])) for i in range(3)]
    batch = Batch.from_data_list(singles)
    assert isinstance(batch, TokenSet)
    assert batch.ptr.tolist() == [0, 2, 7, 10]
    assert same(batch, tokens)
    assert batch.names == tokens.names
    assert batch.set_names == tokens.set_names
    for i, single in enumerate(batch.to_data_list()):
        assert single.num_sets == 1
        assert same(single, singles[i])
    assert same(batch.select(torch.tensor([2, 0])), tokens.select(torch.tensor([2, 0])))
    assert same(TokenSet.cat([batch, batch]), TokenSet.cat([tokens, tokens]))
    assert same(pickle.loads(pickle.dumps(batch)), tokens)


def test_data_loader():
    tokens = random_tokens([2, 5, 3, 1, 4])
    singles = [tokens.select(torch.tensor([i])) for i in range(5)]
    batches = list(DataLoader(singles, batch_size=2))
    assert [batch.sizes.tolist() for batch in batches] == [[2, 5], [3, 1], [4]]
    assert same(batches[1], tokens.select(torch.tensor([2, 3])))


def test_pyg_does_not_merge_sets_silently():
    with pytest.raises(ValueError, match=r"one set each \(got one of 2 sets\); use TokenSet.cat"):
        Batch.from_data_list([random_tokens([2, 3]), random_tokens([1, 1])])


def test_copies():
    tokens = random_tokens([2, 0, 3])
    for again in (
        copy.copy(tokens),
        copy.deepcopy(tokens),
        pickle.loads(pickle.dumps(tokens)),
        tokens.clone(),
    ):
        assert isinstance(again, TokenSet)
        assert same(again, tokens)


def test_to_moves_every_tensor():
    moved = random_tokens([2, 3], rows=TokenSet(torch.rand(2, 1))).to("meta")
    assert moved.x.device.type == moved.ptr.device.type == moved.edge_index.device.type == "meta"
    assert moved["rows"].x.device.type == "meta"


def test_repr():
    tokens = TokenSet(torch.rand(1, 3), edge_index=torch.tensor([[0], [0]]), y=1.0, names=["a"])
    assert repr(tokens) == "TokenSet(1 token, 1 set, 3 features, 1 edge, names, y)"
