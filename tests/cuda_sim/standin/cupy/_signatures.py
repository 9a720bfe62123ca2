"""The parameters of CuPy's functions, compared with CuPy where that is installed.

A `*` before a name: the arguments of that name have to be arrays of the device.
"""

from __future__ import annotations


def _table(text: str) -> dict[str, str]:
    return dict(line.strip().split("(") for line in text.strip().splitlines())  # type: ignore[misc]


SIGNATURES = _table("""
    reshape(*a newshape order
    ravel(*a order
    transpose(*a axes
    swapaxes(*a axis1 axis2
    moveaxis(*a source destination
    rollaxis(*a axis start
    squeeze(*a axis
    expand_dims(*a axis
    broadcast_to(*array shape
    flip(*a axis
    roll(*a shift axis
    tile(*A reps
    repeat(*a repeats axis
    diagonal(*a offset axis1 axis2
    diag(*v k
    tril(*m k
    triu(*m k
    trace(*a offset axis1 axis2 dtype out
    split(*ary indices_or_sections axis
    array_split(*ary indices_or_sections axis
    concatenate(*tup axis out dtype casting
    stack(*tup axis out dtype casting
    vstack(*tup dtype casting
    hstack(*tup dtype casting
    append(*arr *values axis
    take_along_axis(*a *indices axis
    nonzero(*a
    flatnonzero(*a
    argwhere(*a
    sort(*a axis kind
    argsort(*a axis kind
    lexsort(*keys
    searchsorted(*a *v side sorter
    unique(*ar return_index return_inverse return_counts axis equal_nan
    isin(*element *test_elements assume_unique invert
    bincount(*x weights minlength
    diff(*a n axis prepend append
    sum(*a axis dtype out keepdims
    prod(*a axis dtype out keepdims
    mean(*a axis dtype out keepdims
    var(*a axis dtype out ddof keepdims
    std(*a axis dtype out ddof keepdims
    max(*a axis out keepdims
    min(*a axis out keepdims
    amax(*a axis out keepdims
    amin(*a axis out keepdims
    argmax(*a axis dtype out keepdims
    argmin(*a axis dtype out keepdims
    all(*a axis out keepdims
    any(*a axis out keepdims
    cumsum(*a axis dtype out
    cumprod(*a axis dtype out
    count_nonzero(*a axis
    round(*a decimals out
    around(*a decimals out
    clip(*a a_min a_max out
    nan_to_num(*x copy nan posinf neginf
    isclose(a b rtol atol equal_nan
    allclose(a b rtol atol equal_nan
    array_equal(*a1 *a2 equal_nan
    dot(*a *b out
    vdot(*a *b
    inner(*a *b
    outer(*a *b out
    tensordot(*a *b axes
    may_share_memory(*a *b max_work
    shares_memory(*a *b max_work
    ndim(*a
    shape(*a
    size(*a axis
    empty_like(*prototype dtype order subok shape
    zeros_like(*a dtype order subok shape
    ones_like(*a dtype order subok shape
    full_like(*a fill_value dtype order subok shape
""")
CREATION = _table("""
    empty(shape dtype order
    zeros(shape dtype order
    ones(shape dtype order
    full(shape fill_value dtype order
    eye(N M k dtype order
    identity(n dtype
    arange(start stop step dtype
    tri(N M k dtype
    linspace(start stop num endpoint retstep dtype axis
    indices(dimensions dtype
""")
UFUNCS_OF_CUPY = """
    abs absolute add arccos arccosh arcsin arcsinh arctan arctan2 arctanh bitwise_and bitwise_or bitwise_xor cbrt
    ceil conj conjugate copysign cos cosh divide equal exp exp2 expm1 fabs floor floor_divide fmax fmin fmod greater
    greater_equal heaviside hypot invert isfinite isinf isnan ldexp left_shift less less_equal log log10 log1p log2
    logaddexp logical_and logical_not logical_or logical_xor maximum minimum mod multiply negative nextafter
    not_equal positive power reciprocal remainder right_shift rint sign signbit sin sinh sqrt square subtract tan
    tanh true_divide trunc
"""
UFUNC_NAMES = tuple(UFUNCS_OF_CUPY.split())
