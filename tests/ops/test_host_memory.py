import subprocess
import sys

import pytest

STEPS = """
import resource, sys, torch
from pathlib import Path
from structformer.ops import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(12_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1])

plain = faults()
if not keep_freed_memory():
    sys.exit(77)
faults()
kept, full = faults(), resident()
assert keep_freed_memory(False)
print(plain, kept, full - resident())
"""
PAGES = 12_000_000 * 4 // 4096


def test_kept_memory_is_used_again():
    # In a process of its own: it concerns all memory of a process.
    done = subprocess.run([sys.executable, "-c", STEPS], capture_output=True, text=True, check=False)
    if done.returncode == 77:
        pytest.skip("the allocator is not glibc's")
    assert done.returncode == 0, done.stderr
    plain, kept, given_back = map(int, done.stdout.split())
    assert kept < 0.05 * plain
    assert given_back > 0.9 * PAGES
