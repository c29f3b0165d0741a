"""Where to draw the tokens of a graph: a force layout, the same for the same graph and seed."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int

# Of more pairs a node than these, the weakest do not change where it lies.
_MOST_PAIRS = 20
# Blocks of rows of the pairwise distances that stay in a processor's cache.
_BLOCK = 96


def force_layout(
    num_nodes: int, edges: Int[np.ndarray, "2 edges"], weight: Float[np.ndarray, "edges"], seed: int = 0
) -> Float[np.ndarray, "nodes 2"]:
    """Place nodes so that strong edges are short and nodes stay apart (Fruchterman and Reingold, 1991).

    All pairs repel with a force of 1/d, edges attract with w·d², and a weak pull to the middle keeps parts
    that no edge joins on the page. Costs O(nodes²) time a round, two seconds for two thousand nodes, and
    memory in proportion to nodes and edges.

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
    pull = _pull(num_nodes, edges, weight)
    position = _spectral_start(pull, np.random.default_rng(seed))
    ideal = 1.0 / np.sqrt(num_nodes)
    rows, force = np.repeat(np.arange(num_nodes), np.diff(pull.indptr)), pull.copy()
    # Large graphs show no detail that the last rounds would still move.
    rounds = 200 if num_nodes <= 600 else 120
    for round_ in range(rounds):
        distance = np.linalg.norm(position[rows] - position[pull.indices], axis=1)
        force.data = pull.data * distance / ideal
        total = np.asarray(force.sum(1))
        # Σ_j f_ij (p_i − p_j), and the pull to the middle.
        step = ideal**2 * _repulsion(position) - (position * total - force @ position) - 1.5 * position
        length = np.maximum(np.linalg.norm(step, axis=1, keepdims=True), 1e-9)
        # The longest step allowed shrinks, so that the picture settles.
        limit = 0.1 * (1 - round_ / rounds) + 1e-3
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


def _pull(
    num_nodes: int, edges: Int[np.ndarray, "2 edges"], weight: Float[np.ndarray, "edges"]
) -> sp.csr_matrix:
    """How strongly each two nodes attract each other, in both directions; the mean of those that do is 1."""
    apart = (edges[0] != edges[1]) & (weight > 0)
    one_way = sp.csr_matrix((weight[apart], (edges[0][apart], edges[1][apart])), shape=(num_nodes, num_nodes))
    pull = sp.csr_matrix(one_way + one_way.T)
    if pull.nnz > 2 * _MOST_PAIRS * num_nodes:
        least = np.partition(pull.data, -2 * _MOST_PAIRS * num_nodes)[-2 * _MOST_PAIRS * num_nodes]
        pull.data[pull.data < least] = 0.0
        pull.eliminate_zeros()
    # Weights are shares of a row's attention: scaled to a mean pull of 1 an edge, the picture
    # does not depend on how many edges share the weight.
    if pull.nnz:
        pull.data /= pull.data.mean()
    return pull


def _repulsion(position: Float[np.ndarray, "nodes 2"]) -> Float[np.ndarray, "nodes 2"]:
    """Σ_j (p_i − p_j) / |p_i − p_j|², over all others, a block of rows at a time."""
    place = position.astype(np.float32)
    squared, ones = (place**2).sum(1, keepdims=True), np.ones((len(place), 1), dtype=np.float32)
    # |p_i − p_j|² = −2 p_i·p_j + |p_j|² + |p_i|² as one product.
    left, right = np.hstack([-2 * place, ones, squared]), np.hstack([place, squared, ones]).T.copy()
    summed, total = np.hstack([place, ones]), np.empty((len(place), 3), dtype=np.float32)
    for start in range(0, len(place), _BLOCK):
        share = left[start : start + _BLOCK] @ right
        np.maximum(share, 1e-6, out=share)
        np.reciprocal(share, out=share)
        own = np.arange(len(share))
        share[own, start + own] = 0.0
        total[start : start + _BLOCK] = share @ summed
    return (place * total[:, 2:] - total[:, :2]).astype(np.float64)


def _spectral_start(pull: sp.csr_matrix, generator: np.random.Generator) -> Float[np.ndarray, "nodes 2"]:
    """Start near the two slowest eigenvectors of the normalised Laplacian: untangled from the outset."""
    num_nodes = len(pull.indptr) - 1
    jitter = generator.normal(scale=0.05, size=(num_nodes, 2))
    if num_nodes < 4:
        return jitter
    root = np.sqrt(np.asarray(pull.sum(1)) + 1e-9)
    slowest = root / np.linalg.norm(root)
    start = generator.normal(size=(num_nodes, 2))
    # Powers of (I + D^−½ A D^−½) / 2 on what is orthogonal to its known first eigenvector.
    for _ in range(100):
        start = (start + (pull @ (start / root)) / root) / 2
        start, _ = np.linalg.qr(start - slowest * (slowest.T @ start))
    return start / np.maximum(np.abs(start).max(0), 1e-9) * 0.5 + jitter
