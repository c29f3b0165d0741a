"""Question answering over text: a story and a question in, an answer with its evidence out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from structformer.graph import TokenGraph
from structformer.models.ressformer import Reasoned, ReSSFormer, ReSSFormerConfig
from structformer.nn.dropout import Dropout
from structformer.nn.linear import Linear
from structformer.nn.shared_words import SharedWords
from structformer.ops import edge_sum, edge_weights, segment_sum
from structformer.ops.segment import row_index


@dataclass(frozen=True)
class TextQAConfig(ReSSFormerConfig):
    """What a question answerer is made of, beyond what a ReSSFormer is.

    Attributes:
        vocabulary: Different words, those of the answers included.
        answers: The texts to choose from, each as the numbers of its words.
        places: Words of a sentence that are told apart by their place; later ones share the last place.
        stretch: In training the ages of a story's sentences, as far as they count sentences, are stretched by a factor
            drawn from 1 to 1 + stretch, so that longer stories than those trained on are nothing new (cf. randomised
            positions, arXiv 2305.16843).
        reach: A word that several sentences have links each of them to so many before it and so many after it (see
            `SharedWords`); 0 links none, and goes with ``edge_features`` 0.
        rarity: How much it says that two sentences share a word, for each word, such as its inverse document
            frequency in the training stories; words with 0 link nothing. Empty is 1 for all.
    """

    vocabulary: int = 256
    answers: tuple[tuple[int, ...], ...] = ((0,), (1,))
    places: int = 16
    stretch: float = 1.0
    edge_features: int = 8
    reach: int = 16
    rarity: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("vocabulary", "places"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1 (got {getattr(self, name)})")
        if not self.answers or not all(self.answers):
            raise ValueError("answers must be at least one, and none without words")
        unknown = {word for answer in self.answers for word in answer if not 0 <= word < self.vocabulary}
        if unknown:
            raise ValueError(f"answers must be of words 0 to {self.vocabulary - 1} (got {sorted(unknown)})")
        if self.stretch < 0:
            raise ValueError(f"stretch must be at least 0 (got {self.stretch})")
        if self.reach < 0:
            raise ValueError(f"reach must be at least 0 (got {self.reach})")
        if self.rarity and len(self.rarity) != self.vocabulary:
            raise ValueError(f"rarity must be given for {self.vocabulary} words (got {len(self.rarity)})")
        if self.rarity and not 0 <= min(self.rarity) <= max(self.rarity) < math.inf:
            raise ValueError(
                f"rarity must be finite and at least 0 (got {min(self.rarity)} to {max(self.rarity)})"
            )
        if self.edge_features and not self.reach:
            raise ValueError("edge_features must be 0 where reach is: there are no edges to carry them")


@dataclass
class TextQAOutput:
    """What a question answerer returns.

    Attributes:
        logits: Scores of the answers.
        evidence: How much each sentence counted for the answer; those of a story sum to one, and a question has 0.
        story_ptr: Boundaries of the stories among the sentences, questions included.
        encoded: The sentences with their graphs.
    """

    logits: Float[Tensor, "stories answers"]
    evidence: Float[Tensor, "sentences"]
    story_ptr: Int[Tensor, "pointers"]
    encoded: Reasoned

    @property
    def outputs(self) -> Float[Tensor, "stories answers"]:
        """The logits, under the name that what other models predict has."""
        return self.logits

    @property
    def loss(self) -> Float[Tensor, ""]:
        """What the experts' routing adds to a training loss."""
        return self.encoded.loss


