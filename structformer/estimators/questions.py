"""QuestionAnswerer: stories with questions in, answers out, and the sentences they rest on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from itertools import pairwise
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float
from sklearn.base import ClassifierMixin
from torch import Tensor, nn

from structformer.estimators.base import Classes, State, run_training, seeded
from structformer.estimators.base import StructFormerEstimator as Base
from structformer.estimators.packed import batches, joined_graph
from structformer.estimators.parts import FEWEST_TO_SPLIT, split
from structformer.estimators.pooled import Batch
from structformer.estimators.targets import class_labels
from structformer.graph import TokenGraph
from structformer.models.text_qa import TextQA, TextQAConfig, TextQAOutput
from structformer.tokenize.questions import QuestionTokenizer, read_asked
from structformer.tokens import TokenSet
from structformer.training import Callback, TrainingConfig, index_loader
from structformer.training.objectives import classification_loss

STEPS = 600
"""Training steps planned where the number of epochs is left open, within 10 to 100 epochs."""


class QuestionAnswerer(ClassifierMixin, Base):
    """Answer questions about stories, and say which sentences an answer rests on.

    Sentences are the tokens: they listen to each other, along links between those that share words and along a learned
    graph, step by step with a memory (`TextQA`); then the question weighs them, and what they say is compared with the
    answers. Answers are chosen among those of the training stories. Words are told apart as they are written, in lower
    case; those that training did not hold are all one.

    Args:
        model_options: Further settings of the network by name, such as {"experts": 4}: fields of `TextQAConfig`.
        width: Features of a word and of a sentence.
        steps: Times that sentences listen to each other.
        heads: Attention heads; must divide ``width``.
        neighbors: Sentences that a sentence may listen to besides itself and those it shares words with.
        dropout: Probability of dropping a feature or an attention weight.
        stretch: In training, sentences are told to be up to 1 + stretch times as far from the question as they are, so
            that longer stories than those trained on are nothing new.
        epochs: Most passes over the stories; None plans some 600 steps, in 10 to 100 passes.
        learning_rate: Peak learning rate.
        weight_decay: Decoupled weight decay.
        batch_size: Stories in a batch.
        patience: Epochs without a better validation score before stopping; None trains on all stories to the end.
        validation_fraction: Share of the stories held out for early stopping.
        max_time: Seconds that training may take.
        device: "auto" or "cpu".
        random_state: Seed; the same seed gives the same model.
        verbose: Show a progress bar; None shows one on a terminal only.
        callbacks: Called after each epoch with the epoch and the model; True stops training.

    Attributes:
        classes_: The answers in sorted order.
        tokenizer_: The fitted `QuestionTokenizer`.
        model_: The trained `TextQA`.
        history_: What happened in training; saved with the model.

    Examples:
        >>> import structformer as sf
        >>> story = ["Mary went to the park.", "John went to the shop."]
        >>> asked = [(story, "Where is Mary?"), (story[::-1], "Where is John?")] * 5
        >>> model = sf.QuestionAnswerer(width=16, epochs=20, random_state=0).fit(asked, ["park", "shop"] * 5)
        >>> model.predict(asked[:2]).tolist(), model.evidence(asked)[0].shape
        (['park', 'shop'], (2,))
    """

    model_: TextQA
    tokenizer_: QuestionTokenizer

    def __init__(
        self,
        *,
        model_options: Mapping[str, Any] | None = None,
        width: int = 64,
        steps: int = 3,
        heads: int = 4,
        neighbors: int = 16,
        dropout: float = 0.0,
        stretch: float = 1.0,
        epochs: int | None = None,
        learning_rate: float = 3e-3,
        weight_decay: float = 1e-2,
        batch_size: int = 32,
        patience: int | None = 15,
        validation_fraction: float = 0.1,
        max_time: float | None = None,
        device: str = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | None = None,
        callbacks: Sequence[Callback] | None = None,
    ) -> None:
        self.model_options = model_options
        self.width = width
        self.steps = steps
        self.heads = heads
        self.neighbors = neighbors
        self.dropout = dropout
        self.stretch = stretch
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.max_time = max_time
        self.device = device
        self.random_state = random_state
        self.verbose = verbose
        self.callbacks = callbacks

    def fit(self, X: Any, y: Any) -> Self:
        """Train.

        Args:
            X: Pairs of a story, a list of sentences in order, and a question.
            y: The answer to each question, a text or anything that can be written.

        Raises:
            ValueError: A pair, the answers or a parameter cannot be used; the message names the culprit.
        """
        asked = read_asked(X)
        labels = class_labels(y, len(asked), "question")
        self._classes = Classes.of(labels)
        self.classes_ = self._classes.values
        # Training sees the stories in an order of their own, so that the order they came in changes nothing.
        order = sorted(range(len(asked)), key=lambda place: (asked[place], str(labels[place])))
        texts = [str(label) for label in self.classes_.tolist()]
        self.tokenizer_ = QuestionTokenizer().fit(asked, texts)
        tokens = self.tokenizer_.transform([asked[place] for place in order])
        everything = Batch(tokens, torch.from_numpy(self._classes.encode(labels[order])), None)
        seed = self._seed()
        train, held = everything, None
        if self.validation_fraction and self.patience is not None and len(asked) >= FEWEST_TO_SPLIT:
            parts = split(len(asked), self.validation_fraction, everything.target.numpy(), seed)
            train, held = (everything.select(part) for part in parts)
        self._build(self._config(texts), seed)
        loader = index_loader(train.tokens.num_sets, self.batch_size, seed, train.select)
        self.history_ = run_training(
            self.model_,
            loader,
            _loss,
            self._training_config(len(loader), None if held is None else self.patience),
            seed,
            validate=None if held is None else lambda model: _score(model, held),
            callbacks=self.callbacks or (),
            verbose=self.verbose,
            title=type(self).__name__,
        )
        sentences = sum(len(story) for story, _ in asked)
        words = len(self.tokenizer_.words_ or ())
        self._seen = {"questions": len(asked), "sentences": sentences, "different words": words}
        return self

    def predict_proba(self, X: Any) -> Float[np.ndarray, "questions classes"]:
        """Return the probability of each answer, in the order of `classes_`.

        Args:
            X: Pairs of a story and a question.

        Raises:
            ValueError: ``X`` cannot be read; the message names the culprit.
            NotFittedError: Before `fit`.
        """
        return torch.cat([out.logits for out in self._run(read_asked(X))]).softmax(-1).numpy()

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable answer to each question; arguments and errors as in `predict_proba`."""
        place = self.predict_proba(X).argmax(-1)
        return self.classes_[place]

    def evidence(self, X: Any) -> list[Float[np.ndarray, "sentences"]]:
        """Return how much each sentence counted for the answer, one array a story; each sums to one.

        Args:
            X: Pairs of a story and a question.

        Raises:
            ValueError: ``X`` cannot be read; the message names the culprit.
            NotFittedError: Before `fit`.
        """
        found: list[np.ndarray] = []
        for out in self._run(read_asked(X)):
            bounds = pairwise(out.story_ptr.tolist())
            found += [out.evidence[first : last - 1].numpy() for first, last in bounds]
        return found

    def learned_graph(self, X: Any, *, support: bool = True) -> TokenGraph:
        """Return which sentences listened to which; a story's tokens are its sentences and then the question.

        Args:
            X: Pairs of a story and a question.
            support: Whether edges also have their ``support``, how far they speak for the answer, by which pictures
                show them; it takes a pass backwards.

        Returns:
            The graph of the last step, those of all in ``steps``; tokens are named by their texts, and ``ptr`` says
            where each story begins.

        Raises:
            ValueError: ``X`` cannot be read; the message names the culprit.
            NotFittedError: Before `fit`.
        """
        asked = read_asked(X)
        with self._supporting(support):
            parts = [out.encoded.graphs for out in self._run(asked)]
        texts = [[*story, question] for story, question in asked]
        names = [text for story in texts for text in story]
        ptr = torch.tensor([0, *map(len, texts)]).cumsum(0)
        return joined_graph(parts, TokenSet(torch.zeros(len(names), 0), ptr=ptr, names=names))

    def _tells_classes(self) -> bool:
        return True

    def _run(self, asked: Any) -> Iterator[TextQAOutput]:
        model = self._exact_model()
        tokens = self.tokenizer_.transform(asked)
        with torch.no_grad():
            for stories in batches(tokens.ptr):
                yield _read(model, tokens.select(stories))

    def _config(self, answers: Sequence[str]) -> TextQAConfig:
        tokenizer = self.tokenizer_
        decided: State = {
            "width": self.width,
            "steps": self.steps,
            "heads": self.heads,
            "neighbors": self.neighbors,
            "dropout": self.dropout,
            "stretch": self.stretch,
            "vocabulary": len(tokenizer.rarity_),
            "answers": tuple(tuple(tokenizer.numbers(answer)) for answer in answers),
            "rarity": tokenizer.rarity_,
        }
        options: State = {"experts": 1, **(self.model_options or {})}
        free = [field.name for field in fields(TextQAConfig) if field.name not in decided]
        for name in options:
            if name not in free:
                raise ValueError(f"model_options may name {', '.join(free)} (got {name!r})")
        return TextQAConfig(**decided, **options)

    def _training_config(self, batches: int, patience: int | None) -> TrainingConfig:
        return TrainingConfig(
            epochs=min(100, max(10, -(-STEPS // batches))) if self.epochs is None else self.epochs,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            patience=patience,
            max_time=self.max_time,
            device=self.device,
        )

    def _build(self, config: TextQAConfig, seed: int) -> None:
        self._exact = None
        self.model_ = seeded(seed, lambda: TextQA(config))

    def _state(self) -> State:
        return {
            "tokenizer": self.tokenizer_.to_dict(),
            "config": asdict(self.model_.config),
            "classes": self._classes.to_dict(),
        }

    def _restore(self, state: State) -> None:
        self.tokenizer_ = QuestionTokenizer.from_dict(state["tokenizer"])
        self._classes = Classes.from_dict(state["classes"])
        self.classes_ = self._classes.values
        config = dict(state["config"])
        config["answers"] = tuple(map(tuple, config["answers"]))
        config["rarity"] = tuple(config["rarity"])
        self._build(TextQAConfig(**config), seed=0)


def _read(model: nn.Module, tokens: TokenSet) -> TextQAOutput:
    return model(tokens["token_word"], tokens.ptr, tokens["token_sentence"])


def _loss(model: nn.Module, batch: Batch) -> Tensor:
    out = _read(model, batch.tokens)
    return classification_loss(out.logits, batch.target, None, None) + out.loss


def _score(model: nn.Module, held: Batch) -> float:
    device = next(model.parameters()).device
    logits = [
        _read(model, held.tokens.select(stories).to(device)).logits.cpu()
        for stories in batches(held.tokens.ptr)
    ]
    return -float(classification_loss(torch.cat(logits), held.target, None, None))
