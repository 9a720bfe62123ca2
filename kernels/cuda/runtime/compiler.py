"""Compiles a .cu file for the device with NVRTC, once: cubins are kept in the user's cache.

CuPy's own compiler is passed by, for it adds -ftz=true, under which Adam's results are no longer those of the CPU to
the bit. The headers are given to NVRTC as text: nothing is looked up on the machine, a CUDA toolkit is not needed.

A cubin's name holds a digest of all that it was made of: sources, options, and the version of NVRTC. Any edit compiles
anew. Where nothing can be written, every process compiles for itself.
"""

import functools
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

SOURCE_FOLDER = Path(__file__).parents[1]  # its rooms hold the .cu files and their headers


def cubin(source: Path, capability: str, options: tuple[str, ...] = (), folder: Path = SOURCE_FOLDER) -> Path:
    """The compiled form of a .cu file, made now if the cache has none.

    Args:
        source: the file.
        capability: of the device, as CuPy writes it: "90".
        options: more options of NVRTC, such as "-DNAME".
        folder: its .cuh files may be included by their paths in it: "runtime/device.cuh".

    Raises:
        RuntimeError: the compiler's log, or an NVRTC that does not know the device.
    """
    from cupy.cuda import nvrtc

    headers = {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.cuh"))}
    options = ("-std=c++17", f"-arch=sm_{_architecture(nvrtc, capability)}", *options)
    made_of = (source.name, source.read_bytes(), headers, options, nvrtc.getVersion())
    digest = hashlib.sha256(repr(made_of).encode()).hexdigest()[:16]
    path = cache_folder() / f"{source.stem}-{digest}.cubin"
    if not path.exists():
        partial = path.with_suffix(f".{os.getpid()}")  # two processes may compile the same one
        partial.write_bytes(_compile(nvrtc, source, headers, options))
        partial.replace(path)
    return path


@functools.cache
def cache_folder() -> Path:
    """Where cubins are kept between runs, or for this process only where nothing can be kept."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    folder = home / "minigrad" / "cuda"
    if home.is_absolute():  # else "~" was left as it is
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            pass
        else:
            if os.access(folder, os.W_OK):
                return folder
    return Path(tempfile.mkdtemp())


def _architecture(nvrtc: Any, capability: str) -> int:
    """The newest architecture whose code the device runs: its own, or an earlier one of its generation."""
    known = [number for number in nvrtc.getSupportedArchs() if number // 10 == int(capability) // 10]
    fitting = [number for number in known if number <= int(capability)]
    if not fitting:
        version = ".".join(map(str, nvrtc.getVersion()))
        raise RuntimeError(f"NVRTC {version} cannot compile for a device of compute capability {capability}")
    return max(fitting)


def _compile(nvrtc: Any, source: Path, headers: dict[str, bytes], options: tuple[str, ...]) -> bytes:
    names = [name.encode() for name in headers]
    program = nvrtc.createProgram(source.read_text(), source.name, list(headers.values()), names)
    try:
        nvrtc.compileProgram(program, options)
        return nvrtc.getCUBIN(program)
    except nvrtc.NVRTCError as error:
        raise RuntimeError(f"{source.name}: {error}\n{nvrtc.getProgramLog(program)}") from None
    finally:
        nvrtc.destroyProgram(program)
