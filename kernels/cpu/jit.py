"""The one place that configures Numba: the flags of every kernel, and where compiled code is cached.

Flags. Loops over floats vectorise without `fastmath=True`; of the fast-math permissions only those are given that
cannot hide a NaN or an infinity. Reordering is allowed to plain sums alone: elsewhere a - (b - c) may become
(a + c) - b, which costs a small difference of large numbers its digits. `error_model="numpy"` drops the division check
that would stop vectorising.

Cache. Numba notices an edit of the file a kernel stands in, but not of a helper in another file. So the folder's name
holds the Numba version and a digest of all sources of this package: any edit starts a fresh folder. A NUMBA_CACHE_DIR
set by the user wins. Nor does Numba notice whether a matrix unit may be used: a process that may not, where there is
one, has a folder inside. Where no folder can be written, kernels are compiled in every process.
"""

import hashlib
import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from kernels.cpu import tile_data

# What Numba and LLVM take unchecked and end by, far from here: name, form, and what is expected.
_CHECKED_VARIABLES = (
    ("NUMBA_NUM_THREADS", r"0*[1-9][0-9]{0,5}", "a number of threads from 1 on"),
    ("NUMBA_CPU_FEATURES", r"([+-][\w.-]+(,[+-][\w.-]+)*)?", "features such as +avx2,-fma"),
)


def _check_environment() -> None:
    """ImportError where an environment variable keeps Numba from working."""
    for name, form, expected in _CHECKED_VARIABLES:
        value = os.environ.get(name)
        if value is not None and not re.fullmatch(form, value, re.ASCII):
            raise ImportError(f"the environment variable {name} is {value!r}; expected {expected}")


def _import_numba() -> Any:
    """Numba; ImportError in one line where its settings, of the environment or a file, are at fault."""
    _check_environment()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            import numba
        except ImportError:
            raise
        except Exception as error:
            reason = " ".join(str(error).split())
            raise ImportError(f"Numba cannot be imported ({type(error).__name__}: {reason})") from None
    for warning in told:
        if "could not be parsed" in str(warning.message):
            raise ImportError(str(warning.message).splitlines()[0])
    return numba


numba: Any = _import_numba()
config: Any = numba.config
Function = TypeVar("Function", bound=Callable[..., Any])

FLAGS: Any = {"error_model": "numpy", "fastmath": {"contract", "arcp"}, "nogil": True}
SUM_FLAGS: Any = {"error_model": "numpy", "fastmath": {"contract", "arcp", "reassoc"}, "nogil": True}
EXACT_FLAGS: Any = {"error_model": "numpy", "nogil": True}


def source_digest() -> str:
    """16 hex digits that change with any source file of this package, and with its place: Numba looks there."""
    digest = hashlib.sha256(str(Path(__file__).parent).encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def cache_folder() -> str | None:
    """The folder for compiled kernels, created; None where none can be written."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    if not (config.CACHE_DIR or home.is_absolute()):
        return None  # no home directory: "~" was left as it is
    folder = Path(config.CACHE_DIR or home / "minigrad" / f"{numba.__version__}-{source_digest()}")
    if "+amx-bf16" in numba.core.codegen.get_host_cpu_features().split(",") and not tile_data.ALLOWED:
        folder /= "no-matrix-unit"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return str(folder) if os.access(folder, os.W_OK) else None


CACHE_FOLDER = cache_folder()


def jit(function: Function) -> Function:
    """Compile a kernel at its first call, serial, with FLAGS and the cache above."""
    return _compile(function, FLAGS)


def jit_inline(function: Function) -> Function:
    """For a piece of one kernel: its statements stand in the caller's code, so it is never compiled on its own."""
    return numba.njit(inline="always", **FLAGS)(function)


def jit_sum(function: Function) -> Function:
    """The same with SUM_FLAGS, for functions that do nothing but add up: they vectorise in no other way."""
    return _compile(function, SUM_FLAGS)


def jit_exact(function: Function) -> Function:
    """The same with EXACT_FLAGS: every operation is rounded on its own, so two loops over one formula agree to the bit.

    With "contract" the compiler may fuse a * b + c in one loop, or in the vectors of a loop but not in its last
    elements, and not in another.
    """
    return _compile(function, EXACT_FLAGS)


def _compile(function: Function, flags: dict[str, Any]) -> Function:
    flags = flags | {"no_cfunc_wrapper": True}  # nobody calls a kernel from C; without the wrapper it compiles faster
    if CACHE_FOLDER is None:
        return _take_values(numba.njit(**flags)(function))
    # Numba fixes the folder while it decorates; other packages' kernels must not land in ours, nor ours elsewhere.
    ours = {"CACHE_DIR": CACHE_FOLDER, "CACHE_LOCATOR_CLASSES": ""}
    configured = {name: getattr(config, name, None) for name in ours}
    vars(config).update(ours)
    try:
        return _take_values(numba.njit(cache=True, **flags)(function))
    finally:
        vars(config).update(configured)


def _take_values(kernel: Any) -> Any:
    """The kernel, to which a constant among the arguments of a call is a value as any other.

    Numba would compile it, and all that it hands that argument to, once more for each constant in a call.
    """
    if config.DISABLE_JIT:
        return kernel
    of_types, unliteral = kernel.get_call_template, numba.core.types.unliteral

    def of_values(args: Any, kws: Any) -> Any:
        return of_types([unliteral(kind) for kind in args], {name: unliteral(kind) for name, kind in dict(kws).items()})

    kernel.get_call_template = of_values
    return kernel


def address_of(kernel: Any, argument_types: tuple[Any, ...]) -> int:
    """Where the machine code of a kernel of `jit` stands for these types of arguments; compiled if it is not yet."""
    kernel.compile(argument_types)
    result = kernel.overloads[argument_types]
    return int(result.library.get_pointer_to_function(result.fndesc.llvm_func_name))
