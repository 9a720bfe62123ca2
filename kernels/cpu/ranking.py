"""The best words of a row of logits, without sorting or normalising the row.

A row is read in blocks; one that holds nothing above the worst of the best so far is skipped after a comparison that
vectorises. log p(word) is (logit - largest) - log(sum of exp(logit - largest)), as everywhere else.
"""

import numpy as np

from kernels.cpu.activations import exp
from kernels.cpu.jit import jit, jit_sum

LANES = 64  # running maxima of a row, side by side
SCAN = 64  # words of a block that is looked at as a whole


@jit
def log_sum_exp(logits: np.ndarray, bias: np.ndarray, exps: np.ndarray) -> float:
    """log of the sum of exp(logits), logits (V,) <- logits + bias - their maximum; exps (V,) is work space.

    A NaN or infinity among the logits makes the result NaN.
    """
    for j in range(len(logits)):
        logits[j] += bias[j]
    largest = _maximum(logits)
    for j in range(len(logits)):
        logits[j] -= largest
    for j in range(len(logits)):
        exps[j] = exp(logits[j])
    return np.log(_sum(exps))


@jit
def _maximum(values: np.ndarray) -> float:
    """The largest of (V,), NaNs left out; a plain maximum of floats would not vectorise."""
    lanes = np.full(LANES, values.dtype.type(-np.inf))
    whole = len(values) // LANES * LANES
    for start in range(0, whole, LANES):
        for k in range(LANES):
            lanes[k] = values[start + k] if values[start + k] > lanes[k] else lanes[k]
    for k in range(len(values) - whole):
        lanes[k] = values[whole + k] if values[whole + k] > lanes[k] else lanes[k]
    largest = lanes[0]
    for k in range(1, LANES):
        largest = lanes[k] if lanes[k] > largest else largest
    return largest


@jit_sum
def _sum(values: np.ndarray) -> float:
    """(S,) -> its sum, in its dtype."""
    total = values.dtype.type(0)
    for k in range(len(values)):
        total += values[k]
    return total


@jit
def insert(values: np.ndarray, count: int, value: float) -> int:
    """Put a value among the first `count` of values (S,), which are in descending order, behind its equals.

    Returns:
        its place, S if it is none of the S best (a NaN never is). The last value is pushed out of a full list.
    """
    size = len(values)
    if not value > -np.inf or (count == size and not value > values[size - 1]):
        return size
    place = min(count, size - 1)
    while place > 0 and value > values[place - 1]:
        values[place] = values[place - 1]
        place -= 1
    values[place] = value
    return place


@jit
def offer_words(
    shifted: np.ndarray, log_sum: float, log_prob: float, row: int, totals: np.ndarray, rows: np.ndarray,
    words: np.ndarray, count: int,
) -> int:  # fmt: skip
    """Insert (log_prob + log p(word), row, word) for each word of a row into the K best so far, equal ones by order.

    Args:
        shifted, log_sum: the logits and the result of `log_sum_exp`.
        log_prob: float64, of what the row's words follow.
        totals, rows, words: (K,) each, best first, `count` of them filled.

    Returns:
        the new count.
    """
    size = len(totals)
    for start in range(0, len(shifted), SCAN):
        block = shifted[start : start + SCAN]
        if count == size and not _any_above(block, _bound(totals[size - 1], log_prob, log_sum, shifted)):
            continue
        for j in range(len(block)):
            place = insert(totals, count, log_prob + np.float64(block[j] - log_sum))
            if place == size:
                continue
            for k in range(min(count, size - 1), place, -1):
                rows[k], words[k] = rows[k - 1], words[k - 1]
            rows[place], words[place] = row, start + j
            count = min(count + 1, size)
    return count


@jit
def _bound(worst: float, log_prob: float, log_sum: float, shifted: np.ndarray) -> float:
    """A number such that shifted values up to it cannot reach a total above `worst`.

    Exactly it would be worst - log_prob + log_sum; 1e-6 of the terms, many times a float32's rounding, makes it safe.
    """
    slack = 1e-6 * (abs(worst) + abs(log_prob) + abs(log_sum) + 1)
    return shifted.dtype.type(worst - log_prob + log_sum - slack)


@jit
def _any_above(values: np.ndarray, bound: float) -> bool:
    """Whether one of the values is above the bound, all of them looked at: an early exit would not vectorise."""
    above = 0
    for k in range(len(values)):
        above += values[k] > bound
    return above > 0
