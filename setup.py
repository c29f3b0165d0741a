"""The compiled part of the package; all else about it is in pyproject.toml."""

from setuptools import Extension, setup

# Sums may be taken in any order and no floating-point exception is looked for; what is not a number stays one.
FLAGS = ["-std=c++17", "-O3", "-fopenmp", "-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros"]
FLAGS += ["-fassociative-math", "-ffp-contract=fast"]
KERNELS = ["delta_memory", "fused", "geglu", "short_convolution"]
# One build for each set of instructions; structformer/ops/compiled.py picks one by the processor at hand.
BUILDS = {
    "x86_v4": ["-march=x86-64-v4", "-mprefer-vector-width=512"],
    "x86_v3": ["-march=x86-64-v3"],
    "any": [],
}

setup(
    ext_modules=[
        Extension(
            f"structformer.ops._compiled_{name}",
            [f"structformer/ops/{kernels}_kernels.cpp" for kernels in KERNELS],
            depends=["structformer/ops/exponential.h"],
            extra_compile_args=FLAGS + flags,
            extra_link_args=["-fopenmp"],
            # Without a compiler that can do it, structformer installs all the same and takes slower paths.
            optional=True,
        )
        for name, flags in BUILDS.items()
    ]
)
