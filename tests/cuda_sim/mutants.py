"""Kernels with one mistake each, for the question whether the tests would notice: every barrier, wait and publish
taken away in turn, every flag wait weakened by one block, and some wrong values.

    python tests/cuda_sim/mutants.py [word ...]      those whose name contains one of the words, under every schedule

prints for each which schedules notice it by themselves, and how: V wrong values, W something not written, D deadlock,
X any other report of the simulator, ! a crash, of Python's too, or a hang (- not run after it), . nothing. A mutant
that no schedule notices is a hole in the tests, or a barrier that nobody needs.
"""

from __future__ import annotations

import multiprocessing
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import test_cells
import test_convert
import test_embedding
import test_gelu
import test_optimiser
import test_prepare
import test_recurrent
import test_search
import test_softmax
from harness import FAIR, MACHINE, UNFAIR, Rig, SimulationError, sources

LIMIT = 120  # seconds without an answer are a hang
# A child is a fork of a server that has imported all of this once: to start Python anew took as long as to compile.
PROCESSES: Any = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["mutants"])
SCHEDULES = UNFAIR + FAIR  # in the order in which they are likely to notice something
STATEMENT = re.compile(
    r"(__syncthreads\(\)|copy_\w+\(\)|spin_acquire\([^;]*\)|red_release\([^;]*\)|v\[e\] = poll16\([^;]*\));"
    r"(?:  // (.*))?"
)
FUNCTION = re.compile(r"^(?:DEVICE [\w ]*?|KERNEL\()(\w+)[(,]", re.MULTILINE)
# Widths that no check uses, so they need not be compiled.
OTHER_WIDTHS = re.compile(
    r"^LSTM_(?!FORWARD_WIDE\(\w+, \w+, 128|BACKWARD_WIDE\(\w+, \w+, 256)\w+\(.*(?:128|256|512|768|1024).*\)\n",
    re.MULTILINE,
)


def check_gradients(rig: Rig) -> None:
    for (shape, _), padding in zip(test_embedding.SHAPES, (0, -1, -1, 0, -1), strict=True):
        test_embedding.check_gradient(rig, shape, padding, main=True)


