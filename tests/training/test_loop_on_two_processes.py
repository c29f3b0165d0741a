"""The training loop on two processes, as `accelerate launch --cpu --num_processes 2` starts it."""

import json
import os
import socket
import subprocess
import sys

TRAIN = """
import json, sys, warnings
import torch
from torch import nn
from structformer.training import TrainingConfig, index_loader, train

torch.set_num_threads(1)
# DistributedDataParallel says so whenever a batch happens to use every parameter.
warnings.filterwarnings("ignore", message="find_unused_parameters=True was specified")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 1)
        self.idle = nn.Parameter(torch.ones(2))  # like the bonus of edges in data without edges

    def forward(self, x):
        return self.layer(x).squeeze(1)


torch.manual_seed(0)
model = Net()
x = torch.randn(23, 3, generator=torch.Generator().manual_seed(1))
y = x @ torch.tensor([1.0, -2.0, 0.5])
seen = []


def loss(model, batch):
    seen[-1] += batch.tolist()
    return (model(x[batch]) - y[batch]).square().mean()


def start(epoch, model):
    seen.append([])
    return epoch.number == 6 and sys.argv[1] == "1"  # one process alone asks to stop


seen.append([])
config = TrainingConfig(epochs=9, learning_rate=0.1, device="cpu", patience=None)
history = train(
    model,
    index_loader(23, 5, 0, lambda index: index),
    loss,
    config,
    validate=lambda model: -float((model(x) - y).square().mean()),
    callbacks=[start],
)
torch.distributed.barrier()
torch.distributed.destroy_process_group()  # at exit, one process would find the other gone
print(json.dumps({
    "losses": [epoch.loss for epoch in history.epochs],
    "scores": [epoch.score for epoch in history.epochs],
    "stopped": history.stopped,
    "weights": model.layer.weight.flatten().tolist(),
    "idle": model.idle.tolist(),
    "seen": seen,
}))
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def test_processes_share_the_data_and_agree(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(TRAIN)
    common = os.environ | {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": free_port(),
        "GLOO_SOCKET_IFNAME": "lo",
        "ACCELERATE_USE_CPU": "true",
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
    }
    processes = [
        subprocess.Popen(
            [sys.executable, script, str(rank)],
            env=common | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=120) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], outputs
    first, second = (json.loads(out.splitlines()[-1]) for out, _ in outputs)
    shares = first.pop("seen"), second.pop("seen")
    assert first == second
    assert len(first["losses"]) == 6
    assert first["stopped"] == "callback"
    assert first["losses"][-1] < first["losses"][0] / 2
    assert first["idle"] == [1.0, 1.0]
    for epoch in range(6):
        # Five batches on two processes: the first is seen twice, to make up the sixth.
        assert set(shares[0][epoch]) | set(shares[1][epoch]) == set(range(23))
        assert len(shares[0][epoch]) + len(shares[1][epoch]) < 23 + 6
