import jaxtyping
import pytest
import torch


@pytest.fixture(autouse=True, scope="package")
def _one_thread():
    # On tensors this small, threads waiting for each other cost more than they do.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def unchecked():
    """Switch the shape checks off that would otherwise catch bad arguments before the functions do."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
