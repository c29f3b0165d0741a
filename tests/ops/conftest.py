import jaxtyping
import pytest


@pytest.fixture
def unchecked():
    """Switch the shape checks off that would otherwise catch bad arguments before the functions do."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
