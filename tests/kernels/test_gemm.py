"""The blocked product against float64 within the error its sums may have, and the bits of its rows.

`test_processors.py` runs this file for other processors too.
"""

from unittest.mock import patch

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import get_num_threads, set_num_threads
from kernels.cpu import gemm, once, product
from kernels.cpu.gemm import multiply, prepack
from kernels.cpu.jit import FLAGS, config
from kernels.cpu.once import multiply_once
from kernels.cpu.product import DEPTH, ROW_BLOCK, left_dtype, multiply_rows, workspace
from kernels.cpu.tiles import COLUMNS, ROWS
from kernels.cpu.weights import prepack_as
from kernels.forms import rounded
from kernels.reference.precision import round_bf16

KINDS = pytest.mark.parametrize("kind", ["float32", "float64", "bfloat16", "float16", "int8"])
FORMS = {"bfloat16": "bf16", "float16": "f16", "int8": "int8"}
DEPTHS = st.integers(0, 70) | st.integers(DEPTH - 2, DEPTH + 3) | st.integers(2 * DEPTH - 1, 2 * DEPTH + 70)
ROW_COUNTS = st.integers(0, 3 * ROWS) | st.integers(ROW_BLOCK - 1, ROW_BLOCK + ROWS + 1)


@pytest.fixture(autouse=True)
def _threads_as_before():
    before = get_num_threads()
    yield
    set_num_threads(before)


def sample(kind, rows, depth, columns, seed=0):
    """Both operands and a matrix to add to."""
    rng = np.random.default_rng(seed)
    dtype = np.float64 if kind == "float64" else np.float32
    return [rng.standard_normal(shape).astype(dtype) for shape in ((rows, depth), (depth, columns), (rows, columns))]


def packed(kind, b, transposed=False):
    """The panels of B, which is stored as is said, or if only weights are packed so, as a weight is."""
    if kind in ("float16", "int8"):
        return prepack_as(FORMS[kind], np.ascontiguousarray(b.T))
    return prepack(np.ascontiguousarray(b.T) if transposed else b, transposed, kind == "bfloat16")


def run(product, kind, operands, layout=(False, False), more=False):
    """A B, or C + A B, from operands stored as the layout says."""
    a = np.ascontiguousarray(operands[0].T) if layout[0] else operands[0]
    return product(a, layout[0], packed(kind, operands[1], layout[1]), operands[2].copy(), more)


def check(product, kind, operands, layout=(False, False), more=False):
    """Compare with float64.

    The bound: each of K sums, and without fused multiply-adds each product, is rounded once (Higham, "Accuracy and
    Stability of Numerical Algorithms", 2nd ed., eq. 3.5). Products of two bfloat16 are exact in float32.
    """
    found = run(product, kind, operands, layout, more)
    a, b, c = (matrix.astype(np.float64) for matrix in operands)
    if kind == "bfloat16":
        a, b = (round_bf16(matrix).astype(np.float64) for matrix in operands[:2])
    elif kind in FORMS:
        b = rounded(operands[1].T, FORMS[kind]).T.astype(np.float64)
    start = c if more else np.zeros_like(c)
    bound = (a.shape[1] + 2) * np.finfo(found.dtype).eps * (np.abs(a) @ np.abs(b) + np.abs(start))
    assert found.dtype == operands[0].dtype
    assert (np.abs(found - (a @ b + start)) <= bound).all()


@KINDS
@given(
    rows=ROW_COUNTS,
    depth=DEPTHS,
    columns=st.integers(0, 3 * COLUMNS + 1),
    layout=st.tuples(st.booleans(), st.booleans()),
    more=st.booleans(),
    threads=st.sampled_from([1, 3]),
)
def test_product(kind, rows, depth, columns, layout, more, threads):
    set_num_threads(threads)
    check(multiply, kind, sample(kind, rows, depth, columns), layout, more)


def last_k_missing(matrix, transposed, b, out, more):
    matrix = matrix.T.copy() if transposed else matrix.copy()
    matrix[:, -1] = 0
    return multiply(matrix, False, b, out, more)


def always_more(matrix, transposed, b, out, more):
    return multiply(matrix, transposed, b, out, True)


def other_layout(matrix, transposed, b, out, more):
    return multiply(matrix, not transposed, b, out, more)