CHECKS: dict[str, Callable[[Rig], None]] = {
    "forward": lambda rig: test_recurrent.check_forward(rig, "lstm_forward", test_recurrent.MAIN, True),
    "marked": lambda rig: test_recurrent.check_forward(rig, "lstm_forward_marked", test_recurrent.MAIN, True),
    "wide": lambda rig: test_recurrent.check_forward(rig, "lstm_forward_wide", test_recurrent.WIDE_MAIN, True),
    "backward": lambda rig: test_recurrent.check_backward(rig, "lstm_backward", test_recurrent.MAIN, True),
    "backward wide": lambda rig: test_recurrent.check_backward(
        rig, "lstm_backward_wide", test_recurrent.BACKWARD_WIDE_MAIN, True
    ),
    "tf32": lambda rig: test_recurrent.test_other_types(rig, "lstm_forward", "tf32"),
    "packing": lambda rig: test_prepare.check_prepare(rig, "bf16", (5, 3, 7, 70, 128), True),
    "mark": lambda rig: test_prepare.check_mark(rig, 4, 40),
    "softmax": lambda rig: test_softmax.check(rig, "f32", test_softmax.MAIN, True),
    "ignored": test_softmax.test_a_nan_in_an_ignored_row_stays_there,
    "adam": lambda rig: test_optimiser.check_adam(rig, False, True),
    "rows": lambda rig: test_optimiser.test_adam_rows_step(rig, 9, 5, False),
    "replay": lambda rig: test_optimiser.test_adam_replay(rig, 9, 5, False),
    "gradient": check_gradients,
    "pieces": lambda rig: test_embedding.check_pieces(rig, 300, 0, 128, 64),
    "sums": lambda rig: test_embedding.check_column_sums(rig, "f32", test_embedding.SUM_MAIN, True),
    "embedding": lambda rig: test_embedding.test_embedding_forward(rig, 37),
    "dropout": lambda rig: test_embedding.test_dropout(rig, 1500, 5007, 0.3),
    "rank": lambda rig: test_search.check_rank(rig, test_search.MAIN, True),
    "argmax": lambda rig: test_search.check_argmax(rig, 300),
    "compact": lambda rig: test_search.check_compact(rig, 50, 3, 64, True),
    "select": lambda rig: test_search.check_selections(rig),
    "losses": lambda rig: test_softmax.check_losses(rig, [1] * 699 + [-100], 1, 1 / 699),
    "bias": lambda rig: test_softmax.test_a_bias_is_part_of_the_logits(rig, 37),
    "given": lambda rig: test_softmax.test_cross_entropy_gradient(rig, 0.1),
    "target": lambda rig: test_softmax.test_a_target_out_of_range(rig, 4),
    "id": lambda rig: test_embedding.test_an_id_out_of_range(rig, -1),
    "gather": lambda rig: test_convert.check_gather(rig, 4, 300, "f32"),
    "gelu": lambda rig: test_gelu.check(rig, 1025, False),
    "tanh": lambda rig: test_gelu.check(rig, 1025, True),
    "erf": lambda rig: test_gelu.check_erf(rig, 1025),
    "random": lambda rig: test_convert.check_random_bits(rig, 5001),
    "sgd": lambda rig: test_optimiser.check_sgd(rig, (0.8, 0.3, True, 0.05), 1500),
    "rmsprop": lambda rig: test_optimiser.check_rmsprop(rig, (1, 1, 0.1), 1500),
    "lstm cells": lambda rig: test_cells.check_lstm(rig, 5, 50, True),
    "gru cells": lambda rig: test_cells.check_gru(rig, 5, 50, True),
}
# source -> function in it that synchronises -> the checks that have to notice
SYNCHRONISED = {
    "recurrent/lstm_forward.cu": {"lstm_forward": ("forward", "marked"), "poll_rows": ("marked",)},
    "recurrent/lstm_forward_wide.cu": {"lstm_forward_wide": ("wide",)},
    "recurrent/lstm_backward.cu": {"lstm_backward": ("backward",)},
    "recurrent/lstm_backward_wide.cu": {"lstm_backward_wide": ("backward wide",)},
    "losses/softmax_cross_entropy.cu": {"softmax_cross_entropy": ("softmax",)},
    "runtime/sums.cuh": {"block_sum": ("adam", "losses"), "sum_below": ("gradient", "pieces", "compact")},
    "search/ranking.cu": {"sum_row": ("rank",), "rank_words": ("rank",), "argmax_rows": ("argmax",)},
    "search/search.cu": {"compact_slots": ("compact",)},
    "layers/embedding.cu": {
        "sort_keys": ("gradient", "pieces"),
        "embedding_sort": ("gradient",),
        "embedding_sort_runs": ("pieces",),
    },
    "runtime/column_sums.cu": {"column_sums": ("sums",)},
}
MARKED_STATEMENTS = {"B", "C", "D"}  # of lstm_forward: those that its marked variant contains
EDITS = [  # source, text, what it becomes, check
    ("recurrent/lstm_forward.cu", "while (lengths[base + alive - 1] <= t) alive--;", "", "forward"),
    ("recurrent/lstm_forward.cu", "while (lengths[base + alive - 1] <= t) alive--;", "", "marked"),
    ("recurrent/lstm_forward.cu", "before = token + N;", "before = token + N - 1;", "forward"),
    ("recurrent/lstm_forward.cu", "alive = rows_of(base, 16, N)", "alive = 16", "forward"),
    ("recurrent/lstm_forward.cu", "T = lengths[base]", "T = lengths[0]", "forward"),
    ("recurrent/lstm_forward_wide.cu", "while (lengths[base + alive - 1] <= t) alive--;", "", "wide"),
    ("recurrent/lstm_forward_wide.cu", "alive = rows_of(base, ROWS, N)", "alive = ROWS", "wide"),
    ("recurrent/lstm_backward.cu", "if (row < alive) {  // a row", "if (true) {  // a row", "backward"),
    ("recurrent/lstm_backward.cu", "dh.x + pair.dy.x", "dh.x", "backward"),
    ("recurrent/lstm_backward.cu", "c_new = pair.c_prev;", "", "backward"),
    ("recurrent/lstm_backward.cu", "if (length > 0) c_new =", "if (length == T) c_new =", "backward"),
    ("recurrent/lstm_backward.cu", "dc = *(const float2*)(dc_n + cell)", "dc = {0, 0}", "backward"),
    ("recurrent/lstm_backward.cu", "dh = *(const float2*)(dh_n + cell)", "dh = {0, 0}", "backward"),
    ("recurrent/lstm_backward_wide.cu", "t % 2 * gridDim.y", "0 * gridDim.y", "backward wide"),
    ("recurrent/lstm_backward_wide.cu", "in * KU / 128, IN", "out, IN", "backward wide"),
    ("recurrent/lstm_backward_wide.cu", "if (t + 1 < length) {", "if (t + 1 < T) {", "backward wide"),
    ("recurrent/lstm_backward_wide.cu", "if (t < length) store", "if (owner) store", "backward wide"),
    ("recurrent/lstm_backward_wide.cu", "unpack(dc, *(const float4*)(dc_n + (size_t)n * H + u));", "", "backward wide"),
    ("recurrent/lstm_backward_wide.cu", "if (dy) quad.dy =", "if (!dy) quad.dy =", "backward wide"),
    ("recurrent/recurrent.cuh", "if (rows > HALF * 16)", "if (rows > TILES * 8)", "wide"),
    ("recurrent/recurrent.cuh", "b[i] = to_tf32(bits_to_float(b[i]));", ";", "tf32"),
    ("recurrent/pack.cuh", "at < 0 ? 0.0f : weight[at]", "weight[at < 0 ? 0 : at]", "packing"),
    ("recurrent/lstm_prepare.cu", "(u64)first[T] *", "(u64)first[T - 1] *", "mark"),
    ("recurrent/lstm_prepare.cu", "y + (size_t)N * width", "y", "mark"),
    ("recurrent/cells.cuh", "(1.0f - tanh_c * tanh_c)", "1.0f", "backward"),
    ("recurrent/cells.cuh", "dh = dh * gate.z;", "dh = 0;", "gru cells"),
    ("losses/softmax_cross_entropy.cu", "row.counted && v + i < V ?", "v + i < V ?", "ignored"),
    ("losses/softmax_cross_entropy.cu", "row.counted && v + i < V ?", "row.counted ?", "softmax"),
    ("losses/softmax_cross_entropy.cu", "0.0f) + row.uniform;", "0.0f);", "softmax"),
    ("losses/softmax_cross_entropy.cu", "to_float(io.element[i]) + b", "to_float(io.element[i])", "bias"),
    ("losses/softmax_cross_entropy.cu", "if (stride % EACH)", "if (V % EACH == 0)", "bias"),
    ("losses/softmax_cross_entropy.cu", "0.0f) + uniform;", "0.0f);", "given"),
    ("runtime/device.cuh", "id < limit", "id <= limit", "target"),
    ("runtime/device.cuh", "id >= 0 &&", "", "id"),
    ("losses/losses.cu", "targets[m] != ignore_index", "1", "losses"),
    ("updates/clipping.cu", "coefficient > 1.0 ? 1.0f : (float)coefficient", "1.0f", "adam"),
    ("updates/adam.cu", "g = plus(g, times(s.l2, param))", "g = g", "adam"),
    ("updates/adam.cu", "s.root_correction), s.eps", "1.0f), s.eps", "adam"),
    ("updates/adam.cu", "rows[blockIdx.x] * E", "blockIdx.x * E", "rows"),
    ("updates/adam.cu", "step = (int)first[blockIdx.x]", "step = 0", "replay"),
    ("layers/embedding.cu", "id != padding_idx && ", "", "gradient"),
    ("layers/embedding.cu", "if (used && i == size - 1) starts[total] = size;", "", "gradient"),
    ("layers/embedding.cu", "in_range(id, V, error) ? weight", "id < V ? weight", "id"),
    ("layers/dropout.cu", "start / 4 +", "", "dropout"),
    ("layers/random.cuh", "round < 10", "round < 9", "dropout"),
    ("layers/gelu.cu", "erfc_(-x * ROOT_HALF)", "erfc_(-x)", "gelu"),
    ("layers/gelu.cu", "(distribution(x[i]) + x[i] * density)", "distribution(x[i])", "gelu"),
    ("layers/gelu.cu", "p * (1.0f - p) *", "p *", "tanh"),
    ("layers/gelu.cu", "(1.0f + 3.0f * CUBIC", "(1.0f + CUBIC", "tanh"),
    ("layers/gelu.cu", "y[i] = erf_(x[i]);", "y[i] = 1.0f - erfc_(x[i]);", "erf"),
    ("runtime/elements.cuh", "if (begin + k * blockDim.x < size)", "", "gelu"),
    ("layers/embedding.cu", "total - right > width ? right + width : total", "right + width", "pieces"),
    ("layers/embedding.cu", "x, true)", "x, false)", "pieces"),
    ("search/ranking.cu", "going[at / K]", "K", "rank"),
    ("search/ranking.cu", "before(last, here)", "true", "rank"),
    ("search/ranking.cu", "x == top ? 1.0f :", "", "rank"),
    ("search/ranking.cu", "return a.word < b.word;", "return a.word > b.word;", "rank"),
    ("search/ranking.cu", "if (a_nan != b_nan) return a_nan;", "", "argmax"),
    ("search/search.cu", "other.row < mine.row", "other.row > mine.row", "select"),
    ("search/search.cu", "word == end || t + 1 == T", "word == end", "select"),
    ("search/search.cu", "place > 0 && score >", "place > 0 && score >=", "select"),
    ("search/search.cu", "going[s] = settled ? 0 : count", "going[s] = count", "select"),
    ("layers/random_bits.cu", "block * 4 + i < count", "true", "random"),
    ("runtime/convert.cu", "row < 0 ?", "row < -1 ?", "gather"),
    ("updates/sgd.cu", "first ? g :", "", "sgd"),
    ("updates/sgd.cu", "nesterov ? plus(g, times(momentum, v)) : v", "v", "sgd"),
    ("updates/rmsprop.cu", "plus(s, -times(m, m))", "s", "rmsprop"),
    ("recurrent/lstm_cells.cu", "(dy ? dy[cell + (u64)token * H] : 0.0f)", "0.0f", "lstm cells"),
    ("recurrent/lstm_cells.cu", "pre.g + b[2 * H]", "pre.g", "lstm cells"),
    ("recurrent/gru_cells.cu", "write(dhidden + at, d, dhidden_n, H)", "write(dhidden + at, d, d.n, H)", "gru cells"),
    ("runtime/column_sums.cu", "row += 8", "row += 16", "sums"),
]


