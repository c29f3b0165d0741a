"""The networks that are compared on sets, all of about as many parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from structformer.estimators.packed import token_input
from structformer.models.choice import encoder_config
from structformer.models.parts import PartsModel
from structformer.models.pooled import PooledModel
from structformer.tokens import TokenSet

from .baselines.sets import DeepSets, PooledMLP, PooledTransformer, SetTransformer
from .ledger import Arm
from .sets_problem import Problem, SetBatch

SOES, RESSFORMER = "soes", "ressformer"
INDUCED = 16
HEADS = 4
Rival = Callable[[Problem, int, int], nn.Module]


class ImageEmbedding(nn.Sequential):
    """Two convolutions, each halved by its largest values, and a linear map: the same in every arm.

    Args:
        side: Of the square images, in pixels.
        features: Of an embedded image.
    """

    def __init__(self, side: int, features: int = 64) -> None:
        super().__init__(
            nn.Unflatten(1, (1, side, side)),
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(32 * (side // 4) ** 2, features),
        )
        self.features = features


class SetNetwork(nn.Module):
    """What sees the tokens of a set, and before it what sees images, if tokens are images.

    Args:
        images: The embedding of images, or None.
        body: From packed tokens to outputs.
    """

    def __init__(self, images: ImageEmbedding | None, body: nn.Module) -> None:
        super().__init__()
        self.images, self.body = images, body

    def forward(
        self, x: Float[Tensor, "tokens features"], ptr: Int[Tensor, "pointers"]
    ) -> tuple[Float[Tensor, "pointers-1 outputs"], Float[Tensor, ""]]:
        """Return the outputs of each set, and what the network itself adds to the loss."""
        h = x if self.images is None else self.images(x)
        if isinstance(self.body, PooledModel | PartsModel):
            found = self.body(TokenSet(h, ptr=ptr))
            return found.outputs.flatten(1), found.encoded.loss
        return self.body(h, ptr), h.new_zeros(())


def _rivals() -> dict[str, Rival]:
    def transformer(problem: Problem, features: int, width: int, positions: bool) -> nn.Module:
        return PooledTransformer(features, problem.outputs, width, HEADS, positions=positions)

    def set_transformer(problem: Problem, features: int, width: int) -> nn.Module:
        induced = INDUCED if problem.large else 0
        return SetTransformer(features, problem.outputs, width, HEADS, problem.parts, induced)

    def pooled(problem: Problem, features: int, width: int, pooling: str) -> nn.Module:
        return PooledMLP(features, problem.outputs, width, pooling)

    return {
        "deep sets": lambda problem, features, width: DeepSets(features, problem.outputs, width),
        "set transformer": set_transformer,
        "mean of MLPs": partial(pooled, pooling="mean"),
        "maximum of MLPs": partial(pooled, pooling="max"),
        "transformer": partial(transformer, positions=False),
        "transformer with positions": partial(transformer, positions=True),
    }


RIVALS = _rivals()
ARMS = {
    SOES: Arm(SOES, ours=True, options={"model": "soes", "width": 64, "steps": 2}),
    RESSFORMER: Arm(RESSFORMER, ours=True, options={"model": "ressformer", "steps": 3}),
    **{name: Arm(name) for name in RIVALS},
}


def build(arm: str, problem: Problem, example: SetBatch) -> SetNetwork:
    """Return an untrained arm; its width is such that it has about as many parameters as `SOES`.

    Args:
        arm: Of `ARMS`.
        problem: What it is for.
        example: Sets from which it may learn how numbers are spread; the same for all arms.
    """
    options = ARMS[arm].options
    if "width" in options:
        return _network(arm, problem, example, options["width"])
    wanted = num_parameters(build(SOES, problem, example))
    low, high = 1, 128
    while high - low > 1:  # of low too few, of high enough
        middle = (low + high) // 2
        enough = num_parameters(_network(arm, problem, example, middle * HEADS)) >= wanted
        low, high = (low, middle) if enough else (middle, high)
    near = [_network(arm, problem, example, width * HEADS) for width in (low, high)]
    return min(near, key=lambda network: abs(num_parameters(network) - wanted))


def num_parameters(network: nn.Module) -> int:
    """Return how many numbers training changes."""
    return sum(weight.numel() for weight in network.parameters())


def _network(arm: str, problem: Problem, example: SetBatch, width: int) -> SetNetwork:
    images = None if problem.side is None else ImageEmbedding(problem.side)
    features = problem.features if images is None else images.features
    if arm in RIVALS:
        return SetNetwork(images, RIVALS[arm](problem, features, width))
    return SetNetwork(images, _ours(ARMS[arm].options, problem, example, images, width))


def _ours(
    options: Mapping[str, Any],
    problem: Problem,
    example: SetBatch,
    images: ImageEmbedding | None,
    width: int,
) -> PooledModel | PartsModel:
    rest = {key: value for key, value in options.items() if key not in ("model", "width")}
    config = encoder_config(options["model"], rest, width=width, heads=HEADS, dropout=0.0)
    x, ptr = (example.x, example.ptr) if images is None else (torch.zeros(1, images.features), None)
    tokens = token_input(TokenSet(x, ptr=ptr))
    if problem.parts > 1:
        return PartsModel(tokens, problem.parts, problem.outputs // problem.parts, config)
    return PooledModel(tokens, problem.outputs, config)
