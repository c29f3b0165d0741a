"""The kernels against the compiler; tests/ops/test_triton_attention.py has what they compute."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("triton")

COMPILE = """
import sys
import structformer.ops.triton_attention
assert "structformer.ops.triton_kernels" not in sys.modules, "triton must wait for the first call"
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from structformer.ops import triton_kernels

SIZES = dict(H=3, C=32, V=16, BIAS=3, DROPOUT=True, BLOCK_E=16, BLOCK_H=4, BLOCK_C=32, BLOCK_V=16)
TYPES = dict.fromkeys(("rowptr", "col", "perm"), "*i64") | dict(scale="fp64", kept="fp64", seed="i64")
TYPES |= dict.fromkeys(("bias", "lse", "delta", "grad_bias"), "*fp32")
for name in ("forward_kernel", "rows_kernel", "columns_kernel", "weights_kernel"):
    kernel = getattr(triton_kernels, name)
    constants = {x: SIZES[x] for x in kernel.arg_names if x in SIZES}
    signature = {x: "constexpr" if x in SIZES else TYPES.get(x, "*bf16") for x in kernel.arg_names}
    source = ASTSource(kernel, signature, constants)
    assert compile(source, target=GPUTarget("cuda", 80, 32)).asm["ptx"]
"""


def test_the_compiler_takes_what_the_interpreter_takes(tmp_path):
    """No GPU is needed to compile for one."""
    environment = {x: y for x, y in os.environ.items() if x != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
