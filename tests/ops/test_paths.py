import pytest
import torch

from structformer.ops import paths
from structformer.ops.paths import _csr_works, attention_path, csr_available, possible_paths, product_path

PRODUCTS = possible_paths()[0]


@pytest.mark.parametrize("choose", [attention_path, product_path])
def test_the_path_follows_the_tensors(choose):
    x = torch.randn(3)
    assert choose(None, x, x) == PRODUCTS
    assert choose(None, x, x.to("meta")) == "gather"
    assert choose("gather", x) == "gather"
    assert choose(None, x.bfloat16()) == PRODUCTS  # computed in float32


@pytest.mark.parametrize("choose", [attention_path, product_path])
@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("mkl", [True, False])
def test_each_build_takes_the_fastest_path_it_has(choose, compiled, mkl, monkeypatch):
    monkeypatch.setattr(paths.compiled, "available", lambda: compiled)
    monkeypatch.setattr(paths, "csr_available", lambda: mkl)
    possible = ["fused"] * compiled + ["csr"] * mkl + ["gather"]
    assert possible_paths() == possible
    x = torch.randn(3)
    assert choose(None, x) == possible[0]
    assert [choose(path, x) for path in possible] == possible
    for path, needed in {"fused": "compiled with the package", "csr": "torch with MKL"}.items():
        if path not in possible:
            with pytest.raises(ValueError, match=rf'path "{path}" needs .*{needed}.* take "gather"'):
                choose(path, x)


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
