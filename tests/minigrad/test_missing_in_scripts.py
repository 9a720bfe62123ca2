"""``python -m minigrad.missing``: what is found in a script, what is not, and how it is said."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import minigrad
from minigrad import nn, optim
from minigrad.missing.__main__ import main
from minigrad.missing.script import COMPANIONS, REFUSED, missing_names

ROOT = Path(__file__).parents[2]

# A script, and the names that are found in it with their lines.
FOUND: list[tuple[str, list[tuple[int, str]]]] = [
    ("import torch\ntorch.svd_lowrank(1)", [(2, "torch.svd_lowrank")]),
    ("import torch as t\nt.nn.Conv2d(1, 2, 3)", [(2, "torch.nn.Conv2d")]),
    ("import torch.nn as nn\nx = nn.RMSNorm", [(2, "torch.nn.RMSNorm")]),
    ("import torch.nn.functional as F\nF.silu(1)", [(2, "torch.nn.functional.silu")]),
    ("import torch.nn.functional\ntorch.nn.functional.silu(1)", [(2, "torch.nn.functional.silu")]),
    ("from torch import nn, optim as o\nnn.CTCLoss()\no.LBFGS", [(2, "torch.nn.CTCLoss"), (3, "torch.optim.LBFGS")]),
    ("from torch.nn import (\n Linear,\n Conv1d)", [(1, "torch.nn.Conv1d")]),
    ("from torch import *\nnn.Conv1d", [(2, "torch.nn.Conv1d")]),
    ("import torch.distributed as dist\ndist.init_process_group()", [(1, "torch.distributed")]),
    ("from torch.distributed.rpc import x", [(1, "torch.distributed")]),
    ("import torch.utils.data.distributed", [(1, "torch.utils.data.distributed")]),
    ("import torch\ntorch.fft.rfft(1)", [(2, "torch.fft")]),
    ("import torchtext\nfrom torchvision import datasets", [(1, "torchtext"), (2, "torchvision")]),
    ("try:\n    import torch\nexcept ImportError:\n    pass\ntorch.lgamma", [(5, "torch.lgamma")]),
    ("import torch\nF = torch.nn.functional\ndef f(x):\n    return F.silu(x)", [(4, "torch.nn.functional.silu")]),
    ("import minigrad as torch\ntorch.lgamma", [(2, "torch.lgamma")]),
    ("import torch\ntorch.zeross(2)", [(2, "torch.zeross")]),
    # methods of tensors
    ("import torch\nx = torch.ones(3)\nx.lgamma()", [(3, "torch.Tensor.lgamma")]),
    ("import torch\n(torch.ones(3) * 2).view(-1).lgamma()", [(2, "torch.Tensor.lgamma")]),
    ("import torch\nx = 2 - torch.ones(3)\ny = x[0].exp()\ny.T.lgamma", [(4, "torch.Tensor.lgamma")]),
    ("import torch\ndef f(x: torch.Tensor):\n    return x.lgamma()", [(3, "torch.Tensor.lgamma")]),
    ("from torch import Tensor\ndef f(x: Tensor):\n    return x.sum().lgamma()", [(3, "torch.Tensor.lgamma")]),
    ("import torch\nx = torch.nn.Linear(2, 3)(1)\nx.lgamma()", [(3, "torch.Tensor.lgamma")]),
    ("import torch\ntorch.Tensor.lgamma", [(2, "torch.Tensor.lgamma")]),
    ("def f(x):\n    x.unsqueeze_(0)", [(2, "torch.Tensor.unsqueeze_")]),
    # modules, optimisers
    ("import torch\nnet = torch.nn.Linear(2, 3)\nnet.half()", [(3, "torch.nn.Module.half")]),
    (
        "from torch import nn\nclass Net(nn.Module):\n def f(self):\n  self.half()\nNet().get_submodule('a')",
        [(4, "torch.nn.Module.half"), (5, "torch.nn.Module.get_submodule")],
    ),
    (
        "from torch import nn\nclass Net(nn.Module):\n def __init__(self):\n  self.out = nn.Linear(2, 3)\n"
        " def forward(self, x):\n  return self.out(x).lgamma()",
        [(6, "torch.Tensor.lgamma")],
    ),
    (
        "from torch import optim as o\no.SGD([]).register_step_pre_hook(1)",
        [(2, "torch.optim.SGD.register_step_pre_hook")],
    ),
    # arguments
    ("import torch\ntorch.ones(3, pin_memory=True)", [(2, "torch.ones(pin_memory=...)")]),
    ("from torch import nn\nnn.NLLLoss(\n  size_average=True)", [(3, "torch.nn.NLLLoss(size_average=...)")]),
    ("from torch import optim\noptim.Adam([], amsgrad=True)", [(2, "optim.Adam(amsgrad=...)")]),
    ("from torch import optim\noptim.AdamW([], lr=1, maximise=True)", [(2, "torch.optim.AdamW(maximise=...)")]),
    ("loss.backward(create_graph=True)", [(1, "loss.backward(create_graph=...)")]),
    ("import torch\nx = torch.ones(3)\nx.sum(out=x)", [(3, "torch.Tensor.sum(out=...)")]),
]  # fmt: skip

SILENT = [
    "from torch import nn\nnn.utils.clip_grad_norm_([], max_norm=1.0, foreach=True)",
    "from torch.nn.utils import clip_grad_value_\nclip_grad_value_([], clip_value=1.0, foreach=False)",
    "import numpy as np\nnp.lgamma(3).silu().kthvalue_\nnp.ones(3).addcmul()",
    "import torch\nx = torch.ones(3)\nx = [1, 2]\nx.lgamma()",
    "import torch\ndef f(torch):\n    return torch.lgamma",
    "import torch\ng = lambda torch: torch.lgamma",
    "import torch\nfor torch in []:\n    torch.lgamma",
    "import torch\nx = torch.ones(3).numpy()\nx.cumprod()",
    "import torch\nv, i = torch.ones(3).sort()\nv.anything",
    "import torch\ntorch.ones(3).sum(axis=0, keepdims=True)\ntorch.relu(input=torch.ones(1))",
    "import torch\ntorch.manual_seed(1)\ntorch.backends.cudnn.deterministic = True\ntorch.__version__",
    "from torch import optim\no = optim.Adam([], amsgrad=False, fused=None)\no.param_groups[0]['lr'] = 1",
    "from torch import nn\nclass Net(nn.Module):\n def __init__(self):\n  self.half = 1\n def f(self):\n  self.half()",
    "from torch import nn\nclass Net(nn.Module):\n def half(self):\n  pass\nNet().half()",
    "class Own:\n def unfold(self):\n  return self.unfold()\nOwn().unfold()",
    "import torch\nloss.backward(retain_graph=True, create_graph=False)",
    "from . import torch_like\nfrom .torch import nn\nnn.Conv9d",
    "import torch.nn as nn\nnn.Sequential(nn.Linear(2, 3), nn.ReLU()).eval().train(False)",
    "import torch\nwith torch.no_grad() as t:\n    pass\n@torch.no_grad()\ndef f(): pass",
    "import torch\nx = torch.ones(1)\nx.name_of_my_own = 3",
    "import torch\ntorch.nn.init.uniform_(torch.ones(3), -1, 1)\ntorch.utils.data.DataLoader([1], shuffle=True)",
    "from minigrad.gradcheck import gradcheck\nfrom minigrad.function import Function\nimport minigrad.ops.op",
    "import torch\nx: torch.Tensor = f()\ndef g(*a: torch.Tensor, **k): return a.index(1), k.items()",
]  # fmt: skip


@pytest.mark.parametrize(("script", "expected"), FOUND)
def test_what_is_missing_is_found(script: str, expected: list) -> None:
    assert [(each.line, each.name) for each in missing_names(script)] == expected
    assert all(each.text for each in missing_names(script))


@pytest.mark.parametrize("script", SILENT)
def test_nothing_is_said_without_need(script: str) -> None:
    assert missing_names(script) == []


def test_what_is_said() -> None:
    def text(line: str) -> str:
        return missing_names(f"import torch\nfrom torch import nn\nx = torch.ones(2)\n{line}")[0].text

    assert text("nn.SiLU()") == "PyTorch has nn.SiLU, minigrad does not yet; nearest: x * torch.sigmoid(x)"
    assert text("nn.Linaer()") == "did you mean nn.Linear?"
    assert text("torch.outer_space") == "PyTorch has no such name either"
    assert text("x.addcmul(x, x)").endswith("nearest: x + value * a * b")
    assert text("nn.L1Loss(size=1)") == "minigrad's takes no size; it takes reduction"
    assert text("nn.Embedding(2, 3, max_norm=1.0)") == "minigrad takes it only where it is off"


def test_scripts_that_run_here_lack_nothing() -> None:
    tutorial = (ROOT / "tests" / "minigrad" / "nn" / "tutorial.py").read_text(encoding="utf-8")
    assert missing_names(tutorial) == []
    pages = (ROOT / "docs").glob("*.md")
    blocks = [part.partition("```")[0] for page in pages for part in page.read_text().split("```python run\n")[1:]]
    scripts = [block for block in blocks if "outer_product" not in block and "nn.RMSNorm" not in block]
    assert len(scripts) > 20
    assert [each for block in scripts for each in missing_names(block)] == []


def test_what_is_said_to_be_refused_is_refused() -> None:
    w = minigrad.ones(2, requires_grad=True)
    calls = {
        "create_graph": lambda on: w.sum().backward(**on),
        "proj_size": lambda on: nn.LSTM(2, 3, **on),
        "max_norm": lambda on: nn.Embedding(2, 2, **on),
        "scale_grad_by_freq": lambda on: nn.Embedding(2, 2, **on),
        "add_bias_kv": lambda on: nn.MultiheadAttention(2, 1, **on),
        "add_zero_attn": lambda on: nn.MultiheadAttention(2, 1, **on),
        **dict.fromkeys(
            ["amsgrad", "foreach", "fused", "capturable", "differentiable"], lambda on: optim.Adam([w], **on)
        ),
    }
    assert set(calls) == REFUSED
    for name, call in calls.items():
        with pytest.raises(NotImplementedError):
            call({name: True})


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad, broken = (tmp_path / f"{name}.py" for name in ("good", "bad", "broken"))
    good.write_text("import torch\ntorch.ones(2)\n")
    bad.write_text("\ufeffimport torch\r\ntorch.lgamma\r\n", encoding="utf-8")
    broken.write_text("import torch\ndef\n")
    assert main([str(good)]) == 0
    assert capsys.readouterr() == ("", "")
    assert main([str(good), str(bad)]) == 1
    assert capsys.readouterr().out == f"{bad}:2: torch.lgamma: PyTorch has torch.lgamma, minigrad does not yet\n"
    assert main([str(broken), str(bad), str(tmp_path / "none.py"), str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert said.out.startswith(f"{bad}:2:")
    first, second, third = said.err.splitlines()
    assert first == f"error: {broken}: line 2: invalid syntax; expected a Python script"
    assert second == f"error: {tmp_path / 'none.py'}: No such file or directory"
    assert third.startswith(f"error: {tmp_path}: ")
    (tmp_path / "zero.py").write_bytes(b"import torch\n\0\n")
    assert main([str(tmp_path / "zero.py")]) == 2
    assert "line None" not in capsys.readouterr().err
    (tmp_path / "deep.py").write_text(f"x = {'-' * 20_000}1")
    assert main([str(tmp_path / "deep.py")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    (tmp_path / "bytes.py").write_bytes(b"x = '\xff'")
    assert main([str(tmp_path / "bytes.py")]) == 2
    assert "this is not UTF-8" in capsys.readouterr().err


def notebook(*cells: str | list[str] | None) -> str:
    """With a cell of text where there is no code."""
    told = [{"cell_type": "markdown" if cell is None else "code", "source": cell or "# text"} for cell in cells]
    return json.dumps({"nbformat": 4, "cells": told})


def test_a_notebook_is_read_cell_by_cell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Names of earlier cells are known in later ones; magics and cells of other languages are passed over."""
    path = tmp_path / "lesson.ipynb"
    path.write_text(
        notebook(
            ["import torch\n", "%matplotlib inline\n", "!pip install torch\n", "torch.lgamma?"],
            None,
            "%%bash\necho $(torch.svd_lowrank)",
            "%%time\nif torch:\n    %load_ext x\nfiles = !ls\nx = torch.ones(3) % 2\ny = x.lgamma()",
            "torch.svd_lowrank(x,\n    3\n    % 2)",
        )
    )
    assert main([str(path)]) == 1
    said = capsys.readouterr().out.splitlines()
    assert [line.rsplit(": ", 1)[0] for line in said] == [
        f"{path}: cell 4, line 6: torch.Tensor.lgamma",
        f"{path}: cell 5, line 1: torch.svd_lowrank",
    ]
    sheets = {"worksheets": [{"cells": [{"cell_type": "code", "input": "import torch\ntorch.lgamma"}]}]}
    path.write_text(json.dumps(sheets))  # as before version 4
    assert main([str(path)]) == 1
    assert capsys.readouterr().out.startswith(f"{path}: cell 1, line 2: torch.lgamma: ")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import torch", "no JSON (Expecting value: line 1 column 1 (char 0)); expected a notebook with cells"),
        ("[]", "expected a notebook with cells"),
        ('{"cells": [3]}', "expected a notebook with cells"),
        ('{"cells": [{"cell_type": "code", "source": [4]}]}', "expected a notebook with cells"),
        (notebook("x = 1", "y = 2\ndef"), "cell 2, line 2: invalid syntax"),
    ],
)
def test_what_is_no_notebook_is_told(
    text: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "lesson.ipynb"
    path.write_text(text)
    assert main([str(path)]) == 2
    assert capsys.readouterr().err == f"error: {path}: {reason}; expected a notebook of Python\n"


def test_the_command_as_a_process(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("".join(f"import {name}\n" for name in COMPANIONS))
    command = [sys.executable, "-W", "error", "-m", "minigrad.missing", script]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert (result.returncode, result.stderr) == (1, "")
    assert len(result.stdout.splitlines()) == len(COMPANIONS)
