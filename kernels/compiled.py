"""Where compiled kernels are kept, for who wants to know whether compiling lies ahead."""

from pathlib import Path


def compiled_marker(name: str) -> Path | None:
    """A path beside the compiled kernels of exactly these sources, free for a note that what `name` means is compiled.

    None where compiled kernels are not kept: no folder can be written, or the compiler is switched off. Imports Numba.
    """
    from kernels.cpu import jit

    if jit.CACHE_FOLDER is None or jit.config.DISABLE_JIT:
        return None
    return Path(jit.CACHE_FOLDER) / f"{jit.source_digest()}-{name}"
