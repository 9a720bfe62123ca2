"""The rules of the house, read off the source: import arrows, sizes, docstrings, banned calls, public names.

A file over 400 lines or a function over 60 says why in a line of its docstring that starts with "Long because".
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
import tomllib
from collections.abc import Collection, Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("kernels", "minigrad", "seq2seq")
SOURCES = sorted(path for room in (*PACKAGES, "tests", "benchmarks") for path in (ROOT / room).rglob("*.py"))
PACKAGE_SOURCES = [path for path in SOURCES if path.relative_to(ROOT).parts[0] in PACKAGES]
MAX_FILE, MAX_FUNCTION = 400, 60
ALLOWED_CALLS = {"seq2seq/conversion/pickles.py": ["pickle"]}  # whose every name is looked up there: test_pickles.py
MAX_ARGUMENTS = 8  # of a kernel; what belongs together is a record or a view
# What takes more, and why.
MANY_ARGUMENTS = {
    **dict.fromkeys(
        ["beam_decode", "attentive_beam_decode", "linear_cross_entropy_forward", "attention_forward",
         "attentive_forward"],
        "an entry whose options have defaults and are given by name",
    ),
    **dict.fromkeys(["coverage_complete", "parts_fit"], "a check, which is given what its entry is"),
    **dict.fromkeys(
        ["pack_b", "pack_rows", "_transpose_edge", "_transpose_edge_in_numpy", "_copy_edge",
         "multiply_panels", "multiply_block", "_call", "_call_slot", "tile", "tile_of_rows", "tile_of_panels",
         "tile_in_numpy"],
        "within a product: Numba counts the users of a view in atomic steps, and takes microseconds to tell a record",
    ),
    **dict.fromkeys(["attend_backward", "_additive_backward", "backward_rows"], "attention's gradient, row by row"),
}  # fmt: skip

# numpy / numba / cupy <- kernels <- minigrad <- seq2seq; what a room may import beside itself and the standard library.
MAY_IMPORT = {
    "kernels": {"numpy", "numba", "llvmlite", "cupy", "cuda"},
    "minigrad": {"numpy", "safetensors", "kernels"},
    "seq2seq": {
        "numpy", "minigrad", "yaml", "num2words", "pooch", "sacrebleu", "sacremoses", "sentencepiece", "spacy",
        "threadpoolctl", "tqdm", "tensorboardX", "matplotlib", "fastapi", "pydantic", "starlette",
        "uvicorn", "onnx", "h5py",
    },
}  # fmt: skip
NOT_AT_IMPORT = {"numba", "llvmlite", "cupy", "cuda", "torch", "scipy", *MAY_IMPORT["seq2seq"], "safetensors"} - {
    "numpy",
    "minigrad",
}
NOT_FOR_TESTS = {
    "torch", "spacy", "cupy", "jax", "onnx", "onnxruntime", "mlxtend", "fastapi", "pydantic", "starlette", "uvicorn",
    "playwright", "tensorboardX", "matplotlib", "h5py",
}  # fmt: skip
ABSOLUTE_PATH = re.compile(r"(?<![\w.~])/(?:work|root|home|Users|mnt)/\w|\b[A-Z]:\\\\?\w")

DOCUMENTED = [
    "kernels", "kernels.reference", "kernels.cpu", "kernels.cuda", "kernels.cuda.recurrent.pack",
    "kernels.cuda.runtime.cublas", "kernels.cuda.runtime.geometry", "kernels.cuda.runtime.launcher",
    "minigrad", "minigrad.ops", "minigrad.nn",
    "minigrad.nn.functional", "minigrad.nn.init", "minigrad.nn.utils", "minigrad.nn.utils.rnn", "minigrad.optim",
    "minigrad.optim.lr_scheduler", "minigrad.autograd", "minigrad.random", "minigrad.utils.data", "minigrad.cuda",
    "minigrad.gradcheck",
    "seq2seq.sources", "seq2seq.metrics", "seq2seq.decoding.search", "seq2seq.models.model", "seq2seq.run.checkpoint",
    "seq2seq.api",
]  # fmt: skip

Functions = ast.FunctionDef | ast.AsyncFunctionDef


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imported_packages(tree: ast.AST) -> Iterator[str]:
    """Top-level names of everything that is imported anywhere; relative imports stay in their room."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0]


def needed_to_collect(tree: ast.Module) -> set[str]:
    """What a module of tests imports as it is loaded, of that which `make test` does not install."""
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    return {name for node in imports for name in imported_packages(node)} & NOT_FOR_TESTS


