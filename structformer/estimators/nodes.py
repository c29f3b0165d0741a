"""NodeClassifier: one graph in, labels of some nodes known, a label for every node out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
from sklearn.base import ClassifierMixin
from torch.nn import functional as F

from structformer.estimators.base import Classes, run_training, seeded
from structformer.estimators.node_labels import node_labels, node_mask
from structformer.estimators.order import canonical
from structformer.estimators.packed import PackedEstimator, bare, in_double, token_input
from structformer.estimators.targets import ClassWeight, class_weights
from structformer.models.node import NodeModel
from structformer.tokenize import GraphTokenizer
from structformer.tokenize.graphs import as_list
from structformer.training import Callback, index_loader
from structformer.training.objectives import classification_loss

FEWEST_TO_HIDE = 5
"""Known labels of the rarest class from which on half of the labels are hidden, in turn, to learn from."""


class NodeClassifier(ClassifierMixin, PackedEstimator):
    def __init__(
        self,
        *,
        width: int = 64,
        steps: int = 2,
        heads: int = 4,
        neighbors: int = 8,
        dropout: float = 0.5,
        epochs: int = 100,
        learning_rate: float = 5e-3,
        weight_decay: float = 0.1,
        patience: int | None = 50,
        max_time: float | None = None,
        class_weight: ClassWeight = None,
        ignore: Sequence[str] | None = None,
        device: str = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | None = None,
        callbacks: Sequence[Callback] | None = None,
    ) -> None:
        super().__init__(
            width=width,
            steps=steps,
            heads=heads,
            neighbors=neighbors,
            dropout=dropout,
            epochs=epochs,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            patience=patience,
            max_time=max_time,
            device=device,
            random_state=random_state,
            verbose=verbose,
            callbacks=callbacks,
        )
        self.class_weight = class_weight
        self.ignore = ignore

    def fit(self, graph, y=None, train_mask=None, eval_mask=None) -> Self:
        graph = _one(graph)
        reader = GraphTokenizer()
        nodes = reader.nodes(graph)[0]
        labels, known = node_labels(y, graph, nodes)
        train = known
        if train_mask is None and not hasattr(graph, "nodes"):
            train_mask = graph.get("train_mask")
        if train_mask is not None:
            train = node_mask(train_mask, nodes, "train_mask")
            if not train.any():
                raise ValueError("no")
        self._classes = Classes.of(labels[train])
        self.classes_ = self._classes.values
        self.tokenizer_ = GraphTokenizer(ignore=self.ignore or ())
        tokens = self.tokenizer_.fit_transform(graph)
        target = np.full(len(nodes), -1)
        target[train] = self._classes.encode(labels[train])
        self._nodes = [repr(n) for n in nodes]
        self._mark = fingerprint(tokens, self._nodes)
        self._known = torch.from_numpy(target)
        seed = self._seed()
        ordered, place, _ = canonical(bare(tokens), target)
        self._input = token_input(ordered)
        self._build(self._input, self._encoder_config(self._input), seed)
        tgt = self._known[place]
        index = (tgt >= 0).nonzero().flatten()
        onehot = F.one_hot(tgt.clamp(min=0), len(self.classes_)).float() * (tgt >= 0)[:, None]
        few = int(torch.bincount(tgt[index]).min()) < FEWEST_TO_HIDE
        weights = class_weights(self.class_weight, self._classes, tgt[index])
        with torch.no_grad(): self.model_.eval(); anchor = self.model_(ordered, onehot).spread
        generator = torch.Generator().manual_seed(seed)

        def loss(model, tokens):
            visible, asked = onehot, index
            if not few:
                order = torch.randperm(len(index), generator=generator)
                hidden = index[order[: (len(index) + 1) // 2]]
                visible = onehot.clone()
                visible[hidden] = 0
                asked = hidden
            o = model(tokens, visible.to(tokens.x.device))
            out = o.outputs[asked]
            import os

            mode = os.environ.get("MODE", "a")
            l = classification_loss(out, tgt[asked].to(out.device), None, weights)
            if few:
                f = torch.where((tgt>=0)[:,None], onehot, anchor)
                if mode == "a": return F.cross_entropy(o.read, f) - (f*(o.spread+1e-3).log()).sum(-1).mean()
                top = f.topk(2).values; w = top[:,0]-top[:,1]
                return F.cross_entropy(o.read, f) - (f*(o.spread+1e-3).log()).sum(-1).mean() + (w*F.cross_entropy(o.read, f.argmax(1), reduction="none")).sum()/w.sum()
            if "d" in mode:
                f = torch.where((tgt >= 0)[:, None], onehot, o.spread.detach())
                l = l + F.cross_entropy(o.read, f)
            if "h" in mode:
                f = torch.where((tgt >= 0)[:, None], onehot, o.spread.detach())
                top = f.topk(2).values
                w = top[:, 0] - top[:, 1]
                l = l + (w * F.cross_entropy(o.read, f.argmax(1), reduction="none")).sum() / w.sum()
            if "l" in mode:
                l = l + F.cross_entropy(o.read[index], tgt[index])
            return l

        self.history_ = run_training(
            self.model_,
            index_loader(1, 1, seed, lambda _: ordered),
            loss,
            self._training_config(None),
            seed,
            callbacks=self.callbacks or (),
            verbose=self.verbose,
            title=type(self).__name__,
        )
        return self

    def _build(self, given, config, seed):
        self._exact = None
        classes = len(self._classes.values)
        self.model_ = seeded(seed, lambda: NodeModel(given, classes, config))

    def _outputs(self, graph):
        tokens = self.tokenizer_.transform(graph)
        labels = torch.zeros(tokens.num_tokens, len(self.classes_), dtype=torch.float64)
        names = [repr(n) for n in self.tokenizer_.nodes(graph)[0]]
        if fingerprint(tokens, names) == self._mark:
            at = {n: i for i, n in enumerate(self._nodes)}
            k = self._known[torch.tensor([at[n] for n in names])]
            labels = F.one_hot(k.clamp(min=0), len(self.classes_)).double() * (k >= 0)[:, None]
        from structformer.estimators.base import exact

        if self._exact is None:
            self._exact = exact(self.model_)
        with torch.no_grad():
            return self._exact(in_double(tokens), labels)

    def predict(self, graph):
        return self.classes_[self._outputs(_one(graph)).outputs.argmax(-1).numpy()]


def _one(graph):
    return as_list(graph)[0]


def fingerprint(tokens, names):
    rank = np.empty(len(names), dtype=np.int64)
    order = np.argsort(np.array(names), kind="stable")
    rank[order] = np.arange(len(names))
    e = rank[tokens.edge_index.numpy()]
    e = e[:, np.lexsort(e)]
    h = hashlib.blake2b(digest_size=16)
    h.update("\0".join(sorted(names)).encode())
    h.update(e.tobytes())
    return h.hexdigest()
