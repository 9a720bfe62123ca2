"""Names that are not here: what the error says, that it is the error Python would raise, and that it costs nothing."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import math
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minigrad
from minigrad import nn
from minigrad.missing import MODULES
from minigrad.replacements import REPLACEMENTS

ROOT = Path(__file__).parents[2]
NET = nn.Sequential(nn.Linear(2, 3, bias=False))

# Names that PyTorch has and minigrad will not have soon, one for each namespace.
THEIRS = {
    "minigrad": ("svd_lowrank", "torch.svd_lowrank"),
    "minigrad.nn": ("Conv3d", "nn.Conv3d"),
    "minigrad.nn.functional": ("conv3d", "nn.functional.conv3d"),
    "minigrad.nn.init": ("dirac_", "nn.init.dirac_"),
    "minigrad.nn.utils": ("spectral_norm", "nn.utils.spectral_norm"),
    "minigrad.nn.utils.rnn": ("invert_permutation", "nn.utils.rnn.invert_permutation"),
    "minigrad.optim": ("LBFGS", "optim.LBFGS"),
    "minigrad.optim.lr_scheduler": ("CyclicLR", "optim.lr_scheduler.CyclicLR"),
    "minigrad.autograd": ("detect_anomaly", "autograd.detect_anomaly"),
    "minigrad.cuda": ("ipc_collect", "cuda.ipc_collect"),
    "minigrad.random": ("fork_rng", "random.fork_rng"),
    "minigrad.backends": ("mkldnn", "backends.mkldnn"),
    "minigrad.utils": ("cpp_extension", "utils.cpp_extension"),
    "minigrad.utils.data": ("DistributedSampler", "utils.data.DistributedSampler"),
}
MISSPELT = {
    "minigrad": ("zeors", "torch.zeros"),
    "minigrad.nn": ("Linaer", "nn.Linear"),
    "minigrad.nn.functional": ("log_sofmax", "nn.functional.log_softmax"),
    "minigrad.nn.init": ("xavier_unifrom_", "nn.init.xavier_uniform_"),
    "minigrad.nn.utils": ("clip_grad_valeu_", "nn.utils.clip_grad_value_"),
    "minigrad.nn.utils.rnn": ("pad_sequences", "nn.utils.rnn.pad_sequence"),
    "minigrad.optim": ("RMSProp", "optim.RMSprop"),
    "minigrad.optim.lr_scheduler": ("CosineAnealingLR", "optim.lr_scheduler.CosineAnnealingLR"),
    "minigrad.autograd": ("bacward", "autograd.backward"),
    "minigrad.cuda": ("is_avaliable", "cuda.is_available"),
    "minigrad.random": ("manual_sed", "random.manual_seed"),
    "minigrad.utils.data": ("DataLoder", "utils.data.DataLoader"),
}


def said(owner: Any, name: str) -> str:
    with pytest.raises(AttributeError) as caught:
        getattr(owner, name)
    return str(caught.value)


def said_by_import(line: str) -> str:
    with pytest.raises(ImportError) as caught:
        exec(line, {})
    return str(caught.value)


def test_every_namespace_has_a_case() -> None:
    assert set(THEIRS) == set(MODULES)


@pytest.mark.parametrize("module", THEIRS)
def test_a_name_that_pytorch_has(module: str) -> None:
    name, shown = THEIRS[module]
    owner = importlib.import_module(module)
    expected = f"PyTorch has {shown}, minigrad does not yet"
    assert said(owner, name).startswith(f"module {module!r} has no attribute {name!r}: {expected}")
    assert said_by_import(f"from {module} import {name}").startswith(
        f"cannot import {name!r} from {module!r}: {expected}"
    )
    assert not hasattr(owner, name)
    assert getattr(owner, name, 3) == 3


@pytest.mark.parametrize("module", MISSPELT)
def test_a_misspelt_name(module: str) -> None:
    name, meant = MISSPELT[module]
    assert said(importlib.import_module(module), name).endswith(f"did you mean {meant}?")
    assert said_by_import(f"from {module} import {name}").endswith(f"did you mean {meant}?")


@pytest.mark.parametrize(
    ("owner", "name", "text"),
    [
        (
            nn,
            "RMSNorm",
            "PyTorch has nn.RMSNorm, minigrad does not yet; nearest: x / (x.square().mean(-1, keepdim=True)",
        ),
        (nn, "ELU", "PyTorch has nn.ELU, minigrad does not yet; nearest: nn.functional.elu"),
        (minigrad, "Linear", "did you mean nn.Linear?"),
        (minigrad, "BatchNorm1d", "PyTorch has nn.BatchNorm1d, minigrad does not yet"),
        (nn, "no_such_thing_at_all", "PyTorch has no such name either"),
        (
            minigrad.ones(1),
            "addcmul",
            "'Tensor' object has no attribute 'addcmul': PyTorch has Tensor.addcmul, minigrad",
        ),
        (minigrad.ones(1), "unsqeeze", "did you mean unsqueeze?"),
        (
            nn.Parameter(minigrad.ones(1)),
            "addcmul",
            "'Parameter' object has no attribute 'addcmul': PyTorch has Tensor.",
        ),
        (
            NET,
            "get_submodule",
            "PyTorch has nn.Module.get_submodule, minigrad does not yet; nearest: dict(model.named_mo",
        ),
        (NET[0], "weigth", "'Linear' object has no attribute 'weigth': did you mean weight?"),
    ],
)
def test_what_comes_nearest(owner: Any, name: str, text: str) -> None:
    assert text in said(owner, name)


def test_an_attribute_of_ones_own_module_is_none_of_pytorchs_business() -> None:
    assert said(NET, "decoder") == "'Sequential' object has no attribute 'decoder'"


@pytest.mark.parametrize(
    "line",
    [
        "import minigrad.distributed",
        "import minigrad.distributed.rpc",
        "from minigrad.distributed import rpc",
        "from minigrad import distributed",
        "import minigrad.distributed as dist",
    ],
)
def test_an_import_of_a_module_that_pytorch_has(line: str) -> None:
    with pytest.raises(ModuleNotFoundError) as caught:
        exec(line, {})
    assert "PyTorch has torch.distributed, minigrad does not yet; nearest: torch.set_num_threads" in str(caught.value)


@pytest.mark.parametrize("owner", [minigrad, nn, nn.functional, minigrad.ones(2), NET])
def test_what_python_itself_asks_for_is_answered_as_ever(owner: Any) -> None:
    for name in ("__wrapped__", "__array_struct__", "_repr_html_", "_ipython_display_", "__no_such__"):
        assert said(owner, name).endswith(f"has no attribute {name!r}")


def test_copying_pickling_and_printing_go_on() -> None:
    x = minigrad.ones(2)
    assert copy.copy(NET)[0].weight is NET[0].weight
    assert copy.deepcopy(x).tolist() == np.asarray(x).tolist() == [1, 1]
    with pytest.raises(AttributeError) as caught:
        _ = nn.Conv3d
    again = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(again, AttributeError)
    assert str(again) == str(caught.value)


def test_a_private_import_is_left_to_python() -> None:
    assert said_by_import("from minigrad import _private").startswith("cannot import name '_private' from 'minigrad'")
    assert importlib.util.find_spec("minigrad.__main__") is None
    exec("from minigrad.nn.functional import relu; import minigrad.nn.functional as F; from minigrad import *", {})


def test_asking_for_what_is_missing_is_quick() -> None:
    """Layers ask their modules for biases that are not there, in every step."""
    start = time.perf_counter()
    for _ in range(20_000):
        getattr(NET[0], "no_such_name", None)
        getattr(nn, "no_such_name", None)
    assert time.perf_counter() - start < 2  # reading the table at each would take minutes


def test_importing_reads_no_table() -> None:
    code = (
        "import sys, minigrad; hasattr(minigrad, 'outer_space')\n"
        "from minigrad.missing import _torch_names\n"
        "assert not _torch_names.cache_info().currsize\n"
        "assert 'minigrad.replacements' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


X = np.random.default_rng(0).uniform(0.1, 1, (3, 4)).astype(np.float32)
MEANT = {
    "RMSNorm": lambda t, x: t.nn.functional.rms_norm(x, (4,), eps=1e-5),
    "SiLU": lambda t, x: t.nn.functional.silu(x),
    "Hardtanh": lambda t, x: t.nn.functional.hardtanh(x),
    "LogSigmoid": lambda t, x: t.nn.functional.logsigmoid(x),
    "addmv": lambda t, x: t.addmv(x[0][:3], x.T[:3, :3], x[:, 0]),
    "addcmul": lambda t, x: t.addcmul(x, x, x * 2, value=0.5),
    "addcdiv": lambda t, x: t.addcdiv(x, x, x * 2 + 1, value=0.5),
    "erfc": lambda t, x: t.erfc(x),
    "log2": lambda t, x: t.log2(x),
    "log10": lambda t, x: t.log10(x),
    "count_nonzero": lambda t, x: t.count_nonzero(x),
    "kthvalue": lambda t, x: x[:, 0].kthvalue(2)[0],
    "broadcast_to": lambda t, x: t.broadcast_to(x[:1], (2, 4)),
    "tile": lambda t, x: t.tile(x, (2, 3)),
    "cumprod": lambda t, x: x.cumprod(0),
}
NAMES: dict[str, dict[str, Any]] = {
    "addmv": {"bias": X[0][:3], "a": X.T[:3, :3], "b": X[:, 0]},
    "addcmul": {"a": X, "b": X * 2, "value": 0.5},
    "addcdiv": {"a": X, "b": X * 2 + 1, "value": 0.5},
    "kthvalue": {"x": X[:, 0], "k": 2},
    "broadcast_to": {"x": X[:1], "n": 2, "m": 4},
    "tile": {"n": 2, "m": 3},
}


@pytest.mark.parametrize("name", MEANT)
def test_replacements_give_what_pytorch_gives(name: str) -> None:
    torch = pytest.importorskip("torch")
    values = {"x": X, "eps": 1e-5, "math": math, **NAMES.get(name, {})}
    values = {key: minigrad.tensor(value) if isinstance(value, np.ndarray) else value for key, value in values.items()}
    code = REPLACEMENTS[name].split(" for x above")[0]
    found = eval(code, {"torch": minigrad, "nn": nn, **values})
    expected = MEANT[name](torch, torch.from_numpy(X))
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-5, atol=1e-6)


def test_the_table_is_that_of_the_pytorch_that_made_it(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    stored = (ROOT / "minigrad" / "torch_names.txt").read_text(encoding="utf-8")
    version = ".".join(torch.__version__.split(".")[:2])
    if f"PyTorch {version}," not in stored.splitlines()[0]:
        pytest.skip(f"PyTorch is {version}")
    script, target = ROOT / "tests" / "golden" / "make_torch_names.py", tmp_path / "names.txt"
    subprocess.run([sys.executable, "-W", "ignore", script, target], check=True)
    assert target.read_text(encoding="utf-8") == stored
