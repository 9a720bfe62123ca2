"""The forms that weights may have where they are read often and change never, beside their own numbers ("full").

    bf16    rounded to bfloat16, and so is what they are multiplied with
    f16     rounded to float16
    int8    scale * q of each row, with scale = max |row| / 127 and whole numbers q from -127 to 127

What rows of int8 stand for is in int8 again without a change of q, and of a scale but for its last bit. Products with
f16 and int8 are those of float32 with the rounded weights.

Source: Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference"
(2018), symmetric and by row.
"""

import numpy as np

FORMS = ("full", "bf16", "f16", "int8")
NARROW = ("f16", "int8")
INT8_MOST = 127


def int8_rows(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """q (N, K) int8 and scale (N,) float32 of a floating (N, K); a row of zeros has scale 1, one with a NaN a NaN."""
    most = np.abs(matrix).max(axis=1) if matrix.size else np.zeros(len(matrix), like=matrix)
    scale = most.astype(np.float32) / np.float32(INT8_MOST)
    scale[scale == 0] = 1
    with np.errstate(invalid="ignore"):
        q = np.rint(matrix / scale[:, None])
        return q.clip(-INT8_MOST, INT8_MOST, out=q).astype(np.int8), scale


def rounded(matrix: np.ndarray, form: str) -> np.ndarray:
    """The float32 numbers that a float32 matrix of this form stands for; any other matrix, and form, is left as is."""
    if form not in NARROW or matrix.dtype != np.float32:
        return matrix
    if form == "f16":
        return matrix.astype(np.float16).astype(np.float32)
    q, scale = int8_rows(matrix)
    return q.astype(np.float32) * scale[:, None]
