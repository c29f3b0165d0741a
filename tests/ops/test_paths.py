import pytest
import torch

from structformer.ops import paths
from structformer.ops.paths import _csr_works, attention_path, csr_available, product_path

PRODUCTS = "csr" if csr_available() else "gather"


@pytest.mark.parametrize("choose", [attention_path, product_path])
def test_the_path_follows_the_tensors(choose):
    x = torch.randn(3)
    assert choose(None, x, x) == PRODUCTS
    assert choose(None, x, x.to("meta")) == "gather"
    assert choose("gather", x) == "gather"
    assert choose(None, x.bfloat16()) == PRODUCTS  # computed in float32


def test_another_build_of_torch_takes_the_other_path(monkeypatch):
    monkeypatch.setattr(paths, "csr_available", lambda: False)
    assert attention_path(None, torch.randn(3)) == "gather"
    with pytest.raises(ValueError, match=r'path "csr" needs .* take "gather"'):
        attention_path("csr", torch.randn(3))


def test_paths_that_cannot_be_taken():
    with pytest.raises(ValueError, match=r"None \(got 'cuda'\)"):
        attention_path("cuda", torch.randn(3))
    with pytest.raises(ValueError, match=r"None \(got 'triton'\)"):
        product_path("triton", torch.randn(3))
    with pytest.raises(ValueError, match=r"float32 on meta"):
        attention_path("csr", torch.randn(3, device="meta"))


def test_triton_serves_softmax_alone(monkeypatch):
    x = torch.randn(3)
    monkeypatch.setattr(paths.triton_attention, "available", lambda *_: True)
    assert attention_path("triton", x) == "triton"
    # The interpreter is for tests: nobody gets it who does not ask.
    assert attention_path(None, x) == PRODUCTS
    for wanted in ({"normalizer": "sparsemax"}, {"normalizer": torch.tensor(1.5)}, {"return_weights": True}):
        with pytest.raises(ValueError, match='path "triton" needs softmax, no return_weights'):
            attention_path("triton", x, **wanted)
    monkeypatch.setattr(paths.triton_attention, "available", lambda *_: False)
    with pytest.raises(ValueError, match="float32 on cpu"):
        attention_path("triton", x)


@pytest.mark.skipif(not csr_available(), reason="this build of torch has no MKL")
def test_nobody_hears_of_beta_states():
    torch.set_warn_always(True)
    try:
        assert _csr_works.__wrapped__()  # warnings are errors here
    finally:
        torch.set_warn_always(False)
