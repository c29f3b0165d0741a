"""Going on with texts: tokens drawn one after another from what a language model foretells."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from structformer.models.language_state import LanguageState, bounds_of
from structformer.ops.segment import row_index

if TYPE_CHECKING:
    from structformer.models.language import ReSSFormerLM


def generate(
    model: ReSSFormerLM,
    ids: Int[Tensor, "tokens"],
    ptr: Int[Tensor, "pointers"] | None = None,
    *,
    tokens: int,
    temperature: float = 1.0,
    top_p: float = 1.0,
    seed: int = 0,
    stop: int | None = None,
) -> Iterator[Int[Tensor, "sets"]]:
    """Go on with texts side by side; yield one token of each as soon as it is drawn.

    Prompts are read in whole segments, what follows token by token, and each text goes over to a new segment when
    its own is full: the tokens are those that reading everything anew for each would give. What is kept is bounded
    by a segment. No text depends on its company: text s draws from a stream of its own, seeded with ``seed + s``.

    Args:
        model: A causal model in evaluation mode.
        ids: Tokens of the prompts.
        ptr: Boundaries of the prompts, which may differ in length; None is one prompt.
        tokens: Most tokens to write for each text.
        temperature: Divides the scores before they become probabilities; 0 takes the most probable token.
        top_p: Share of the probability among which is drawn; see `pick`.
        seed: Decides the draws.
        stop: A token that ends a text; it is the last one yielded for the text, again and again until all texts
            have ended. None ends none early.

    Raises:
        ValueError: If the model is not causal or is being trained, a prompt is empty, a token of a prompt or ``stop``
            is not in the vocabulary, or a number is out of its range.
    """
    if not model.config.causal:
        raise ValueError("model must be causal: a masked model foretells no next token")
    if model.training:
        raise ValueError("model must be in evaluation mode: call model.eval() before")
    if tokens < 1:
        raise ValueError(f"tokens must be at least 1 (got {tokens})")
    if not temperature >= 0:
        raise ValueError(f"temperature must be at least 0 (got {temperature})")
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p must be above 0 and at most 1 (got {top_p})")
    ptr = torch.tensor([0, len(ids)], device=ids.device) if ptr is None else ptr
    _check_prompts(ids, ptr, model.config.vocabulary)
    if stop is not None and not 0 <= stop < model.config.vocabulary:
        raise ValueError(f"stop must lie in 0 to {model.config.vocabulary - 1} (got {stop})")
    return _drawn(model, ids, ptr, tokens, temperature, top_p, seed, stop)


@torch.no_grad()
def read(
    model: ReSSFormerLM, ids: Int[Tensor, "tokens"], ptr: Int[Tensor, "pointers"]
) -> tuple[Float[Tensor, "sets vocabulary"], LanguageState]:
    """Read texts segment by segment; return the scores of the token after each, and with what to go on."""
    owner = row_index(ptr, len(ids))
    segment = (torch.arange(len(ids), device=ids.device) - ptr[owner]) // model.config.segment
    segments = (ptr.diff() + model.config.segment - 1) // model.config.segment
    # Texts of fewer segments come in later, so that all read their last one together.
    turn = segment + (segments.max() - segments)[owner]
    output, bounds = None, ptr
    for number in range(int(segments.max())):
        now = turn == number
        bounds = bounds_of(owner[now].bincount(minlength=len(segments)))
        state = None if output is None else model.next_segment(output.state)
        output = model(ids[now], bounds, state=state)
    assert output is not None
    return output.logits[bounds[1:] - 1], output.state


@torch.no_grad()
def go_on(
    model: ReSSFormerLM, state: LanguageState, ids: Int[Tensor, "sets"]
) -> tuple[Float[Tensor, "sets vocabulary"], LanguageState]:
    """Read one more token of each text; texts whose segment is full go over to the next before."""
    full = state.ptr.diff() >= model.config.segment
    if bool(full.any()):
        state = model.next_segment(state, full)
    output = model(ids, state=state)
    return output.logits, output.state


def pick(
    scores: Float[Tensor, "sets vocabulary"],
    temperature: float,
    top_p: float,
    draws: Float[Tensor, "sets"],
) -> Int[Tensor, "sets"]:
    """Draw a token of each row, from the fewest most probable ones whose mass is at least ``top_p``.

    Nucleus sampling (Holtzman et al. 2020, arXiv 1904.09751, section 3.1). Of equally probable tokens the one with the
    lower number comes first.

    Args:
        scores: Logits, finite.
        temperature: As in `generate`.
        top_p: As in `generate`.
        draws: A number in [0, 1) for each row, which decides.
    """
    ranked, order = scores.sort(dim=-1, descending=True, stable=True)
    if temperature == 0:
        return order[:, 0]
    probability = ((ranked - ranked[:, :1]) / temperature).softmax(-1)
    before = probability.cumsum(-1).roll(1, -1)
    before[:, 0] = 0.0
    mass = probability.masked_fill(before >= top_p, 0.0).cumsum(-1)
    place = (mass <= draws[:, None] * mass[:, -1:]).sum(-1, keepdim=True)
    return order.gather(-1, place).squeeze(-1)


def _drawn(
    model: ReSSFormerLM,
    ids: Int[Tensor, "tokens"],
    ptr: Int[Tensor, "pointers"],
    tokens: int,
    temperature: float,
    top_p: float,
    seed: int,
    stop: int | None,
) -> Iterator[Int[Tensor, "sets"]]:
    dice = [torch.Generator().manual_seed(seed + text) for text in range(len(ptr) - 1)]
    ended = torch.zeros(len(dice), dtype=torch.bool, device=ids.device)
    scores, state = read(model, ids, ptr)
    for number in range(tokens):
        # Drawn on the CPU in float64, so that a seed means the same on every device.
        exact = scores.double().cpu()
        if not bool(exact.isfinite().all()):
            raise ValueError(
                "the model's scores are not finite: its weights are damaged, or training diverged"
            )
        draws = torch.stack([torch.rand((), generator=die, dtype=torch.float64) for die in dice])
        new = pick(exact, temperature, top_p, draws).to(ids.device)
        if stop is not None:
            new = new.masked_fill(ended, stop)
            ended = ended | (new == stop)
        yield new
        if number + 1 < tokens and bool(ended.all()):
            return
        if number + 1 < tokens:
            scores, state = go_on(model, state, new)


def _check_prompts(ids: Tensor, ptr: Tensor, vocabulary: int) -> None:
    empty = (ptr.diff() < 1).nonzero()
    if len(ptr) < 2 or len(empty):
        which = f"prompt {int(empty[0])}" if len(ptr) > 2 else "the prompt"
        raise ValueError(f"{which} is empty: at least 1 token is needed")
    if int(ptr[-1]) != len(ids):
        raise ValueError(f"ptr must end at the number of tokens, {len(ids)} (got {ptr.tolist()})")
    outside = (ids < 0) | (ids >= vocabulary)
    if bool(outside.any()):
        raise ValueError(f"ids must lie in 0 to {vocabulary - 1} (got {int(ids[outside][0])})")