class Mutant(NamedTuple):
    name: str  # what was done to which line
    source: str  # the file that is changed
    text: str  # what it becomes
    check: str  # who has to notice


def replaced(text: str, start: int, stop: int, by: str) -> str:
    return text[:start] + by + text[stop:]


def without_synchronisation(source: str, text: str) -> Iterator[Mutant]:
    """Each statement of a file taken away, and each wait for a flag content with one block less."""
    for match in STATEMENT.finditer(text):
        statement, comment = match.groups()
        function = next(m for m in reversed([*FUNCTION.finditer(text, 0, match.start())])).group(1)
        line = text.count("\n", 0, match.start()) + 1
        for check in SYNCHRONISED[source][function]:
            if function == "lstm_forward" and check == "marked" and comment not in MARKED_STATEMENTS:
                continue
            label = f"{source}:{line} {check} {statement}{f' {comment}' if comment else ''}"
            yield Mutant(f"no {label}", source, replaced(text, *match.span(1), ""), check)
            if "spin_acquire" in statement:
                weak = statement.replace(", error", " - 1, error")
                yield Mutant(f"weak {label}", source, replaced(text, *match.span(1), weak), check)


def mutants() -> Iterator[Mutant]:
    """All of them, in a fixed order."""
    texts = sources()
    for source, text in texts.items():
        if source != MACHINE:
            yield from without_synchronisation(source, text)
    for source, old, new, check in EDITS:
        text = texts[source]
        if old not in text:
            raise ValueError(f"{source} holds no {old!r} any more: bring EDITS up to date")
        yield Mutant(f"edit {source} {check} {old} -> {new}", source, text.replace(old, new), check)


