"""The masked text encoder: texts as vectors, learned by saying which tokens were hidden."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from structformer.models.language import LanguageOutput, ReSSFormerLM, ReSSFormerLMConfig
from structformer.nn.linear import Linear
from structformer.nn.readout import SetPooling
from structformer.ops.segment import row_index


@dataclass(frozen=True)
class Masking:
    """Which tokens are to be foretold, and what is shown in their place.

    Attributes:
        share: Share of the tokens that are chosen.
        hidden: Share of the chosen ones that are shown as the mask token.
        swapped: Share of the chosen ones that are shown as some token drawn from the vocabulary. The rest are shown as
            they are.
    """

    share: float = 0.15
    hidden: float = 0.8
    swapped: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"share must be above 0 and at most 1 (got {self.share})")
        for name in ("hidden", "swapped"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1] (got {getattr(self, name)})")
        if self.hidden + self.swapped > 1:
            raise ValueError(
                f"hidden and swapped must add up to at most 1 (got {self.hidden} and {self.swapped})"
            )

    def draw(
        self, ids: Int[Tensor, "tokens"], vocabulary: int, generator: torch.Generator
    ) -> tuple[Int[Tensor, "tokens"], Bool[Tensor, "tokens"]]:
        """Return what is shown of the tokens, the mask token being ``vocabulary``, and which were chosen."""
        where = generator.device
        chosen = torch.rand(len(ids), generator=generator, device=where) < self.share
        fate = torch.rand(len(ids), generator=generator, device=where)
        drawn = torch.randint(vocabulary, (len(ids),), generator=generator, device=where)
        chosen, fate, drawn = chosen.to(ids.device), fate.to(ids.device), drawn.to(ids.device)
        shown = torch.where(chosen & (fate < self.hidden + self.swapped), drawn, ids)
        return torch.where(chosen & (fate < self.hidden), vocabulary, shown), chosen


@dataclass
class MaskedTextOutput:
    """What a masked text encoder returns.

    Attributes:
        logits: Scores of what each token is.
        tokens: One vector a token.
        texts: One vector a text.
        read: What the model inside returned, with graphs and experts' use.
    """

    logits: Float[Tensor, "tokens vocabulary"]
    tokens: Float[Tensor, "tokens width"]
    texts: Float[Tensor, "sets width"]
    read: LanguageOutput


class MaskedTextEncoder(nn.Module):
    """Encode texts of which some tokens are hidden; say what the hidden ones are (BERT, arXiv 1810.04805).

    A `ReSSFormerLM` without causal mask reads the text; order enters through its window alone, which says who is near
    and not who comes first. Of the tokens to be foretold most are shown as a mask token, some as another token and
    some as they are (section 3.1 there), so that vectors of whole texts are made from what training has shown too.
    The vector of a text is pooled from its tokens (see `SetPooling`) and added to each of them before it is
    foretold: what the text is about helps to say what is hidden, and so the pooling learns.

    Args:
        config: The model; with ``causal=False``, and so with mixer "attention" and no convolution.
        masking: Which tokens are hidden in training.

    Raises:
        ValueError: If the model is causal.

    Examples:
        >>> import torch
        >>> from structformer.models.language import ReSSFormerLMConfig
        >>> config = ReSSFormerLMConfig(width=32, vocabulary=50, causal=False, convolution=0)
        >>> found = MaskedTextEncoder(config)(torch.randint(50, (11,)), torch.tensor([0, 4, 11]))
        >>> found.logits.shape, found.texts.shape
        (torch.Size([11, 50]), torch.Size([2, 32]))
    """

    def __init__(self, config: ReSSFormerLMConfig, masking: Masking | None = None) -> None:
        super().__init__()
        if config.causal:
            raise ValueError(
                "config must have causal=False (got causal=True): a masked model hears both sides"
            )
        self.config, self.masking = config, Masking() if masking is None else masking
        # The mask token is one more than the vocabulary has.
        self.model = ReSSFormerLM(replace(config, vocabulary=config.vocabulary + 1))
        self.pooling = SetPooling(config.width, config.heads)
        self.context = Linear(config.width, config.width)
        self.norm = nn.LayerNorm(config.width)

    def forward(
        self, ids: Int[Tensor, "tokens"], ptr: Int[Tensor, "pointers"] | None = None
    ) -> MaskedTextOutput:
        """Return what each token is thought to be, and the vectors of tokens and texts.

        Args:
            ids: Tokens; the mask token is ``config.vocabulary``.
            ptr: Boundaries of the texts; None is one text.

        Raises:
            ValueError: If a token is neither in the vocabulary nor the mask token.
        """
        ptr = torch.tensor([0, len(ids)], device=ids.device) if ptr is None else ptr
        read = self.model(ids, ptr)
        texts = self.pooling(read.tokens, ptr)
        tokens = read.tokens + self.context(texts)[row_index(ptr, len(ids))]
        # The mask token is no answer.
        logits = self.model.head(self.norm(tokens))[:, :-1]
        return MaskedTextOutput(logits, read.tokens, texts, read)

    def loss(
        self,
        ids: Int[Tensor, "tokens"],
        ptr: Int[Tensor, "pointers"] | None = None,
        *,
        generator: torch.Generator,
    ) -> Float[Tensor, ""]:
        """Return the mean negative log-likelihood of the chosen tokens, and what the experts' routing adds.

        Args:
            ids: Tokens.
            ptr: Boundaries of the texts; None is one text.
            generator: Draws which tokens are chosen and what is shown in their place.

        Raises:
            ValueError: If a token is not in the vocabulary.
        """
        vocabulary = self.config.vocabulary
        if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < vocabulary:
            raise ValueError(
                f"ids must lie in 0 to {vocabulary - 1} (got {int(ids.min())} to {int(ids.max())})"
            )
        shown, chosen = self.masking.draw(ids, vocabulary, generator)
        found = self(shown, ptr)
        losses = F.cross_entropy(found.logits, ids, reduction="none")
        # In a short batch none may be chosen.
        return (losses * chosen).sum() / chosen.sum().clamp(min=1) + found.read.loss
