"""The table model: a row is read as its cells, then listens to the training rows most like it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from structformer.graph import TokenGraph
from structformer.models.choice import build_encoder, encoder_config
from structformer.models.encoder import Encoded
from structformer.nn.asam import ASAM, ASAMConfig
from structformer.nn.dropout import Dropout
from structformer.nn.embedding import CellEmbedding
from structformer.nn.feedforward import FeedForward
from structformer.nn.linear import Linear
from structformer.nn.readout import SetPooling
from structformer.nn.soes import SOES, SOESConfig
from structformer.tokenize.columns import Column
from structformer.tokens import TokenSet


@dataclass(frozen=True)
class TableModelConfig:
    """What a table model is made of.

    Attributes:
        width: Features of a cell and of a row, D.
        cell_steps: Times that the cells of a row attend to each other.
        row_steps: Times that rows attend to training rows.
        heads: Attention heads.
        cell_neighbors: Cells that a cell may listen to.
        row_neighbors: Training rows that a row may listen to.
        dropout: Probability of dropping a feature or an attention weight.
        cell_dropout: Probability of hiding a whole cell in training.
        bins: Pieces of the function that embeds a number.
        model: What encodes the cells of a row: "soes" or "ressformer".
        options: Further fields of that encoder's config by name; None is none.
        local: Whether rows are told apart by the range of their likeness (`SOESConfig.local`).
    """

    width: int = 64
    cell_steps: int = 1
    row_steps: int = 1
    heads: int = 4
    cell_neighbors: int = 8
    row_neighbors: int = 32
    dropout: float = 0.1
    cell_dropout: float = 0.1
    bins: int = 16
    model: str = "soes"
    options: Mapping[str, Any] | None = None
    local: bool = True


@dataclass(frozen=True)
class RowMemory:
    """The training rows as new rows see them.

    Attributes:
        states: [rows, width], as read from their cells.
        labels: Their targets as features [rows, label_features]: one-hot classes, or standardised numbers.
    """

    states: Float[Tensor, "rows width"]
    labels: Float[Tensor, "rows features"]


@dataclass
class TableOutput:
    """What a table model returns: outputs, row states, row graphs, the encoded cells, and what cells say themselves."""

    outputs: Float[Tensor, "rows outputs"]
    rows: Float[Tensor, "rows width"]
    row_graphs: list[TokenGraph]
    cells: Encoded
    said: Float[Tensor, "rows said"] | None = None


class CellReadout(nn.Module):
    """Read numbers out of each cell's own state, by a map of its column's own.

    What a cell knows of a value that is hidden from it, it has from the cells it listens to: their graph learns which
    columns depend on which.

    Args:
        width: Features of a cell.
        sizes: Numbers to read out of the cells of each column; 0 is none.
    """

    def __init__(self, width: int, sizes: Sequence[int]) -> None:
        super().__init__()
        self.columns = [place for place, size in enumerate(sizes) if size]
        self.maps = nn.ModuleList(Linear(width, size) for size in sizes if size)

    def forward(self, cells: Float[Tensor, "rows columns width"]) -> Float[Tensor, "rows said"]:
        """Return what is read, column beside column."""
        parts = [read(cells[:, place]) for place, read in zip(self.columns, self.maps, strict=True)]
        return torch.cat(parts, dim=1) if parts else cells.new_zeros(len(cells), 0)


class RowBlock(nn.Module):
    """Rows listen to the rows most like them, whose messages carry their targets (cf. TabR, 2307.14338).

    With no label features there are no targets to carry, and messages are the rows' states alone.
    """

    def __init__(self, config: TableModelConfig, label_features: int) -> None:
        super().__init__()
        width = config.width
        self.norm = nn.LayerNorm(width)
        # The rows nearest to one are about as near as each other: told apart by their range, some count for more.
        structure = SOESConfig(
            width=width,
            neighbors=config.row_neighbors,
            affinity=max(16, width // 2),
            sharpness=4.0 if config.local else 8.0,
            local=config.local,
        )
        self.structure = SOES(structure)
        self.attention = ASAM(ASAMConfig(width=width, heads=config.heads, dropout=config.dropout))
        self.label = Linear(label_features, width) if label_features else None
        self.norm_feedforward = nn.LayerNorm(width)
        self.feedforward = FeedForward(width, 2.0, config.dropout)
        self.dropout = Dropout(config.dropout)

    def forward(
        self,
        h: Float[Tensor, "rows width"],
        source: Float[Tensor, "sources width"],
        labels: Float[Tensor, "sources features"],
        same: bool = False,
    ) -> tuple[Float[Tensor, "rows width"], TokenGraph]:
        """Return the rows' next states and the row graph.

        Args:
            h: States of the rows that listen.
            source: States of the rows listened to.
            labels: Targets of the rows listened to, as features.
            same: Both are the same rows; none then listens to itself.
        """
        x, said = self.norm(h), self.norm(source)
        graph = self.structure(x, source=said, exclude_self=same)
        message = said if self.label is None else said + self.label(labels)
        h = h + self.dropout(self.attention(x, graph, source=said, message=message))
        h = h + self.dropout(self.feedforward(self.norm_feedforward(h)))
        return h, graph


class TableModel(nn.Module):
    """Cells → row → most similar training rows → outputs.

    In training the rows of a batch listen to each other, labels included, and never to themselves. At
    prediction each row listens to the :class:`RowMemory` alone, so that its result does not depend on the
    other new rows. In every step the rows listened to are as read from their cells: a row that has heard
    its neighbours has heard their labels, and would hand a training row's own label back to it.

    Args:
        columns: The columns, in the order of their cells.
        outputs: Numbers to read out of a row.
        label_features: Features of a target that a row listened to carries; 0 is none.
        config: What the model is made of.
        text_features: Features of a text.
        cell_outputs: Numbers to read out of the cells of each column (`CellReadout`); empty reads none.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        outputs: int,
        label_features: int,
        config: TableModelConfig,
        text_features: int = 0,
        cell_outputs: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.embedding = CellEmbedding(columns, width, config.bins, text_features)
        self.cells = build_encoder(
            encoder_config(
                config.model,
                config.options,
                width=width,
                steps=config.cell_steps,
                heads=config.heads,
                neighbors=config.cell_neighbors,
                dropout=config.dropout,
                edge_features=0,
            )
        )
        # Columns have names, so each may have a read-out of its own without any order among them.
        self.by_column = Linear(len(columns) * width, width)
        self.pooling = SetPooling(width, config.heads)
        self.cell_readout = CellReadout(width, cell_outputs) if any(cell_outputs) else None
        self.dropout = Dropout(config.dropout)
        self.blocks = nn.ModuleList(RowBlock(config, label_features) for _ in range(config.row_steps))
        self.norm = nn.LayerNorm(width)
        self.head = Linear(width, outputs)

    def forward(
        self,
        cells: TokenSet,
        labels: Float[Tensor, "rows features"] | None = None,
        memory: RowMemory | None = None,
    ) -> TableOutput:
        """Return the outputs of each row.

        Args:
            cells: Cells of the rows, as ``TableTokenizer`` makes them.
            labels: Targets of these rows as features; the rows then listen to each other (training).
            memory: Training rows to listen to instead (prediction).

        Raises:
            ValueError: Neither labels nor memory are given.
        """
        encoded, read = self.read(cells)
        same = memory is None
        if memory is None:
            if labels is None:
                raise ValueError("labels or memory must be given (got neither)")
            memory = RowMemory(read, labels)
        h = read
        graphs: list[TokenGraph] = []
        for block in self.blocks:
            h, graph = block(h, memory.states, memory.labels, same)
            graphs.append(graph)
        said = None
        if self.cell_readout is not None:
            columns = self.by_column.in_features // self.config.width
            said = self.cell_readout(encoded.tokens.view(cells.num_sets, columns, self.config.width))
        return TableOutput(self.head(self.norm(h)), h, graphs, encoded, said)

    def read(self, cells: TokenSet) -> tuple[Encoded, Float[Tensor, "rows width"]]:
        """Return the encoded cells and one vector a row."""
        h = self.embedding(cells.x, cells.code, cells.get("text"))
        if self.training and self.config.cell_dropout:
            h = h * (torch.rand(len(h), 1, device=h.device) >= self.config.cell_dropout)
        encoded = self.cells(h, cells.ptr)
        side_by_side = encoded.tokens.reshape(cells.num_sets, self.by_column.in_features)
        pooled = self.pooling(encoded.tokens, cells.ptr)
        return encoded, self.by_column(self.dropout(side_by_side)) + pooled
