import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
from structformer.tasks.worker_pool import worker_pool

SCRIPT = """
import os, time
from structformer.tasks.worker_pool import worker_pool

if __name__ == "__main__":
    with worker_pool(1) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 600).result()
"""


def test_workers_share_the_cores():
    with worker_pool(2) as pool:
        threads = pool.submit(torch.get_num_threads).result()
    assert threads == max(1, (os.cpu_count() or 1) // 2)


def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path):
    script = tmp_path / "parent.py"
    script.write_text(SCRIPT)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        assert lives(worker)
        parent.send_signal(signal.SIGKILL)
    ends = time.monotonic() + 30
    while lives(worker) and time.monotonic() < ends:
        time.sleep(0.05)
    assert not lives(worker)


def lives(process: int) -> bool:
    """Whether there is a process of this number that is not only waiting to be forgotten."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
