import sys
import warnings

import pytest
import torch

from structformer.ops import backend, force_backend, segment_sum
from structformer.ops.backend import torch_scatter

# The package gives the name of this module to the function in it.
MODULE = sys.modules["structformer.ops.backend"]
SRC, ROWPTR = torch.arange(5.0), torch.tensor([0, 2, 2, 5])


@pytest.fixture
def without_scatter(monkeypatch):
    """As if torch-scatter were not installed, and nobody had been told yet."""
    monkeypatch.setattr(MODULE, "torch_scatter", None)
    monkeypatch.setattr(MODULE, "_warned", False)


def test_forcing_is_undone_even_after_an_error():
    before = backend()
    with force_backend("torch"):
        assert backend() == "torch"
    with pytest.raises(KeyError), force_backend("torch"):
        {}["inside"]
    assert backend() == before


def test_an_unknown_backend_is_refused():
    message = r"""backend must be "scatter" or "torch" \(got 'numba'\)"""
    with pytest.raises(ValueError, match=message), force_backend("numba"):
        pass


def test_scatter_is_the_default_where_it_is_installed():
    assert backend() == ("torch" if torch_scatter is None else "scatter")


@pytest.mark.usefixtures("without_scatter")
def test_missing_torch_scatter_is_reported_once():
    assert backend() == "torch"
    with pytest.warns(UserWarning, match=r"torch-scatter is not installed.*pip install") as caught:
        segment_sum(SRC, ROWPTR)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert segment_sum(SRC, ROWPTR).tolist() == [1.0, 0.0, 9.0]


@pytest.mark.usefixtures("without_scatter")
def test_scatter_cannot_be_forced_where_it_is_missing():
    with pytest.raises(ModuleNotFoundError, match="--no-build-isolation"), force_backend("scatter"):
        pass


@pytest.mark.usefixtures("without_scatter")
def test_asking_for_torch_is_no_reason_to_warn():
    with warnings.catch_warnings(), force_backend("torch"):
        warnings.simplefilter("error")
        segment_sum(SRC, ROWPTR)


@pytest.mark.skipif(torch_scatter is None, reason="torch-scatter is not installed")
def test_the_forced_backend_is_the_one_that_runs(monkeypatch):
    calls = []
    real = torch_scatter.segment_csr

    def counting(*args, **kwargs):
        calls.append(1)
        return real(*args, **kwargs)

    monkeypatch.setattr(torch_scatter, "segment_csr", counting)
    with force_backend("torch"):
        segment_sum(SRC, ROWPTR)
    assert not calls
    with force_backend("scatter"):
        segment_sum(SRC, ROWPTR)
    assert calls