def last_column_missing(matrix, transposed, b, out, more):
    last = out[:, -1].copy()
    multiply(matrix, transposed, b, out, more)
    out[:, -1] = last
    return out


def one_block_of_k_twice(matrix, transposed, b, out, more):
    multiply(matrix, transposed, b, out, more)
    matrix = matrix.T.copy() if transposed else matrix.copy()
    matrix[:, DEPTH:] = 0
    return multiply(matrix, False, b, out, True)


@KINDS
@pytest.mark.parametrize(
    "wrong", [last_k_missing, always_more, other_layout, last_column_missing, one_block_of_k_twice]
)
def test_a_wrong_product_is_caught(kind, wrong):
    with pytest.raises(AssertionError):
        check(wrong, kind, sample(kind, 40, 40, 40))


@KINDS
@pytest.mark.parametrize("transposed", [False, True])
def test_a_row_has_the_same_bits_beside_any_rows_and_on_any_threads(kind, transposed):
    """Sizes at which rows and columns are cut into several tasks."""
    operands = sample(kind, 2 * ROW_BLOCK + 3, 700, 200)
    assert len(gemm._split(len(operands[0]), prepack(operands[1], False))[0]) > 1
    set_num_threads(1)
    expected = run(multiply, kind, operands, (transposed, False), True)
    for threads in (2, 3, 5):
        set_num_threads(threads)
        assert run(multiply, kind, operands, (transposed, False), True).tobytes() == expected.tobytes()
    for rows in (slice(0, 1), slice(5, 6), slice(3, 3 + ROWS), slice(7, 90), slice(-1, None)):
        some = [operands[0][rows], operands[1], operands[2][rows]]
        assert run(multiply, kind, some, (transposed, False), True).tobytes() == expected[rows].tobytes()


@pytest.mark.parametrize("kind", ["float32", "float64", "bfloat16"])
@given(
    rows=ROW_COUNTS,
    depth=DEPTHS,
    columns=st.integers(0, 3 * COLUMNS + 1),
    layout=st.tuples(st.booleans(), st.booleans()),
    threads=st.integers(1, 3),
)
def test_a_product_that_packs_for_itself_is_the_same_to_the_bit(kind, rows, depth, columns, layout, threads):
    set_num_threads(threads)
    operands = sample(kind, rows, depth, columns)
    expected = run(multiply, kind, operands, layout)
    a, b = (np.ascontiguousarray(x.T) if turned else x for x, turned in zip(operands[:2], layout, strict=True))
    found = multiply_once(a, layout[0], b, layout[1], np.full_like(operands[2], np.nan), kind == "bfloat16")
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", ["float32", "float64", "bfloat16"])
@given(
    rows=st.integers(1, 9 * ROWS),
    depth=st.integers(1, 70),
    columns=st.integers(1, 7 * COLUMNS + 1),
    layout=st.tuples(st.booleans(), st.booleans()),
    threads=st.integers(2, 4),
)
def test_it_is_cut_along_its_longer_side_among_the_threads(kind, rows, depth, columns, layout, threads):
    operands = sample(kind, rows, depth, columns)
    expected = run(multiply, kind, operands, layout)
    a, b = (np.ascontiguousarray(x.T) if turned else x for x, turned in zip(operands[:2], layout, strict=True))
    set_num_threads(threads)
    with patch.multiple(once, SHARED_WORK=1, PART_WORK=1):
        found = multiply_once(a, layout[0], b, layout[1], np.full_like(operands[2], np.nan), kind == "bfloat16")
    np.testing.assert_array_equal(found, expected)


def test_what_is_large_is_packed_once():
    operands = sample("float32", 250, 300, 20 * COLUMNS + 3)
    expected = run(multiply, "float32", operands)
    with patch.object(once, "LARGE_WORK", 1):
        found = multiply_once(operands[0], False, operands[1], False, np.empty_like(operands[2]))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.skipif(config.DISABLE_JIT, reason="nothing is compiled")
def test_operands_that_may_not_be_written_compile_nothing_anew():
    operands = sample("float32", 3, 4, 5)
    expected = multiply_once(operands[0], False, operands[1], False, np.empty((3, 5), np.float32))
    before = once._multiply_part.signatures
    for operand in operands[:2]:
        operand.flags.writeable = False
    found = multiply_once(operands[0], False, operands[1], False, np.empty((3, 5), np.float32))
    np.testing.assert_array_equal(found, expected)
    assert once._multiply_part.signatures == before