class TextQA(nn.Module):
    """Answer questions about stories whose sentences are tokens of a set, found by content and age.

    A sentence is the sum of its words' vectors, each weighted feature by feature for its place (recurrent entity
    networks, arXiv 1612.03969, eq. 1). The weights of half the features start near one, so that a word counts alike
    wherever it stands, those of the others at random, so that who did it and to whom it was done can be told apart.
    To it is added its age, how far it is from the question, as sinusoids through a learned map: half of them of the
    sentences in between, in waves of at most 25, which a longer story only repeats; half of the share of the story in
    between, which stays what it is however much else is told. The age, and which mention of a word
    comes after which where sentences that share words are linked (`SharedWords`), are the only ways in which the order
    of sentences enters. A `ReSSFormer` lets sentences and question listen to each other, along these links and those it
    learns; then the question's state q weighs the sentences' states, e = softmax ⟨W_q q, W_k h⟩/√D over its own story
    (the evidence).
    Answers are texts as well, read by the same words and places as a_y, so that what a sentence says can be said
    again: an answer's score is ⟨U Σ e W_v h + V q, a_y⟩·2/√D + b_y.

    Examples:
        >>> import torch, structformer as sf
        >>> from structformer.models.text_qa import TextQA, TextQAConfig
        >>> model = TextQA(TextQAConfig(width=32, vocabulary=20, answers=((8,), (9,), (8, 9))))
        >>> words = torch.tensor([1, 2, 3, 4, 5, 6, 7])  # a story of two sentences, and its question
        >>> found = model(words, torch.tensor([0, 7]), torch.tensor([0, 0, 0, 1, 1, 2, 2]))
        >>> found.logits.shape, found.evidence.shape
        (torch.Size([1, 3]), torch.Size([3]))
    """

    SPREAD = 0.5  # of the words' vectors at first
    SLOWEST = 4.0  # sentences a radian of the longest wave
    FASTEST = 64.0  # half waves a story of the shortest wave
    answer_words: Tensor
    answer_begins: Tensor

    def __init__(self, config: TextQAConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.word = nn.Embedding(config.vocabulary, width)
        nn.init.normal_(self.word.weight, std=self.SPREAD)
        place = torch.randn(config.places, width)
        place[:, : width // 2] = 1 + 0.1 * place[:, : width // 2]
        self.place = nn.Parameter(place)
        self.age = Linear(width, width, bias=False)
        self.question = nn.Parameter(self.SPREAD * torch.randn(width))
        self.norm = nn.LayerNorm(width)
        rarity = torch.tensor(config.rarity or (1.0,) * config.vocabulary)
        self.links = (
            SharedWords(rarity, config.places, config.edge_features, config.reach) if config.reach else None
        )
        self.encoder = ReSSFormer(config)
        self.ask, self.key = Linear(width, width), Linear(width, width, bias=False)
        self.value, self.heard = Linear(width, width), Linear(width, width, bias=False)
        self.asked = Linear(width, width, bias=False)
        # At first an answer is what the evidence says.
        nn.init.eye_(self.value.weight)
        nn.init.zeros_(self.value.bias)
        nn.init.eye_(self.heard.weight)
        nn.init.zeros_(self.asked.weight)
        self.dropout = Dropout(config.dropout)
        self.prior = nn.Parameter(torch.zeros(len(config.answers)))
        words = torch.tensor([word for answer in config.answers for word in answer])
        begins = torch.tensor([0, *map(len, config.answers)]).cumsum(0)
        self.register_buffer("answer_words", words, persistent=False)
        self.register_buffer("answer_begins", begins, persistent=False)

    def forward(
        self, words: Int[Tensor, "words"], ptr: Int[Tensor, "pointers"], sentence: Int[Tensor, "words"]
    ) -> TextQAOutput:
        """Return the scores of each story's answers, and the evidence.

        Args:
            words: Words of all stories.
            ptr: Boundaries of the stories among the words.
            sentence: Number of each word's sentence within its story, from 0 without gaps; the last is the question.

        Raises:
            ValueError: If a word is not in the vocabulary, a story is empty, or sentences are not numbered so.
        """
        self._check(words, ptr, sentence)
        story = row_index(ptr, len(words))
        count = sentence[ptr[1:] - 1] + 1
        bounds = torch.cat([count.new_zeros(1), count.cumsum(0)])
        owner = sentence + bounds[story]
        begins = torch.searchsorted(owner, torch.arange(int(bounds[-1]) + 1, device=owner.device))
        h = self._sentences(words, begins)
        last = bounds[1:] - 1
        h = self.norm(h + self.age(self._age(bounds).to(h.dtype))).index_add(
            0, last, self.question.expand(len(last), -1)
        )
        if self.links is None:
            encoded = self.encoder(h, bounds)
        else:
            links = self.links(words, owner, story, begins)
            roles = links.attributes if self.config.edge_features else None
            encoded = self.encoder(
                h, bounds, edge_index=links.edge_index, edge_weight=links.weight, edge_attr=roles
            )
        return self._answered(encoded, bounds, last)

    def _sentences(
        self, words: Int[Tensor, "words"], begins: Int[Tensor, "pointers"]
    ) -> Float[Tensor, "sentences width"]:
        """Return the vectors of the sentences whose words begin there."""
        place = torch.arange(len(words), device=words.device) - begins[row_index(begins, len(words))]
        read = self.word(words) * self.place[place.clamp(max=self.config.places - 1)]
        return segment_sum(read, begins)

    def _age(self, bounds: Int[Tensor, "pointers"]) -> Float[Tensor, "sentences width"]:
        """Return sinusoids of each sentence's distance from its question, in sentences and as a share of the story."""
        sentences, width = int(bounds[-1]), self.config.width
        story = row_index(bounds, sentences)
        age = (bounds[story + 1] - 1 - torch.arange(sentences, device=bounds.device)).to(self.place.dtype)
        share = age / (bounds.diff() - 1).clamp(min=1)[story]
        if self.training and self.config.stretch:
            drawn = torch.rand(len(bounds) - 1, device=age.device, dtype=age.dtype)
            age = age * (1 + self.config.stretch * drawn)[story]
        count = (width + 3) // 4
        power = torch.arange(count, device=age.device, dtype=age.dtype) / count
        near = age[:, None] * self.SLOWEST**-power
        far = math.pi * share[:, None] * self.FASTEST**power
        angle = torch.cat([near, far], dim=1)
        return torch.cat([angle.sin(), angle.cos()], dim=1)[:, :width]

    def _answered(
        self, encoded: Reasoned, bounds: Int[Tensor, "pointers"], last: Int[Tensor, "stories"]
    ) -> TextQAOutput:
        h = encoded.tokens
        asked = h[last]
        # Each question listens to the sentences before it; one without a story hears nothing.
        inside = torch.ones(len(h), dtype=torch.bool, device=h.device).index_fill(0, last, False)
        (col,) = inside.nonzero(as_tuple=True)
        rowptr = bounds - torch.arange(len(bounds), device=bounds.device)
        graph = TokenGraph(rowptr, col, num_sources=len(h))
        weight = edge_weights(self.ask(asked)[:, None], self.key(h)[:, None], graph)
        heard = edge_sum(weight, self.value(h)[:, None], graph).flatten(1)
        evidence = h.new_zeros(len(h)).index_copy(0, col, weight[:, 0])
        said = self.dropout(self.heard(heard) + self.asked(asked))
        answers = self._sentences(self.answer_words, self.answer_begins)
        logits = said @ answers.T / (self.SPREAD * math.sqrt(self.config.width)) + self.prior
        return TextQAOutput(logits, evidence, bounds, encoded)

    def _check(self, words: Tensor, ptr: Tensor, sentence: Tensor) -> None:
        if words.numel() and not 0 <= int(words.min()) <= int(words.max()) < self.config.vocabulary:
            raise ValueError(
                f"words must lie in 0 to {self.config.vocabulary - 1} (got {int(words.min())} to {int(words.max())})"
            )
        if len(ptr) < 2 or int(ptr[0]) != 0 or int(ptr[-1]) != len(words) or bool((ptr.diff() < 1).any()):
            raise ValueError(
                f"ptr must rise from 0 to the number of words, {len(words)} (got {ptr.tolist()})"
            )
        step, inside = sentence.diff(), torch.ones(len(words), dtype=torch.bool, device=words.device)
        inside[ptr[:-1]] = False
        wrong = bool((sentence[ptr[:-1]] != 0).any()) or bool(
            ((step[inside[1:]] != 0) & (step[inside[1:]] != 1)).any()
        )
        if wrong:
            raise ValueError("sentence must count from 0 in each story, without gaps")
