"""What of a machine the kernels depend on, for a bug report."""

import os

# Those of a processor that kernels are chosen by, or that explain a speed, as LLVM calls them.
_FEATURES = ("avx2", "fma", "avx512f", "avx512bf16", "amx-bf16", "neon", "sve", "bf16")


def processor_features() -> list[str]:
    """Of the features that count, those that kernels are compiled for: of a matrix unit, if it may be used."""
    from kernels.cpu.processor import target_features

    found = target_features()
    return [name for name in _FEATURES if found.get(name)]


def compiled_kernels() -> tuple[str | None, int]:
    """The folder where compiled kernels are kept, None where there can be none, and how many lie there."""
    from kernels.cpu.jit import CACHE_FOLDER

    files = (name for _, _, names in os.walk(CACHE_FOLDER or os.devnull) for name in names)
    return CACHE_FOLDER, sum(name.endswith(".nbc") for name in files)