def forbidden_imports(tree: ast.AST, room: str) -> set[str]:
    return set(imported_packages(tree)) - MAY_IMPORT[room] - set(sys.stdlib_module_names) - {room}


def modules_of(room: str) -> dict[str, ast.Module]:
    """The modules of a room by their dotted names."""
    paths = (path.relative_to(ROOT) for path in (ROOT / room).rglob("*.py"))
    return {".".join(path.with_suffix("").parts).removesuffix(".__init__"): parse(ROOT / path) for path in paths}


def imported_modules(tree: ast.AST, known: Collection[str]) -> set[str]:
    """Which of the known modules are imported anywhere, within functions and for types too."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            parts = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= parts & {*known}
            if parts - {*known}:  # a name of the module itself
                found.add(node.module)
    return found & {*known}


def import_cycles(modules: dict[str, ast.Module]) -> list[list[str]]:
    """The modules that can be reached from themselves, in groups that reach each other."""
    graph = {name: imported_modules(tree, modules) for name, tree in modules.items()}
    reached = {name: {*targets} for name, targets in graph.items()}
    for middle in graph:
        for name in graph:
            if middle in reached[name]:
                reached[name] |= reached[middle]
    groups = {frozenset(other for other in reached[name] if name in reached[other]) for name in graph}
    return sorted(sorted(group) for group in groups if group)


def too_long(tree: ast.Module, num_lines: int) -> list[str]:
    """What exceeds its limit without a reason."""
    found = [] if num_lines <= MAX_FILE or has_reason(tree) else [f"file of {num_lines} lines"]
    for node in ast.walk(tree):
        if isinstance(node, Functions):
            size = (node.end_lineno or node.lineno) - node.lineno + 1
            if size > MAX_FUNCTION and not has_reason(node):
                found.append(f"{node.name} of {size} lines")
    return found


def many_arguments(tree: ast.AST) -> list[str]:
    """The functions with more arguments than a kernel may have."""
    functions = [node for node in ast.walk(tree) if isinstance(node, Functions)]
    counts = {node.name: len([*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]) for node in functions}
    return [name for name, count in counts.items() if count > MAX_ARGUMENTS]


def has_reason(node: ast.Module | Functions) -> bool:
    lines = (ast.get_docstring(node) or "").splitlines()
    return any(line.strip().startswith("Long because") for line in lines)


def banned(tree: ast.AST) -> list[str]:
    """Calls that run data as code, hide NaN, or hand a string to a shell."""
    found = sorted(set(imported_packages(tree)) & {"pickle", "cPickle", "dill", "joblib", "marshal", "shelve"})
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("eval", "exec", "__import__")
        ):
            found.append(f"{node.func.id}()")
        if isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "shell", "fastmath") and is_true(node.value):
            found.append(f"{node.arg}=True")
        if isinstance(node, ast.Constant) and node.value in ("nnan", "ninf"):
            found.append(str(node.value))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("os.system", "yaml.load", "yaml.unsafe_load"):
            found.append(f"{ast.unparse(node.func)}()")
    return found


def row_copies(tree: ast.AST) -> list[str]:
    """Lines of compiled functions like `target[:] = source`: with each, a process compiles the text of an error about
    shapes, in seconds that no cache saves. `kernels.cpu.rows.copy_numbers` does the same."""
    compiled = [
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)
        and any(ast.unparse(decorator).startswith("jit") for decorator in node.decorator_list)
    ]  # fmt: skip
    return [
        ast.unparse(node) for function in compiled for node in ast.walk(function)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript | ast.Name)
        and any(isinstance(part, ast.Slice) for target in node.targets for part in ast.walk(target))
    ]  # fmt: skip


def is_true(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and (node.value is True or node.value == "fast")


def undocumented(module: ModuleType) -> set[str]:
    """The functions and classes of its own distribution that a module offers without a docstring."""
    room = module.__name__.split(".")[0]
    offered = [item for name, item in vars(module).items() if not name.startswith("_")]
    own = [item for item in offered if str(getattr(item, "__module__", "")).split(".")[0] == room]
    routines = [item for item in own if inspect.isroutine(item) or inspect.isclass(item)]
    return {f"{item.__module__}.{item.__qualname__}" for item in routines if not item.__doc__}


@pytest.mark.parametrize("room", PACKAGES)
def test_import_arrows(room) -> None:
    found = {name_of(path): forbidden_imports(parse(path), room) for path in (ROOT / room).rglob("*.py")}
    assert found, "no files: the test looks in the wrong place"
    assert {name: packages for name, packages in found.items() if packages} == {}


@pytest.mark.parametrize("room", PACKAGES)
def test_no_module_imports_itself_by_way_of_others(room) -> None:
    assert import_cycles(modules_of(room)) == []


@pytest.mark.parametrize(
    ("texts", "cycles"),
    [
        ({"a": "import b", "b": "import c", "c": "import d", "d": ""}, []),
        ({"a": "import b", "b": "def f():\n import a", "c": "import a"}, [["a", "b"]]),
        ({"a": "from a.b import x", "a.b": "if TYPE_CHECKING:\n from a import c, y"}, [["a", "a.b"]]),
        ({"a": "from a import b, c", "a.b": "from a import c", "a.c": "import os"}, []),
    ],
)  # fmt: skip
def test_cycles_are_found(texts, cycles) -> None:
    assert import_cycles({name: ast.parse(text) for name, text in texts.items()}) == cycles


def test_every_imported_package_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = (
        project["optional-dependencies"][extra] for extra in ("spacy", "track", "plot", "serve", "onnx", "convert")
    )
    declared = [*project["dependencies"], *(requirement for extra in extras for requirement in extra)]
    names = {re.split(r"[<>=\[ ;]", requirement)[0] for requirement in declared}
    names = {{"PyYAML": "yaml"}.get(name, name) for name in names}  # the one imported under another name
    imported = {name for path in PACKAGE_SOURCES for name in imported_packages(parse(path))}
    assert imported - set(sys.stdlib_module_names) - set(PACKAGES) - names <= {"llvmlite", "cupy", "cuda"}


def test_tests_are_collected_without_what_is_optional() -> None:
    paths = [*(ROOT / "tests").rglob("test_*.py"), *(ROOT / "tests").rglob("conftest.py")]
    assert {name_of(path): found for path in paths if (found := needed_to_collect(parse(path)))} == {}


def test_files_and_functions_are_short() -> None:
    found = {name_of(path): too_long(parse(path), len(path.read_text().splitlines())) for path in SOURCES}
    assert {name: problems for name, problems in found.items() if problems} == {}


def test_kernels_have_few_arguments() -> None:
    found = {name_of(path): many_arguments(parse(path)) for path in (ROOT / "kernels").rglob("*.py")}
    assert {name for names in found.values() for name in names} == {*MANY_ARGUMENTS}
    assert {name: names for name, names in found.items() if {*names} - {*MANY_ARGUMENTS}} == {}


def test_compiled_code_copies_rows_by_a_function() -> None:
    assert [copy for path in (ROOT / "kernels" / "cpu").glob("*.py") for copy in row_copies(parse(path))] == []


def test_no_banned_calls() -> None:
    found = {name_of(path): banned(parse(path)) for path in [*PACKAGE_SOURCES, *(ROOT / "benchmarks").rglob("*.py")]}
    assert {name: problems for name, problems in found.items() if problems} == ALLOWED_CALLS


def test_every_file_says_what_it_is() -> None:
    assert [name_of(path) for path in PACKAGE_SOURCES if not ast.get_docstring(parse(path))] == []


@pytest.mark.parametrize("module", DOCUMENTED)
def test_what_is_offered_is_documented(module) -> None:
    assert undocumented(importlib.import_module(module)) == set()


def test_no_absolute_paths_in_tracked_files() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("no git checkout")
    texts = {name: (ROOT / name).read_bytes() for name in listed.stdout.split("\0") if (ROOT / name).is_file()}
    decoded = {name: data.decode("utf-8") for name, data in texts.items() if b"\0" not in data}
    found = {name: ABSOLUTE_PATH.findall(text) for name, text in decoded.items()}
    assert len(found) > 50
    assert {name: paths for name, paths in found.items() if paths} == {}


@pytest.mark.parametrize("module", ["minigrad", "seq2seq"])
def test_importing_loads_neither_numba_nor_what_is_optional(module) -> None:
    program = f"import sys, {module}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(result.stdout.split()) & NOT_AT_IMPORT == set()
    assert module in result.stdout.split()


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (lambda tree: forbidden_imports(tree, "minigrad"), "import kernels.cpu, os", "from numba import njit"),
        (lambda tree: forbidden_imports(tree, "seq2seq"), "from minigrad import nn", "def f():\n import kernels.cpu"),
        (lambda tree: forbidden_imports(tree, "kernels"), "from . import lstm", "import minigrad.nn as nn"),
        (lambda tree: forbidden_imports(tree, "minigrad"), "import numpy", "import torch"),
        (needed_to_collect, "def f():\n import torch", "import torch.nn"),
        (lambda tree: too_long(tree, 400), "def f():\n" + " x()\n" * 59, "def f():\n" + " x()\n" * 60),
        (lambda tree: too_long(tree, 401), '"""Head.\n\nLong because it is a table.\n"""', '"""Head."""'),
        (
            many_arguments,
            "def f(a, b, c, d, e, f, g, h): pass",
            "class Many:\n def f(a, b, c, d, /, e, f, g, *, h, i): pass",
        ),
        (row_copies, "@jit\ndef f(x, y):\n x[:] = 0", "@jit_sum\ndef f(x, y):\n x[1:] = y[k]"),
        (banned, "model.eval()", "eval('1')"),
        (banned, "re.compile('a')", "exec(text)"),
        (banned, "import json", "from pickle import loads"),
        (banned, "np.load(p, allow_pickle=False)", "np.load(p, allow_pickle=True)"),
        (banned, "yaml.safe_load(text)", "yaml.load(text)"),
        (banned, "run(['ls'])", "run('ls', shell=True)"),
        (banned, "njit(fastmath={'contract'})", "njit(fastmath=True)"),
        (banned, "njit(fastmath={'contract'})", "njit(fastmath={'contract', 'nnan'})"),
    ],
)
def test_the_checks_can_fail(check, good, bad) -> None:
    assert not check(ast.parse(good))
    assert check(ast.parse(bad))


def test_the_docstring_check_can_fail() -> None:
    sample = ModuleType("sample")
    exec("def good():\n 'Text.'\ndef bad(): pass\ndef _private(): pass", vars(sample))
    assert undocumented(sample) == {"sample.bad"}


def test_the_path_check_can_fail() -> None:
    for text in ("data = '/" + "home/me/data'", "see /" + "root/x", "C:" + "\\\\Users"):
        assert ABSOLUTE_PATH.search(text)
    assert not ABSOLUTE_PATH.search("a/home/b ~/stuff/x http://x.org/home/y / root")


SURFACE = {
    "minigrad": (
        "Tensor tensor zeros ones empty full arange randn randint cat stack where exp log no_grad manual_seed "
        "device float32 float64 long save load gradcheck linspace eye zeros_like ones_like empty_like rand "
        "rand_like randn_like from_numpy LongTensor FloatTensor is_tensor sigmoid tanh relu softmax matmul "
        "bmm"
    ),
    "minigrad.cuda": "is_available",
    "minigrad.nn": (
        "Module Parameter Sequential ModuleList Linear Embedding LSTM GRU LSTMCell GRUCell Dropout ReLU "
        "Sigmoid Tanh Softmax LogSoftmax CrossEntropyLoss NLLLoss MSELoss BCELoss"
    ),
    "minigrad.nn.init": (
        "uniform_ normal_ constant_ zeros_ ones_ xavier_uniform_ xavier_normal_ kaiming_uniform_ "
        "kaiming_normal_ orthogonal_"
    ),
    "minigrad.nn.functional": ("log_softmax softmax relu cross_entropy nll_loss mse_loss dropout embedding linear"),
    "minigrad.nn.utils": "clip_grad_norm_",
    "minigrad.nn.utils.rnn": "pad_sequence pack_padded_sequence pad_packed_sequence",
    "minigrad.optim": "SGD Adam AdamW RMSprop lr_scheduler",
    "minigrad.utils.data": "Dataset IterableDataset TensorDataset DataLoader Subset random_split default_collate",
    "seq2seq": "Translator Run train_run load_run",
    "seq2seq.train": "main",
    "seq2seq.translate": "main",
    "seq2seq.evaluate": "main",
    "seq2seq.gradcheck": "main",
}
TENSOR_METHODS = (
    "size dim numel item numpy tolist view reshape transpose permute unsqueeze squeeze expand contiguous "
    "argmax topk max sum mean softmax log_softmax exp log tanh sigmoid relu clone detach backward fill_ "
    "zero_ to cpu cuda float long __add__ __radd__ __sub__ __mul__ __truediv__ __pow__ __matmul__ __neg__ "
    "__eq__ __lt__ __getitem__ __setitem__"
)
MODULE_METHODS = "parameters named_parameters modules children apply train eval state_dict load_state_dict to zero_grad"


@pytest.mark.parametrize("module", SURFACE)
def test_the_public_surface(module) -> None:
    missing = [name for name in SURFACE[module].split() if not hasattr(importlib.import_module(module), name)]
    assert missing == []


@pytest.mark.parametrize(("owner", "names"), [("Tensor", TENSOR_METHODS), ("nn.Module", MODULE_METHODS)])
def test_the_public_methods(owner, names) -> None:
    cls = importlib.import_module("minigrad")
    for part in owner.split("."):
        cls = getattr(cls, part)
    assert [name for name in names.split() if not callable(getattr(cls, name, None))] == []