def noticed(folder: Path, check: str, schedule: int) -> str:
    """The letter of one schedule.

    Raises:
        CalledProcessError: the mutant does not compile.
    """
    try:
        CHECKS[check](Rig(folder, (schedule,), (schedule,)))
    except subprocess.CalledProcessError:
        raise
    except SimulationError as error:
        return "D" if "deadlock" in str(error) else "X"
    except AssertionError as error:
        return "W" if "never written" in str(error) else "V"
    except Exception:  # a mutant that wrote where it may not may have spoilt any of Python's own objects
        return "!"
    return "."


def run(mutant: Mutant, until_noticed: bool) -> str:
    """A letter per schedule, from a process of its own: some mutants crash.

    Raises:
        RuntimeError: the mutant could not be tried: it does not compile, say.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for source, text in (sources() | {mutant.source: mutant.text}).items():
            path = folder / source
            path.parent.mkdir(exist_ok=True)
            path.write_text(OTHER_WIDTHS.sub("", text) if path.match("lstm_*ward*.cu") else text)
        letters, told = multiprocessing.Pipe(duplex=False)
        process = PROCESSES.Process(target=child, args=(name, mutant.check, until_noticed, told))
        process.start()
        told.close()
        try:
            return received(letters)
        except RuntimeError as error:
            raise RuntimeError(f"{mutant.name} could not be tried: {error}") from None
        finally:
            process.kill()
            process.join()


def received(letters: Any) -> str:
    """What a child tells until it says that it is done, or until "!", a crash or a hang."""
    found = ""
    while letters.poll(LIMIT):
        try:
            letter = letters.recv()
        except EOFError:
            break
        if isinstance(letter, Exception):
            raise RuntimeError(letter)
        if not letter:
            return found
        found += letter
    return f"{found}!"


def child(folder: str, check: str, until_noticed: bool, told: Any) -> None:
    try:
        for schedule in SCHEDULES:
            letter = noticed(Path(folder), check, schedule)
            told.send(letter)
            if letter != "." and until_noticed:
                break
        told.send("")
    except Exception as error:
        told.send(RuntimeError(f"{type(error).__name__}: {error}"))


def main(words: list[str]) -> int:
    missed = 0
    for mutant in mutants():
        if words and not any(word in mutant.name for word in words):
            continue
        letters = run(mutant, until_noticed=False).ljust(len(SCHEDULES), "-")
        unfair, fair = letters[: len(UNFAIR)], letters[len(UNFAIR) :]
        print(f"{fair} | {unfair} {sum(letter not in '.-' for letter in unfair):2d}  {mutant.name}", flush=True)
        missed += set(letters) == {"."}
    print(f"{missed} mutants were not noticed")
    return missed > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
