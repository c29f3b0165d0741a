"""Training a language model on text, with memory carried from segment to segment."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from structformer.models.language import LanguageOutput, ReSSFormerLM
from structformer.models.language_state import LanguageState
from structformer.training.language_config import LanguageTrainingConfig
from structformer.training.language_lanes import Lanes, Piece
from structformer.training.optimizer import parameter_groups, schedule
from structformer.training.progress import Progress


@dataclass(frozen=True)
class Update:
    """One line of the history.

    Attributes:
        number: Counts from 1.
        loss: Mean negative log-likelihood of a token, in nats.
        gradient_norm: Norm of the gradient before clipping.
        learning_rate: Learning rate of the step.
        tokens: Tokens that were foretold.
    """

    number: int
    loss: float
    gradient_norm: float
    learning_rate: float
    tokens: int


class LanguageTrainer:
    """Train a language model on documents: AdamW, linear warm-up and cosine decay, gradient clipping.

    Several lanes of text are read side by side (see `Lanes`). What a lane's segment left behind, the segment memory's
    input and the recurrent states, goes over to its next one, and is forgotten where a document begins. Gradients
    go back to the writing of the memory, and no further. Everything that the next update depends on is in the
    attributes, so that training can be interrupted and resumed exactly; see `save_language_training`.

    Attributes:
        model: The model, trained in place, on its own device.
        config: How long and how hard.
        lanes: The text, and where in it training stands.
        optimizer: AdamW.
        state: What is known of the lanes' texts; None before the first update.
        dice: States of the random generators from which dropout is drawn, by kind of device.
        history: What happened in each update.

    Raises:
        ValueError: If the model is not causal, a token is not in its vocabulary, or as in `Lanes`.
    """

    def __init__(
        self,
        model: ReSSFormerLM,
        documents: Sequence[Int[Tensor, "_"]],
        config: LanguageTrainingConfig,
    ) -> None:
        if not model.config.causal:
            raise ValueError("model must be causal: a masked model foretells no next token")
        self.model, self.config = model, config
        self.lanes = Lanes(documents, config.batch, model.config.segment)
        low, high = int(self.lanes.ids.min()), int(self.lanes.ids.max())
        if low < 0 or high >= model.config.vocabulary:
            raise ValueError(
                f"documents must hold tokens from 0 to {model.config.vocabulary - 1} (got {low} to {high})"
            )
        self.optimizer = torch.optim.AdamW(
            parameter_groups(model, config.weight_decay), lr=config.learning_rate
        )
        self.state: LanguageState | None = None
        self.history: list[Update] = []
        self.dice: dict[str, Tensor] = {}
        with torch.random.fork_rng(self._accelerators):
            torch.manual_seed(config.seed)
            self._keep_dice()

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.embedding.weight.device

    def run(
        self,
        until: int | None = None,
        *,
        every: int = 100,
        save: Callable[[LanguageTrainer], None] | None = None,
        progress: bool | None = None,
    ) -> list[Update]:
        """Go on training; return the updates made. The model is left in evaluation mode.

        Args:
            until: Number of the last update; None is as configured.
            every: Updates from one call of ``save`` to the next; it is called after the last one too.
            save: Is given this trainer, to write it down.
            progress: Show a progress bar; None shows one on a terminal only.

        Raises:
            ValueError: If ``every`` is less than 1.
            FloatingPointError: As `update`.
        """
        if every < 1:
            raise ValueError(f"every must be at least 1 (got {every})")
        last = self.config.updates if until is None else min(until, self.config.updates)
        first = len(self.history)
        with Progress("training", self.config.updates, progress) as bar:
            while len(self.history) < last:
                found = self.update()
                bar.update(found.number, found.loss, None)
                if save is not None and (found.number % every == 0 or found.number == last):
                    save(self)
        self.model.eval()
        return self.history[first:]

    def update(self) -> Update:
        """Read the next piece of every lane, and learn from it.

        Raises:
            FloatingPointError: The loss or its gradient is not finite; names the update.
        """
        with self._rolled_dice():
            return self._update()

    def _update(self) -> Update:
        model, config, number = self.model.train(), self.config, len(self.history) + 1
        piece = self.lanes.take().to(self.device)
        state = self.state
        if state is not None:
            # The memory is written here, not where the segment ended, so that its writing learns from this loss.
            state = model.forget(model.next_segment(state), piece.fresh)
        output = self._read(piece, state, number)
        entropy = F.cross_entropy(output.logits, piece.targets)
        loss = self._finite("loss", entropy + self._further_losses(output), number)
        rate = config.learning_rate * schedule((number - 1) / config.updates, config.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        self._finite("gradient", norm, number)
        self.optimizer.step()
        self.state = _between_segments(output.state)
        found = Update(number, float(entropy.detach()), float(norm), rate, len(piece.ids))
        self.history.append(found)
        return found

    def _read(self, piece: Piece, state: LanguageState | None, number: int) -> LanguageOutput:
        try:
            return self.model(piece.ids, piece.ptr, state=state)
        except ValueError as error:
            # Where training has diverged, the search for neighbours refuses the states before there is a loss.
            if "must be finite" not in str(error):
                raise
            raise FloatingPointError(self._diverged("a state is not finite", number)) from error

    def _further_losses(self, output: LanguageOutput) -> Float[Tensor, ""]:
        ponder = output.thought.ponder
        return output.loss if ponder is None else output.loss + self.config.ponder * ponder.mean()

    def _finite(self, what: str, value: Tensor, number: int) -> Tensor:
        if not math.isfinite(float(value.detach())):
            raise FloatingPointError(self._diverged(f"the {what} is {float(value.detach())}", number))
        return value

    def _diverged(self, what: str, number: int) -> str:
        return f"{what} in update {number}: lower learning_rate (got {self.config.learning_rate})"

    @property
    def _accelerators(self) -> list[torch.device]:
        return [self.device] if self.device.type == "cuda" else []

    @contextmanager
    def _rolled_dice(self) -> Generator[None]:
        """Draw from this trainer's own random numbers, and leave the global stream as it was."""
        with torch.random.fork_rng(self._accelerators):
            torch.set_rng_state(self.dice["cpu"])
            for device in self._accelerators:
                torch.cuda.set_rng_state(self.dice["cuda"], device)
            yield
            self._keep_dice()

    def _keep_dice(self) -> None:
        self.dice["cpu"] = torch.get_rng_state()
        for device in self._accelerators:
            self.dice["cuda"] = torch.cuda.get_rng_state(device)


def _between_segments(state: LanguageState) -> LanguageState:
    """Return what the next segment needs, without the history behind it and what attention has heard."""
    pasts = {key: replace(past, heard=None) for key, past in state.pasts.items()}
    return replace(state, pasts=pasts).detach()
