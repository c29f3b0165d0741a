"""TokenSet: sets of tokens, packed one after another into one batch."""

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from jaxtyping import Int
from torch import Tensor
from torch_geometric.data import Data

from structformer.token_checks import check_fields


class TokenSet(Data):
    """A packed batch of unordered sets of tokens, and a PyG `Data`.

    Set b holds the tokens `ptr[b]` to `ptr[b + 1] - 1`. Fields are tensors or lists; by their name
    they belong to tokens, edges or sets, and move with them in `select`, `permute` and `cat`:

    - tokens: `x`, `token_type`, `code`, `names`, and every field called `token_...` or `..._mask`;
    - edges: `edge_index`, `edge_attr`, and every field called `edge_...`;
    - sets: `set_names`, and every field called `set_...`;
    - `y` belongs to sets when it has one row for each set, otherwise to tokens;
    - a TokenSet with one token for each set, such as `rows` beside the cells of a table, follows the sets;
    - any other field belongs to the whole batch and stays as it is.

    `torch_geometric.loader.DataLoader` and `Batch.from_data_list` pack TokenSets of one set each;
    `TokenSet.cat` packs any.

    Args:
        x: `[tokens, features]` float, finite.
        ptr: `[sets + 1]` int64 boundaries of the sets; by default one set holds all tokens.
        edge_index: `[2, edges]` int64, sources in row 0 and targets in row 1, inside a set.
        edge_attr: `[edges, attributes]`.
        token_type: `[tokens]` int64 kind of each token, such as its column.
        code: `[tokens]` int64 identity of each token within its type.
        y: Targets, one row for each set or each token; a number for a single set.
        names: One name for each token.
        set_names: One name for each set.
        **extra: Further fields, named by the rules above.

    Raises:
        ValueError: If a field has the wrong shape or type, is not finite, or an edge names a token
            that does not exist or joins two sets. The message names the culprit.

    Example:
        >>> tokens = TokenSet(torch.rand(5, 3), ptr=torch.tensor([0, 2, 5]))
        >>> tokens.sizes, tokens.set_index
        (tensor([2, 3]), tensor([0, 0, 1, 1, 1]))
        >>> tokens.select(torch.tensor([1]))
        TokenSet(3 tokens, 1 set, 3 features)
    """

    token_fields: ClassVar[tuple[str, ...]] = ("x", "token_type", "code", "names")

    if TYPE_CHECKING:
        # PyG allows a Data without features; a TokenSet that holds anything has them.
        x: Tensor  # pyright: ignore[reportIncompatibleMethodOverride, reportIncompatibleVariableOverride]

    def __init__(
        self,
        x: Tensor | None = None,
        ptr: Tensor | None = None,
        edge_index: Tensor | None = None,
        edge_attr: Tensor | None = None,
        token_type: Tensor | None = None,
        code: Tensor | None = None,
        y: Tensor | float | None = None,
        names: Sequence[str] | None = None,
        set_names: Sequence[Any] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__()
        fields = {
            "x": x,
            "ptr": ptr,
            "edge_index": edge_index,
            "edge_attr": edge_attr,
            "token_type": token_type,
            "code": code,
            "y": _rows(y),
            "names": None if names is None else list(names),
            "set_names": None if set_names is None else list(set_names),
            **extra,
        }
        given = {key: value for key, value in fields.items() if value is not None}
        # PyG builds empty instances and fills them itself.
        if not given:
            return
        if x is None:
            raise ValueError("x must be given with the other fields (got None)")
        if ptr is None:
            given["ptr"] = torch.tensor([0, x.shape[0]], device=x.device)
        for key, value in given.items():
            self[key] = value
        check_fields(self)

    @property
    def ptr(self) -> Int[Tensor, "boundaries"]:
        """`[sets + 1]` boundaries of the sets."""
        if "ptr" in self._store:
            return self._store["ptr"]
        # What PyG takes out of a Batch is one set and comes without boundaries.
        return torch.tensor([0] if self.x is None else [0, self.num_tokens])

    @property
    def token_type(self) -> Tensor | None:
        """`[tokens]` kind of each token, or None."""
        return self._store.get("token_type")

    @property
    def code(self) -> Tensor | None:
        """`[tokens]` identity of each token within its type, or None."""
        return self._store.get("code")

    @property
    def names(self) -> list[str] | None:
        """One name for each token, or None."""
        return _flat(self._store.get("names"))

    @property
    def set_names(self) -> list[Any] | None:
        """One name for each set, or None."""
        return _flat(self._store.get("set_names"))

    @property
    def num_tokens(self) -> int:
        """Number of tokens of all sets."""
        return 0 if self.x is None else self.x.shape[0]

    @property
    def num_sets(self) -> int:
        """Number of sets."""
        return self.ptr.numel() - 1

    @property
    def sizes(self) -> Int[Tensor, "sets"]:
        """`[sets]` number of tokens of each set."""
        return self.ptr.diff()

    @property
    def set_index(self) -> Int[Tensor, "tokens"]:
        """`[tokens]` the set each token is in."""
        sets = torch.arange(self.num_sets, device=self.ptr.device)
        return torch.repeat_interleave(sets, self.sizes, output_size=self.num_tokens)

    def select(self, sets: Tensor) -> "TokenSet":
        """The sets with these numbers, in this order, with everything that belongs to them.

        Args:
            sets: `[chosen]` int64 numbers of sets; one may be named several times.

        Raises:
            ValueError: If `sets` is not a vector of int64 or names a set that does not exist.
        """
        if sets.ndim != 1 or sets.dtype != torch.long:
            raise ValueError(f"sets must be a vector of int64 (got {sets.dtype} of shape {list(sets.shape)})")
        sets = sets.to(self.ptr.device)
        outside = (sets < 0) | (sets >= self.num_sets)
        if outside.any():
            raise ValueError(f"sets must be from 0 to {self.num_sets - 1} (got {int(sets[outside][0])})")
        tokens, ptr = _ragged(self.ptr, sets)
        edges = None
        fields: dict[str, Any] = {"ptr": ptr}
        if self.edge_index is not None:
            edge_set = self.set_index[self.edge_index[0]]
            order = torch.argsort(edge_set, stable=True)
            counts = torch.bincount(edge_set, minlength=self.num_sets)
            chosen, edge_ptr = _ragged(_boundaries(counts), sets)
            edges = order[chosen]
            shift = torch.repeat_interleave(ptr[:-1] - self.ptr[sets], edge_ptr.diff())
            fields["edge_index"] = self.edge_index[:, edges] + shift
        return self._moved(fields, tokens, edges, sets)

    def permute(self, perm: Tensor) -> "TokenSet":
        """The same sets with their tokens in another order; everything that belongs to them follows.

        Args:
            perm: `[tokens]` int64; token t of the result is token `perm[t]` of this one, and of
                the same set.

        Raises:
            ValueError: If `perm` is not a permutation of the tokens or moves one to another set.
        """
        perm = perm.to(self.ptr.device)
        everyone = torch.arange(self.num_tokens, device=perm.device)
        if perm.shape != everyone.shape or perm.dtype != torch.long or not perm.sort()[0].equal(everyone):
            raise ValueError(
                f"perm must hold each of the {self.num_tokens} tokens once, as int64 (got {perm})"
            )
        home = self.set_index
        moved = (home[perm] != home).nonzero()
        if moved.numel():
            token = int(perm[moved[0]])
            raise ValueError(
                f"perm must keep every token in its set (token {token} leaves set {int(home[token])})"
            )
        fields: dict[str, Any] = {"ptr": self.ptr}
        if self.edge_index is not None:
            new_place = torch.empty_like(perm)
            new_place[perm] = everyone
            fields["edge_index"] = new_place[self.edge_index]
        return self._moved(fields, perm, None, None)

    def _moved(
        self, fields: dict[str, Any], tokens: Tensor, edges: Tensor | None, sets: Tensor | None
    ) -> "TokenSet":
        """A TokenSet of `fields` and of this one's others, their rows taken by the given indices."""
        out = TokenSet()
        rows = {"token": tokens, "edge": edges, "set": sets, "batch": None}
        for key, value in fields.items():
            out[key] = value
        for key in self.keys():
            # PyG's Batch stores `batch`; it is `set_index` here.
            if key not in fields and key != "batch":
                value = _flat(self[key]) if key in ("names", "set_names") else self[key]
                out[key] = _take(value, rows[self._level(key)])
        return out

    @classmethod
    def cat(cls, parts: Sequence["TokenSet"]) -> "TokenSet":
        """All sets of `parts`, one after another.

        Raises:
            ValueError: If `parts` is empty, its members do not have the same fields, or a field of
                the whole batch differs between them.
        """
        if not parts:
            raise ValueError("parts must hold at least one TokenSet (got none)")
        out = TokenSet()
        keys = [key for key in dict(parts[0]) if key not in ("ptr", "batch")]
        for i, part in enumerate(parts):
            odd = set(keys) ^ (dict(part).keys() - {"ptr", "batch"})
            if odd:
                raise ValueError(
                    f"parts must have the same fields ({min(odd)!r} is missing from some, see part {i})"
                )
        out["ptr"] = _boundaries(torch.cat([part.sizes for part in parts]))
        offsets = _boundaries(torch.tensor([part.num_tokens for part in parts])).tolist()
        for key in keys:
            values = [_flat(part[key]) if key in ("names", "set_names") else part[key] for part in parts]
            if key == "edge_index":
                values = [value + offset for value, offset in zip(values, offsets, strict=False)]
                out[key] = torch.cat(values, dim=1)
            elif parts[0]._level(key) == "batch":
                if not all(_same(values[0], value) for value in values):
                    raise ValueError(f"{key} belongs to the whole batch and differs between parts")
                out[key] = values[0]
            else:
                out[key] = _joined(values)
        return out

    def _level(self, key: str) -> str:
        """What a field belongs to: "token", "edge", "set" or the whole "batch"."""
        if key in self.token_fields or key.startswith("token_") or key.endswith("_mask"):
            return "token"
        if key.startswith(("edge_", "set_")):
            return key.split("_")[0]
        value = self[key]
        if key == "y" and isinstance(value, Tensor):
            return "set" if len(value) == self.num_sets else "token"
        follows = isinstance(value, TokenSet) and value.num_tokens == self.num_sets
        return "set" if follows and value.edge_index is None else "batch"

    def __cat_dim__(self, key: str, value: Any, *args: Any, **kwargs: Any) -> Any:
        return -1 if key == "edge_index" else 0

    def __inc__(self, key: str, value: Any, *args: Any, **kwargs: Any) -> Any:
        # PyG's collation asks this of every member, and would merge a member's sets into one.
        if self.num_sets != 1:
            raise ValueError(
                f"PyG batches TokenSets of one set each (got one of {self.num_sets} sets); use TokenSet.cat"
            )
        return self.num_tokens if key == "edge_index" else 0

    def _repr_html_(self) -> str:
        """What a notebook shows: fields, first names, how large the sets are."""
        from structformer.tokens_html import to_html

        return to_html(self)

    def __repr__(self) -> str:
        parts = [_count(self.num_tokens, "token"), _count(self.num_sets, "set")]
        if self.x is not None:
            parts.append(_count(self.x.shape[1], "feature"))
        if self.edge_index is not None:
            parts.append(_count(self.edge_index.shape[1], "edge"))
        shown = {"x", "ptr", "edge_index", "batch"}
        return f"TokenSet({', '.join([*parts, *sorted(set(self.keys()) - shown)])})"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _flat(names: Any) -> Any:
    """Names as one list; PyG's Batch keeps a list of each member's names."""
    return [*chain(*names)] if names and all(isinstance(part, list) for part in names) else names


def _boundaries(sizes: Tensor) -> Tensor:
    return torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])


