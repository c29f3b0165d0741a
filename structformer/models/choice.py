"""Which encoder a model is built on: "soes" or "ressformer", by name, by config, and from a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, Literal

from structformer.models.encoder import SOESEncoder, SOESEncoderConfig
from structformer.models.ressformer import ReSSFormer, ReSSFormerConfig

ModelName = Literal["soes", "ressformer"]

Encoder = SOESEncoder | ReSSFormer
"""What both have in common: ``config``, ``blocks``, and the same call, which returns an `Encoded`."""

_CONFIGS: dict[str, type[SOESEncoderConfig]] = {"soes": SOESEncoderConfig, "ressformer": ReSSFormerConfig}


def build_encoder(config: SOESEncoderConfig) -> Encoder:
    """Return the encoder that a config is of: a `ReSSFormer` for its own kind, a `SOESEncoder` else."""
    return ReSSFormer(config) if isinstance(config, ReSSFormerConfig) else SOESEncoder(config)


def encoder_config(model: str, options: Mapping[str, Any] | None = None, **decided: Any) -> SOESEncoderConfig:
    """Return what the encoder of a name is made of.

    Args:
        model: "soes" or "ressformer".
        options: Further fields of its config by name, such as ``{"experts": 8}``; None is none.
        **decided: Fields that the caller decides, and options may not.

    Raises:
        ValueError: No encoder has that name, an option is none of its fields or is decided elsewhere, or a value
            cannot be used.
    """
    if model not in _CONFIGS:
        raise ValueError(f'model must be "soes" or "ressformer" (got {model!r})')
    config, options = _CONFIGS[model], options or {}
    free = [field.name for field in fields(config) if field.name not in decided]
    for name in options:
        if name not in free:
            raise ValueError(f"model_options of {model!r} may name {', '.join(free)} (got {name!r})")
    return config(**decided, **options)


def config_state(config: SOESEncoderConfig) -> dict[str, Any]:
    """Return a config in JSON-ready form, the name of its encoder included."""
    name = "ressformer" if isinstance(config, ReSSFormerConfig) else "soes"
    return {"model": name, **asdict(config)}


def config_from_state(state: Mapping[str, Any]) -> SOESEncoderConfig:
    """The inverse of `config_state`; where no encoder is named, as before there was a choice, it is "soes"."""
    decided = dict(state)
    return encoder_config(decided.pop("model", "soes"), **decided)
