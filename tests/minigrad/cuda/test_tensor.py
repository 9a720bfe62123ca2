"""What a tensor on a GPU is, how it gets there and back, and what it refuses to be mixed with."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from kernels import devices
from minigrad import Tensor
from minigrad.device import use

pytestmark = pytest.mark.usefixtures("cuda")

X = np.arange(6, dtype=np.float32).reshape(2, 3) / 4


def x(requires_grad: bool = False) -> Tensor:
    return mg.tensor(X, device="cuda", requires_grad=requires_grad)


def same(a: Any, b: Any) -> bool:
    return isinstance(a, Tensor) and a.is_cuda and np.array_equal(a.cpu().numpy(), b)


# --- there and back ---------------------------------------------------------------------------------------------------
def test_where_a_tensor_lies(cuda: ModuleType) -> None:
    there = x()
    assert type(there.array) is cuda.ndarray
    assert (there.device, str(there.device), there.device.type, there.device.index) == ("cuda:0", "cuda:0", "cuda", 0)
    assert there.is_cuda
    assert there.to("cuda") is there
    assert there.cuda() is there
    assert there.to("cuda:0") is there
    assert there.to(mg.device("cuda", 0)) is there
    assert there.to(0) is there
    back = there.cpu()
    assert (back.device, back.is_cuda, type(back.array)) == ("cpu", False, np.ndarray)
    assert back.cpu() is back
    assert np.array_equal(back.numpy(), X)
    assert there.to(back).device == "cpu"
    assert back.to(there).device == "cuda:0"
    assert there.to("cpu", mg.float64).dtype == mg.float64
    assert back.to(device="cuda", dtype=mg.int64, non_blocking=True).tolist() == [[0, 0, 0], [0, 1, 1]]


def test_the_move_is_on_the_tape() -> None:
    leaf = mg.tensor(X, requires_grad=True)
    (leaf.to("cuda") * 3).cpu().sum().backward()
    assert not leaf.grad.is_cuda
    assert np.array_equal(leaf.grad.numpy(), np.full_like(X, 3))
    there = x(requires_grad=True)
    (there.cpu() * mg.tensor(X)).sum().backward()
    assert same(there.grad, X)


@pytest.mark.parametrize("dtype", [mg.float32, mg.float64, mg.int64, mg.int32, mg.bool_, mg.uint8])
def test_numbers_come_back(dtype: np.dtype) -> None:
    values = np.array([[0, 1], [2, 3]]).astype(dtype)
    there = mg.from_numpy(values).to("cuda")
    assert there.tolist() == values.tolist()
    assert there[1, 0].item() == values[1, 0]
    assert [row.tolist() for row in there] == values.tolist()
    assert len(there) == 2
    assert bool(there[0, 1])
    assert int(there[1, 1]) == int(values[1, 1])
    assert [5, 6, 7, 8][there[0, 0]] == 5 if dtype.kind in "iu" else True
    assert f"{there[0, 1].float():.2f}" == "1.00"


def test_pytorchs_names_of_types() -> None:
    assert x().type() == "torch.cuda.FloatTensor"
    assert x().type("torch.LongTensor").type() == "torch.LongTensor"
    assert mg.tensor(X).type("torch.cuda.DoubleTensor").type() == "torch.cuda.DoubleTensor"
    assert x().type_as(mg.zeros(1, dtype=mg.int64)).type() == "torch.LongTensor"


def test_text() -> None:
    assert repr(x()) == "tensor([[0.  , 0.25, 0.5 ],\n        [0.75, 1.  , 1.25]], device='cuda:0')"
    assert repr(x(requires_grad=True)).endswith("device='cuda:0', requires_grad=True)")
    assert repr(x().double()).endswith("device='cuda:0', dtype=float64)")
    assert repr(mg.nn.Parameter(x())).startswith("Parameter containing:\ntensor(")


def test_numpy_is_refused() -> None:
    for call in (x().numpy, lambda: np.asarray(x())):
        with pytest.raises(TypeError, match=r"^numpy: this tensor is on cuda:0; use cpu\(\) to copy it to the host"):
            call()


def test_copies() -> None:
    there = x(requires_grad=True)
    copied = copy.deepcopy(mg.nn.Parameter(there.detach()))
    assert same(copied.detach(), X)
    clone = there.clone()
    assert clone.is_cuda
    assert clone.requires_grad
    with mg.no_grad():
        clone[0] = 7
    assert same(there.detach(), X)


# --- making -----------------------------------------------------------------------------------------------------------
MAKERS: dict[str, Callable[[Any], Tensor]] = {
    "zeros": lambda d: mg.zeros(2, 3, device=d),
    "ones": lambda d: mg.ones(2, 3, device=d, dtype=mg.float64),
    "full": lambda d: mg.full((2, 3), 1.5, device=d),
    "full int": lambda d: mg.full((2,), 3, device=d),
    "arange": lambda d: mg.arange(1, 7, 2, device=d),
    "linspace": lambda d: mg.linspace(0, 1, 5, device=d),
    "eye": lambda d: mg.eye(3, 2, device=d),
    "tensor": lambda d: mg.tensor([[1.0, 2.0], [3.0, 4.0]], device=d),
    "rand": lambda d: mg.rand(3, 2, device=d),
    "randn": lambda d: mg.randn(3, 2, device=d),
    "randint": lambda d: mg.randint(0, 9, (4,), device=d),
    "randperm": lambda d: mg.randperm(5, device=d),
    "zeros_like": lambda d: mg.zeros_like(mg.tensor(X, device=d)),
    "ones_like": lambda d: mg.ones_like(mg.tensor(X, device=d), dtype=mg.int64),
    "full_like": lambda d: mg.full_like(mg.tensor(X, device=d), 2),
    "rand_like": lambda d: mg.rand_like(mg.tensor(X, device=d)),
    "randn_like": lambda d: mg.randn_like(mg.tensor(X, device=d)),
    "new_tensor": lambda d: mg.tensor(X, device=d).new_tensor([1.0, 2.0]),
    "new_full": lambda d: mg.tensor(X, device=d).new_full((2,), 3),
    "new_zeros": lambda d: mg.tensor(X, device=d).new_zeros(2, 2),
    "new_ones": lambda d: mg.tensor(X, device=d).new_ones(3),
    "tensor of a tensor": lambda d: mg.tensor(mg.tensor(X, device=d)),
    "normal_": lambda d: mg.zeros(5, device=d).normal_(1.0, 2.0),
    "uniform_": lambda d: mg.zeros(5, device=d).uniform_(-1.0, 2.0),
    "multinomial": lambda d: mg.multinomial(mg.tensor([0.2, 0.5, 0.3], device=d), 2),
    "dropout": lambda d: mg.dropout(mg.ones(100, device=d), 0.4),
}


@pytest.mark.parametrize("name", MAKERS)
def test_what_is_made_and_drawn_is_the_same_everywhere(name: str) -> None:
    mg.manual_seed(5)
    here = MAKERS[name](None)
    mg.manual_seed(5)
    there = MAKERS[name]("cuda")
    assert there.device == "cuda:0"
    assert there.dtype == here.dtype
    assert same(there, here.numpy())


def test_empty_has_a_shape() -> None:
    assert mg.empty(2, 3, device="cuda").shape == (2, 3)
    assert mg.empty_like(x()).is_cuda


def test_a_list_of_tensors_becomes_a_tensor() -> None:
    assert mg.tensor([x()[0, 1], 2.0]).tolist() == [0.25, 2.0]


# --- mixing -----------------------------------------------------------------------------------------------------------
MIXED: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "add": lambda a, b: a + b,
    "reflected": lambda a, b: b * a,
    "compare": lambda a, b: a < b,
    "isclose": lambda a, b: mg.isclose(a, b),
    "equal": lambda a, b: mg.equal(a, b),
    "matmul": lambda a, b: a @ b.T,
    "where": lambda a, b: mg.where(a > 0, a, b),
    "cat": lambda a, b: mg.cat([a, b]),
    "stack": lambda a, b: mg.stack([b, a]),
    "linear": lambda a, b: mg.nn.functional.linear(a, b),
    "maximum": lambda a, b: mg.maximum(a, b),
    "masked_fill": lambda a, b: a.masked_fill(b > 0, 0.0),
    "embedding": lambda a, b: mg.nn.functional.embedding(mg.tensor([0, 1]), a),
    "cross_entropy": lambda a, b: mg.nn.functional.cross_entropy(a, mg.tensor([0, 1])),
    "linear_cross_entropy": lambda a, b: mg.nn.functional.linear_cross_entropy(a, a, None, mg.tensor([0, 1])),
    "gather": lambda a, b: a.gather(1, mg.tensor([[0], [1]])),
    "scatter": lambda a, b: a.scatter(1, mg.tensor([[0], [1]]), 1.0),
    "index": lambda a, b: b[mg.tensor([0], device="cuda")],
    "in place": lambda a, b: a.add_(b),
}


@pytest.mark.parametrize("name", MIXED)
def test_two_devices_are_refused(name: str) -> None:
    with pytest.raises(
        RuntimeError, match=r"same device, but found at least two devices, (cuda:0 and cpu|cpu and cuda:0)"
    ):
        MIXED[name](x(), mg.tensor(X))


def test_kernels_name_what_lies_elsewhere() -> None:
    layer = mg.nn.LSTM(3, 2).to("cuda")
    with pytest.raises(RuntimeError, match="two devices"):
        layer(mg.zeros(4, 2, 3))


def test_numbers_and_tensors_without_dimensions_go_along() -> None:
    there, number = x(), mg.tensor(2.0)
    for result in (there * 2, 2 * there, there * number, number * there, there * np.float32(2)):
        assert same(result, X * 2)
    assert same(there**2, X**2)
    assert same(2.0**there, np.float32(2) ** X)
    assert same(there**number, X**2)
    assert same(mg.where(there > number, number, there), X)
    assert same(there > mg.tensor(1.0), X > 1)
    assert same(there.clamp(0.5, 1.0), X.clip(0.5, 1.0))
    assert same(there.masked_fill(there > 1, mg.tensor(9.0)), np.where(X > 1, np.float32(9), X))
    assert same(1.0 - there, 1 - X)
    assert same(there / 2 - 1, X / 2 - 1)


def test_a_number_that_wants_a_gradient_gets_it_where_it_lies() -> None:
    number, there = mg.tensor(2.0, requires_grad=True), x(requires_grad=True)
    (there * number).sum().backward()
    assert not number.grad.is_cuda
    assert number.grad.item() == X.sum()
    assert same(there.grad, np.full_like(X, 2))


def test_assignments() -> None:
    there = x()
    there[0] = 5
    there[1, 0] = mg.tensor(6.0)
    there[1, 1:] = mg.tensor([7.0, 8.0])
    there[:, 2] = mg.tensor([9.0, 10.0], device="cuda")
    assert there.tolist() == [[5, 5, 9], [6, 7, 10]]
    there[there > 8] = 0.0
    there[mg.tensor([0]), np.array([1])] = 1.0
    assert there.tolist() == [[5, 1, 0], [6, 7, 0]]
    here = mg.tensor(X)
    here[0] = there[1]
    assert here.tolist() == [[6, 7, 0], X[1].tolist()]


def test_indices_of_either_device() -> None:
    rows = np.array([1, 0, 1])
    for index in (rows, rows.tolist(), mg.tensor(rows), mg.tensor(rows, device="cuda")):
        assert same(x()[index], X[rows])
    assert same(x()[x() > 0.5], X[X > 0.5])
    assert same(x()[mg.tensor(1)], X[1])
    assert same(x()[mg.tensor(1, device="cuda"), 1:], X[1, 1:])
    assert same(x()[None, ..., -1], X[None, ..., -1])
    assert same(x()[[]], X[[]])
    assert same(x()[[True, False]], X[[True, False]])
    assert same(x()[:, mg.tensor([2, 0], dtype=mg.int16, device="cuda")], X[:, [2, 0]])


def test_an_element_named_often_gets_all_gradients_in_a_fixed_order() -> None:
    rows = np.random.default_rng(0).integers(0, 2, 50)
    weights = np.random.default_rng(1).standard_normal((50, 3)).astype(np.float32)
    gradients = []
    for device in ("cpu", "cuda", "cuda"):
        leaf = mg.tensor(X, device=device, requires_grad=True)
        (leaf[mg.tensor(rows, device=device)] * mg.tensor(weights, device=device)).sum().backward()
        gradients.append(leaf.grad.cpu().numpy())
    assert np.array_equal(gradients[0], gradients[1])
    assert np.array_equal(gradients[1], gradients[2])


# --- around -----------------------------------------------------------------------------------------------------------
def test_files_know_no_device(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    mg.save({"w": x(), "list": [x().long(), 3]}, path)
    loaded = mg.load(path)
    assert loaded["w"].device == "cpu"
    assert np.array_equal(loaded["w"].numpy(), X)
    there = mg.load(path, map_location="cuda")
    assert same(there["w"], X)
    assert same(there["list"][0], X.astype(np.int64))
    mg.save(loaded, tmp_path / "y.safetensors")
    assert path.read_bytes()[-24:] == (tmp_path / "y.safetensors").read_bytes()[-24:]


def test_the_module_cuda() -> None:
    assert mg.cuda.is_available()
    assert mg.cuda.device_count() >= 1
    kept = mg.zeros(1000, 1000, device="cuda")
    assert mg.cuda.current_device() == 0
    assert isinstance(mg.cuda.get_device_name(), str)
    assert isinstance(mg.cuda.get_device_name("cuda:0"), str)
    assert mg.cuda.memory_allocated() >= kept.numel() * 4
    assert mg.cuda.max_memory_allocated() >= mg.cuda.memory_allocated()
    mg.cuda.synchronize()
    mg.cuda.empty_cache()
    mg.cuda.manual_seed(3)
    mg.cuda.manual_seed_all(3)


def test_another_device_is_refused() -> None:
    x()
    with pytest.raises(RuntimeError, match=r"device 'cuda:7' is not available: this process uses cuda:0"):
        mg.zeros(2, device="cuda:7")


def test_tf32_is_a_switch() -> None:
    assert mg.backends.cuda.matmul.allow_tf32 is False
    mg.backends.cuda.matmul.allow_tf32 = True
    try:
        assert mg.backends.cuda.matmul.allow_tf32 is True
    finally:
        mg.backends.cuda.matmul.allow_tf32 = False


def test_autocast_rounds_products_there() -> None:
    a = mg.tensor([[1.0 + 2**-9]], device="cuda")
    with mg.autocast("cuda", dtype=mg.bfloat16):
        assert mg.nn.functional.linear(a, a).item() == 1.0
    assert mg.nn.functional.linear(a, a).item() > 1.0


OUT_OF_RANGE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "embedding": lambda a, ids: mg.nn.functional.embedding(ids, a),
    "getitem": lambda a, ids: a[ids],
    "getitem, second": lambda a, ids: a[..., None, ids + 1],
    "getitem, negative": lambda a, ids: a[-ids - 1],
    "gather": lambda a, ids: a.gather(0, ids.unsqueeze(1)),
    "scatter": lambda a, ids: a.scatter(0, ids.unsqueeze(1), 1.0),
    "index_select": lambda a, ids: a.index_select(0, ids),
    "cross_entropy": lambda a, ids: mg.nn.functional.cross_entropy(a, ids + 1),
    "nll_loss": lambda a, ids: mg.nn.functional.nll_loss(a, -ids),
    "linear_cross_entropy": lambda a, ids: mg.nn.functional.linear_cross_entropy(a, a, None, ids),
    "one_hot": lambda a, ids: mg.nn.functional.one_hot(ids, 2),
}


@pytest.mark.parametrize("name", OUT_OF_RANGE)
def test_ids_out_of_range_are_found_when_numbers_come_back(name: str) -> None:
    table = mg.tensor(X, device="cuda")
    y = OUT_OF_RANGE[name](table, mg.tensor([0, 2], device="cuda"))
    with pytest.raises(IndexError):
        y.cpu()
    assert same(table, X)  # and the next time nothing is wrong
    assert same(table[mg.tensor([-2, 1], device="cuda")], X)
    assert same(table[..., mg.tensor([-3, 2], device="cuda")], X[:, [0, 2]])


def test_every_thread_makes_its_arrays_on_the_gpu_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """CuPy's present device belongs to a thread, and a new thread's is the first one."""
    there = x()
    chosen: list[tuple[int, int]] = []

    def work() -> int:
        _ = there + there  # an operation on what is there
        _ = there * 2
        return threading.get_ident()

    def make() -> int:
        with pytest.raises(RuntimeError, match="this process uses cuda:1"):
            mg.zeros(2, device="cuda:0")
        return threading.get_ident()

    for each in (work, make):
        chosen.clear()
        with monkeypatch.context() as second_gpu, ThreadPoolExecutor(1) as pool:
            second_gpu.setattr(devices, "select", lambda index: chosen.append((threading.get_ident(), index)))
            second_gpu.setattr(use, "index", 1)
            thread = pool.submit(each).result()
        assert chosen == [(thread, 1)]
