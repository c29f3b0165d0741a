"""How much predictions for nodes depend on the order in which the nodes are given."""

from __future__ import annotations

import torch

from .node_problem import Predictor, Problem
from .runs import Record
from .sweeps import TEST, generator


def node_invariance(problem: Problem, predict: Predictor, permutations: int, seed: int) -> Record:
    """Return the share of test predictions that change under random orders of the nodes, in %, and the largest change.

    Args:
        problem: The nodes.
        predict: The trained arm.
        permutations: Orders to draw.
        seed: Decides them.
    """
    before, drawn = predict(problem.nodes), generator(TEST, seed)
    changed, largest = 0, 0.0
    for _ in range(permutations):
        perm = torch.randperm(len(before), generator=drawn)
        after = predict(problem.nodes.permuted(perm))[torch.argsort(perm)]
        changed += int((after.argmax(1) != before.argmax(1))[problem.test].sum())
        largest = max(largest, float((after - before)[problem.test].abs().max()))
    asked = permutations * int(problem.test.sum())
    return {"changed": 100 * changed / asked, "largest": largest} if permutations else {}
