"""The room's rules: equal signatures, a lazy import, dispatch by array type, Numba's flags and its cache."""

import inspect
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import kernels
from kernels import contracts, cpu, cuda, reference
from kernels.contracts.backend import backend_of, lie_on_device
from kernels.cpu import jit as cpu_jit

ENTRIES = sorted(contracts.ENTRIES)
CPU_ONLY = {  # how, not what
    "jit.py", "activations.py", "tiles.py", "panels.py", "gemm.py", "sums.py", "product.py", "ranking.py", "chunks.py",
    "team.py", "batches.py", "attentive_steps.py", "decoder_steps.py", "blocks.py", "matrix_unit.py", "processor.py",
    "tile_data.py", "narrow.py", "weights.py", "widening.py", "vectors.py", "once.py",
    "board.py", "standby.py", "incremental_lstm.py",
}  # fmt: skip
CUDA_ONLY = {"lstm_persistent.py", "lstm_stepwise.py", "pack.py", "places.py", "ranking.py", "sorting.py", "tensors.py"}
CUDA_SOURCES = [path for path in Path(cuda.__file__).parent.rglob("*.py") if path.parent.name != "runtime"]
CPU_SOURCES = sorted(Path(cpu.__file__).parent.glob("*.py"))


def python(code, **environment):
    """Run code in a fresh interpreter at the root of the packages and return what it prints."""
    root = Path(kernels.__file__).parents[1]
    settings = {**os.environ, **environment}
    result = subprocess.run([sys.executable, "-c", code], cwd=root, env=settings, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.mark.parametrize("name", ENTRIES)
def test_signatures_are_equal(name):
    """Names, order and defaults; a cache is each backend's own type."""

    def parameters(module):
        return [(p.name, p.default, p.kind) for p in inspect.signature(getattr(module, name)).parameters.values()]

    assert parameters(kernels) == parameters(reference) == parameters(cpu) == parameters(cuda)


def test_every_backend_has_the_same_names_and_files():
    assert sorted(reference.__all__) == sorted(cpu.__all__) == sorted(cuda.__all__) == ENTRIES
    names = {path.name for path in Path(reference.__file__).parent.glob("*.py")}
    assert {path.name for path in CPU_SOURCES} - CPU_ONLY == names - {"precision.py"}
    assert {path.name for path in CUDA_SOURCES} - CUDA_ONLY <= names


def test_a_gpu_has_kernels_of_its_own_unless_the_stub_says_otherwise():
    borrowed = {name for name in ENTRIES if getattr(cuda, name) is getattr(reference, name)}
    assert borrowed == {name for name, made in contracts.ENTRIES.items() if made.by_reference}


def test_import_is_lazy_and_marked():
    code = "import kernels, sys; print('numba' in sys.modules, kernels.__minigrad_kernels__)"
    assert python(code) == "False True"


class Foreign:
    """Stands for an array of another library."""

    def __init__(self, module):
        self.__class__ = type("ndarray", (), {"__module__": module})


def test_the_arrays_choose_the_backend():
    host, device = np.zeros(2), Foreign("cupy._core.core")
    assert not lie_on_device([("x", host), ("bias", None), ("h0", host)])
    assert lie_on_device([("x", device), ("bias", None)])
    with pytest.raises(TypeError, match=r"x is a numpy\.ndarray but h0 is a cupy\.ndarray"):
        lie_on_device([("x", host), ("h0", device)])
    with pytest.raises(TypeError, match=r"h0 is a builtins\.list; expected a NumPy array"):
        lie_on_device([("x", host), ("h0", [1.0])])


def test_float64_on_a_device_is_the_oracles():
    half, double = np.dtype(np.float32), np.dtype(np.float64)
    assert backend_of(False, half) is backend_of(False, double) is backend_of(False, None) is cpu
    assert backend_of(True, half) is backend_of(True, None) is cuda
    assert backend_of(True, double) is reference


def test_flags_cannot_swallow_a_nan():
    """And only plain sums may be reordered."""
    assert {"error_model": "numpy", "nogil": True, "fastmath": {"contract", "arcp"}} == cpu_jit.FLAGS
    assert {"error_model": "numpy", "nogil": True, "fastmath": {"contract", "arcp", "reassoc"}} == cpu_jit.SUM_FLAGS


@pytest.mark.parametrize("path", CPU_SOURCES, ids=lambda path: path.name)
def test_numba_is_configured_in_one_place(path):
    """Kernels are serial, and no file but jit.py names a compiler flag."""
    source = path.read_text()
    for word in ("nnan", "ninf", "prange", "parallel=True"):
        assert word not in source
    if path.name != "jit.py":
        for word in ("njit", "fastmath", "error_model", "import numba"):
            assert word not in source


PRINT_FOLDER = "import numba; from kernels.cpu import jit; print(jit.CACHE_FOLDER, repr(numba.config.CACHE_DIR))"


def test_kernels_of_a_process_without_leave_lie_apart(monkeypatch, tmp_path):
    """One that may not use a matrix unit would end by what one that may has compiled."""
    monkeypatch.setattr(cpu_jit.config, "CACHE_DIR", str(tmp_path))
    cases = ("+avx2,+amx-bf16", False, True), ("+amx-bf16", True, False), ("+avx2", False, False)
    for features, allowed, apart in cases:
        monkeypatch.setattr(cpu_jit.numba.core.codegen, "get_host_cpu_features", lambda features=features: features)
        monkeypatch.setattr(cpu_jit.tile_data, "ALLOWED", allowed)
        assert cpu_jit.cache_folder() == str(tmp_path / "no-matrix-unit" if apart else tmp_path)


def test_cache_folder(tmp_path):
    own = python(PRINT_FOLDER, XDG_CACHE_HOME=str(tmp_path), NUMBA_CACHE_DIR="")
    assert own.startswith(str(tmp_path / "minigrad"))
    assert own.endswith(f"-{cpu_jit.source_digest()} ''")
    chosen = str(tmp_path / "chosen")
    assert python(PRINT_FOLDER, NUMBA_CACHE_DIR=chosen) == f"{chosen} {chosen!r}"
    (tmp_path / "file").write_text("")
    assert python(PRINT_FOLDER, XDG_CACHE_HOME=str(tmp_path / "file"), NUMBA_CACHE_DIR="") == "None ''"


RUN_A_KERNEL = "import numpy as np, kernels; print(kernels.sum_of_squares(np.arange(3.0)))"


def test_compiled_code_lands_in_the_cache_folder_only(tmp_path):
    assert python(RUN_A_KERNEL, XDG_CACHE_HOME=str(tmp_path), NUMBA_CACHE_DIR="", NUMBA_DISABLE_JIT="0") == "5.0"
    assert list(tmp_path.glob("minigrad/*/*/clipping.*.nbc"))
    assert not list(Path(cpu.__file__).parent.glob("__pycache__/*.nbc"))


def test_a_constant_in_a_call_compiles_nothing_anew():
    @cpu_jit.jit
    def add(a, b):
        return a + b

    @cpu_jit.jit
    def add_more(a):
        return add(add(add(a, a), 1), b=2)

    assert add_more(3) == 9
    assert len(add.signatures) == 1


def test_works_without_a_cache_and_without_the_compiler(tmp_path):
    (tmp_path / "file").write_text("")
    assert python(RUN_A_KERNEL, XDG_CACHE_HOME=str(tmp_path / "file"), NUMBA_CACHE_DIR="") == "5.0"
    assert python(RUN_A_KERNEL, NUMBA_DISABLE_JIT="1") == "5.0"


def test_the_digest_notices_an_edit_of_any_file(tmp_path, monkeypatch):
    for path in CPU_SOURCES:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(cpu_jit, "__file__", str(tmp_path / "jit.py"))
    before = cpu_jit.source_digest()
    with (tmp_path / "activations.py").open("a") as file:
        file.write("# edited\n")
    assert cpu_jit.source_digest() != before