def _rows(y: Tensor | float | None) -> Tensor | None:
    """Targets with a row dimension; a number is one row."""
    if y is None:
        return None
    rows = torch.as_tensor(y)
    return rows.reshape(1) if rows.ndim == 0 else rows


def _ragged(ptr: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Positions of all members of the chosen segments, in order, and the new boundaries."""
    boundaries = _boundaries(ptr.diff()[chosen])
    total = int(boundaries[-1])
    shift = torch.repeat_interleave(ptr[chosen] - boundaries[:-1], boundaries.diff(), output_size=total)
    return torch.arange(total, device=ptr.device) + shift, boundaries


def _take(value: Any, rows: Tensor | None) -> Any:
    if rows is None:
        return value
    if isinstance(value, TokenSet):
        return value._moved({"ptr": rows.new_tensor([0, len(rows)])}, rows, None, None)
    return value[rows] if isinstance(value, Tensor) else [value[i] for i in rows.tolist()]


def _joined(values: list[Any]) -> Any:
    if isinstance(values[0], TokenSet):
        # One token for each outer set, all in one set of their own.
        joined = TokenSet.cat(values)
        joined["ptr"] = joined.ptr[[0, -1]]
        return joined
    return torch.cat(values) if isinstance(values[0], Tensor) else [*chain(*values)]


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a is b or (a.dtype == b.dtype and a.equal(b))
    return a is b or bool(a == b)
