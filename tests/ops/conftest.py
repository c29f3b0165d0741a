import pytest
import torch


@pytest.fixture(autouse=True, scope="package")
def _one_thread():
    # On tensors this small, threads waiting for each other cost more than they do.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
