"""The sizes at which the search changes its ways, in one place, with what they were measured on."""

from __future__ import annotations

# Scores held at once: 16 MB in float32, which stays in the last-level cache of a common machine.
BLOCK = 1 << 22
# The same where codes of 64 bits are handled several times over.
CACHED = 1 << 19
# Threads up to which numpy selects faster than torch.
FEW_THREADS = 4
# Sets with fewer sources or fewer targets than this are searched exactly, whichever method is asked for.
SMALL = 1024
# "auto" searches exactly where sources or targets of a set are no more than this; the method named takes
# larger sets. Seconds for top-32 of clustered unit vectors in 32 dimensions on an idle machine, 2 threads:
# tokens      exact    ivf (recall 0.95)   lsh     warm
# 4,096       0.04     0.08                0.22
# 8,192       0.13     0.16                0.44
# 16,384      0.51     0.37                0.89
# 32,768      2.2      0.60                2.1
# 65,536      7.5      0.77                4.5     1.9
CROSSOVER = {"ivf": 8_192, "warm": 16_384, "lsh": 32_768}
# The same in float64, where a result must be the same each time it is computed: "auto" approximates only
# beyond this many.
CROSSOVER_DOUBLE = 65_536
# Keys in a cell of the random hash: what a target is compared with in a round.
CELL = 256
# Most buckets of the hash: finding a token's bucket costs a product with half as many directions.
MOST_BUCKETS = 4096
