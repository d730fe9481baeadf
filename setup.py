"""The compiled part of the build; everything else stands in pyproject.toml."""

import os

from Cython.Build import cythonize
from setuptools import Extension, setup

COMPILED = [
    "tegcore/dynamics/splitting.py",
    "tegcore/field/fragmentation_sum.py",
    "tegcore/field/kernel_sum.py",
    "tegsim/policies/fgd_sum.py",
    "zone_ledger/book/fast.py",
    "zone_ledger/book/quadtree.py",
    "zone_ledger/bundling.py",
    "zone_ledger/clearing.py",
    "zone_ledger/placement.py",
]
"""Python that Cython compiles for speed (docs/adr/0008); each runs from its source as well. `make` builds them when
they change."""

setup(
    options={"build_ext": {"parallel": os.cpu_count()}},
    ext_modules=cythonize(
        [
            Extension(path.removesuffix(".py").replace("/", "."), [path], extra_compile_args=["-O3"])
            for path in COMPILED
        ],
        language_level=3,
        build_dir="build/cython",
    ),
)
