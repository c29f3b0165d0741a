import ast
from pathlib import Path

import structformer
from structformer.ops.search import limits
from structformer.ops.search.choose import METHODS


def test_limits_are_in_order():
    assert set(limits.CROSSOVER) == set(METHODS) - {"auto", "exact"}
    for crossover in limits.CROSSOVER.values():
        assert limits.SMALL <= crossover <= limits.CROSSOVER_DOUBLE


def test_buckets_come_in_opposite_pairs():
    """A part has a power of two of buckets, two for each direction, however many it may have at most."""
    assert limits.MOST_BUCKETS >= 2
    assert limits.MOST_BUCKETS & (limits.MOST_BUCKETS - 1) == 0


def test_blocks_of_codes_take_no_more_than_blocks_of_scores():
    assert limits.BLOCK * 4 == 16 * 2**20  # bytes, as the comment there says
    assert limits.CACHED * 8 <= limits.BLOCK * 4


def test_limits_are_read_where_they_are_used():
    """A limit taken over by name would stay what it was when another is set."""
    for file in Path(structformer.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert node.module != limits.__name__, file
