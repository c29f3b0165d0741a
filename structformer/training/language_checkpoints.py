"""Checkpoints of language models: everything that training needs to go on exactly where it stood."""

from __future__ import annotations

import os
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from structformer.models.language import ReSSFormerLM, ReSSFormerLMConfig
from structformer.models.language_state import LanguageState, Past
from structformer.nn.memory_signals import MemoryState
from structformer.training.checkpoints import load_checkpoint, save_checkpoint
from structformer.training.language import LanguageTrainer, Update

KIND = "ReSSFormerLM"

Tensors = dict[str, Tensor]


def save_language_training(
    folder: str | os.PathLike[str], trainer: LanguageTrainer, tokenizer: dict[str, Any]
) -> Path:
    """Write a model and where its training stands: weights, optimizer, place in the text, memory, random generators.

    Args:
        folder: As in `save_checkpoint`.
        trainer: What is written.
        tokenizer: The state of the tokenizer that made the tokens, for whoever reads or writes text.

    Raises:
        FileExistsError: As in `save_checkpoint`.
    """
    state = {
        "class": KIND,
        "model": asdict(trainer.model.config),
        "training": asdict(trainer.config),
        "documents": trainer.lanes.digest,
        "updates": len(trainer.history),
        "tokenizer": tokenizer,
    }
    tensors = _prefixed("model", trainer.model.state_dict())
    for number, kept in trainer.optimizer.state_dict()["state"].items():
        tensors |= _prefixed(f"optimizer.{number}", kept)
    tensors |= _prefixed("dice", trainer.dice)
    tensors["place"] = trainer.lanes.place
    tensors["history"] = torch.tensor([astuple(one)[1:] for one in trainer.history], dtype=torch.float64)
    if trainer.state is not None:
        tensors |= _prefixed("text", _flat(trainer.state))
    return save_checkpoint(folder, state, tensors)


def resume_language_training(folder: str | os.PathLike[str], trainer: LanguageTrainer) -> None:
    """Bring a new trainer to where the one stood that was saved.

    Args:
        folder: Where it was saved.
        trainer: One with the same settings and text.

    Raises:
        FileNotFoundError: There is no checkpoint.
        ValueError: It is damaged, of something else, or of other settings or another text; names the difference.
    """
    state, tensors = _loaded(folder)
    wanted = asdict(trainer.model.config) | asdict(trainer.config)
    check_settings(folder, state, wanted)
    if state["documents"] != trainer.lanes.digest:
        raise ValueError(f"{folder} was trained on another text: give the same files in the same order")
    device = trainer.device
    trainer.model.load_state_dict(_below("model", tensors))
    kept = {
        number: _below(f"optimizer.{number}", tensors)
        for number in sorted({int(name.split(".")[1]) for name in tensors if name.startswith("optimizer.")})
    }
    groups = trainer.optimizer.state_dict()["param_groups"]
    trainer.optimizer.load_state_dict({"state": kept, "param_groups": groups})
    trainer.dice = _below("dice", tensors)
    trainer.lanes.place = tensors["place"]
    rows = enumerate(tensors["history"].tolist(), start=1)
    trainer.history = [Update(number, *row[:-1], tokens=int(row[-1])) for number, row in rows]
    text = {name: value.to(device) for name, value in _below("text", tensors).items()}
    trainer.state = _state(text) if text else None


def load_language_model(folder: str | os.PathLike[str]) -> tuple[ReSSFormerLM, dict[str, Any]]:
    """Return a saved model in evaluation mode, and the state of its tokenizer.

    Raises:
        FileNotFoundError: There is no checkpoint.
        ValueError: It is damaged, or of something else.
    """
    state, tensors = _loaded(folder)
    try:
        model = ReSSFormerLM(ReSSFormerLMConfig(**state["model"]))
        model.load_state_dict(_below("model", tensors))
    except (TypeError, RuntimeError) as error:
        raise ValueError(f"{folder} holds a model of another version: {error}") from error
    return model.eval(), state["tokenizer"]


def check_settings(folder: str | os.PathLike[str], state: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Refuse to go on with other settings.

    Args:
        folder: Where training was saved.
        state: What was saved there.
        wanted: Settings of model and training that shall hold now; those that are not named may differ.

    Raises:
        ValueError: If one differs; names each with both values.
    """
    saved = state["model"] | state["training"]
    other = [name for name, value in wanted.items() if saved.get(name) != value]
    if other:
        was = ", ".join(f"{name}={saved.get(name)}" for name in other)
        now = ", ".join(f"{name}={wanted[name]}" for name in other)
        raise ValueError(
            f"{folder} was trained with {was} (got {now}): give the same settings, or another folder"
        )


def _loaded(folder: str | os.PathLike[str]) -> tuple[dict[str, Any], Tensors]:
    state, tensors = load_checkpoint(folder)
    if state.get("class") != KIND:
        raise ValueError(f"{folder} holds a {state.get('class')}, not a language model")
    return state, tensors


def _flat(state: LanguageState) -> Tensors:
    found = {"ptr": state.ptr, "finals": state.finals, "slots": state.slots, "read": state.read}
    for (step, layer), past in state.pasts.items():
        memory = past.recurrence
        found[f"{step}.{layer}.line"], found[f"{step}.{layer}.shift"] = past.line, past.shift
        for name, value in {} if memory is None else vars(memory).items():
            found[f"{step}.{layer}.memory.{name}"] = value
    return {name: value for name, value in found.items() if value is not None}


def _state(flat: Tensors) -> LanguageState:
    """The inverse of `_flat`."""
    pasts: dict[tuple[int, int], Past] = {}
    for step, layer in sorted({(*name.split("."),)[:2] for name in flat if "." in name}):
        kept = _below(f"{step}.{layer}", flat)
        recurrent = _below("memory", kept)
        memory = MemoryState(**recurrent) if recurrent else None
        pasts[int(step), int(layer)] = Past(kept.get("line"), memory, shift=kept.get("shift"))
    return LanguageState(flat["ptr"], flat["finals"], flat.get("slots"), pasts, flat.get("read"))


def _prefixed(prefix: str, tensors: Tensors) -> Tensors:
    return {f"{prefix}.{name}": value for name, value in tensors.items()}


def _below(prefix: str, tensors: Tensors) -> Tensors:
    start = f"{prefix}."
    return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}
