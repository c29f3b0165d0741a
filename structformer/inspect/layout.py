"""Where to draw the tokens of a graph: a force layout, the same for the same graph and seed."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

_ITERATIONS = 200


def force_layout(
    num_nodes: int, edges: Int[np.ndarray, "2 edges"], weight: Float[np.ndarray, "edges"], seed: int = 0
) -> Float[np.ndarray, "nodes 2"]:
    """Place nodes so that strong edges are short and nodes stay apart (Fruchterman and Reingold, 1991).

    All pairs repel with a force of 1/d, edges attract with w·d², and a weak pull to the middle keeps parts
    that no edge joins on the page. Costs O(nodes²) a round: for a few hundred nodes.

    Args:
        num_nodes: How many nodes to place.
        edges: Pairs of nodes; direction does not matter, self-loops do nothing.
        weight: How strongly each edge pulls, not negative.
        seed: Seed of the starting places.

    Returns:
        Coordinates in the unit square, the longer side filling it.
    """
    if num_nodes == 0:
        return np.zeros((0, 2))
    pull = np.zeros((num_nodes, num_nodes))
    np.add.at(pull, (edges[0], edges[1]), weight)
    pull += pull.T
    np.fill_diagonal(pull, 0.0)
    # Weights are shares of a row's attention: scaled to a mean pull of 1 an edge, the picture
    # does not depend on how many edges share the weight.
    if pull.any():
        pull /= pull[pull > 0].mean()
    position = _spectral_start(pull, np.random.default_rng(seed))
    ideal = 1.0 / np.sqrt(num_nodes)
    for round_ in range(_ITERATIONS):
        squared = (position**2).sum(1)
        squared = squared[:, None] + squared[None] - 2 * position @ position.T
        distance = np.sqrt(np.maximum(squared, 1e-8))
        force = ideal**2 / distance**2 - pull * distance / ideal
        np.fill_diagonal(force, 0.0)
        # Σ_j f_ij (p_i − p_j), and the pull to the middle.
        step = position * force.sum(1, keepdims=True) - force @ position - 1.5 * position
        length = np.maximum(np.sqrt((step**2).sum(1, keepdims=True)), 1e-9)
        # The longest step allowed shrinks, so that the picture settles.
        limit = 0.1 * (1 - round_ / _ITERATIONS) + 1e-3
        position = position + step / length * np.minimum(length, limit)
    return fit_unit_square(position)


def fit_unit_square(position: Float[np.ndarray, "nodes 2"]) -> Float[np.ndarray, "nodes 2"]:
    """Move and scale coordinates into the unit square, centred, keeping their proportions."""
    position = np.asarray(position, dtype=np.float64)
    if len(position) == 0:
        return position
    low, high = position.min(0), position.max(0)
    scale = float((high - low).max()) or 1.0
    return (position - (low + high) / 2) / scale + 0.5


def _spectral_start(
    pull: Float[np.ndarray, "nodes nodes"], generator: np.random.Generator
) -> Float[np.ndarray, "nodes 2"]:
    """Start from the two slowest eigenvectors of the normalised Laplacian: untangled from the outset."""
    num_nodes = len(pull)
    jitter = generator.normal(scale=0.05, size=(num_nodes, 2))
    if num_nodes < 4:
        return jitter
    degree = np.sqrt(pull.sum(1) + 1e-9)
    _, vectors = np.linalg.eigh(pull / degree[:, None] / degree[None])
    start = vectors[:, [-2, -3]]
    # Eigenvectors come with either sign: their largest entry is made positive.
    start = start * np.sign(start[np.abs(start).argmax(0), [0, 1]])
    return start / np.maximum(np.abs(start).max(0), 1e-9) * 0.5 + jitter