def test_wide_and_flat_products_are_cut_along_columns():
    operands = sample("float32", 5, 512, 4000)
    tasks = gemm._split(5, prepack(operands[1], False))
    assert len(tasks[0]) == 1
    assert len(tasks[1]) > 1
    set_num_threads(1)
    expected = run(multiply, "float32", operands)
    set_num_threads(4)
    assert run(multiply, "float32", operands).tobytes() == expected.tobytes()


@KINDS
def test_nan_and_infinity_reach_their_rows_and_columns_only(kind):
    for poison in (np.nan, np.inf):
        operands = sample(kind, 21, 530, 45)
        operands[0][4, 520] = poison
        operands[1][3, 44] = poison
        found = run(multiply, kind, operands)
        spoilt = ~np.isfinite(found)
        expected = np.zeros_like(spoilt)
        expected[4], expected[:, 44] = True, True
        np.testing.assert_array_equal(spoilt, expected)


def test_denormals():
    """float32 and float64 keep them; in bfloat16 a processor's instruction may take them for zero, no more."""
    tiny = {"float32": np.float32(1e-40), "float64": np.float64(1e-310), "bfloat16": np.float32(1e-40)}
    for kind, number in tiny.items():
        operands = [np.array([[number]]), np.array([[number.dtype.type(2)]]), np.zeros((1, 1), number.dtype)]
        found = float(run(multiply, kind, operands)[0, 0])
        rounded = float(round_bf16(operands[0])[0, 0]) if kind == "bfloat16" else float(number)
        assert found == 2 * rounded or (kind == "bfloat16" and found == 0)


@KINDS
def test_work_space_and_panels_are_all_that_is_written(kind):
    """A task that computes some rows and columns leaves the others as they are."""
    operands = sample(kind, 30, 40, 3 * COLUMNS)
    b = packed(kind, operands[1])
    full = run(multiply, kind, operands)
    out, a = np.full_like(full, np.nan), np.empty(workspace(10, 40), left_dtype(b.panels))
    first, stop, columns = COLUMNS, 2 * COLUMNS, 3 * COLUMNS
    product.multiply_block(
        operands[0].ravel(), False, 5 * 40, 80, 10, a, b.panels, 40, columns, first, stop, out.reshape(-1),
        5 * columns, 2 * columns, False,
    )  # fmt: skip
    np.testing.assert_array_equal(out[5:25:2, first:stop], full[5:25:2, first:stop])
    out[5:25:2, first:stop] = np.nan
    assert np.isnan(out).all()


NEEDS_COMPILER = pytest.mark.skipif(bool(config.DISABLE_JIT), reason="there is no machine code")


@numba.njit(**FLAGS)
def one_product(source, a, panels, c, depth, columns):
    multiply_rows(source, False, 0, depth, 1, a, panels, depth, columns, 0, columns, c, 0, columns, False)


def arrays_of_one_product(kind="float64"):
    a, b, c = sample(kind, 1, 3, 4)
    panels = packed(kind, b).panels
    return a.ravel(), np.zeros(workspace(1, 3), left_dtype(panels)), panels, c.ravel(), a @ b


@NEEDS_COMPILER
@KINDS
def test_kernels_call_the_product_by_address(kind):
    """And the call without `prepare` is an error, not a crash."""
    source, a, panels, c, expected = arrays_of_one_product(kind)
    one_product(source, a, panels, c, 3, 4)
    np.testing.assert_allclose(c, expected[0], rtol=0.05 if kind in FORMS else 1e-6, atol=0.05)
    before = product._addresses.copy()
    try:
        product._addresses[:] = 0
        with pytest.raises(RuntimeError, match=r"multiply_rows: called before prepare\(\)"):
            one_product(source, a, panels, c, 3, 4)
    finally:
        product._addresses[:] = before
    product._addresses[:] = 0
    product.prepare(panels.dtype)  # finds what was compiled
    assert np.count_nonzero(product._addresses) == 1
    one_product(source, a, panels, c, 3, 4)
    product._addresses[:] = before


@NEEDS_COMPILER
def test_the_call_accepts_no_other_arrays():
    source, a, panels, c, _ = arrays_of_one_product()
    for wrong in ((source[::2], a, panels, c), (source, a.astype(np.float32), panels, c)):
        with pytest.raises(numba.TypingError):
            one_product(*wrong, 3, 4)
