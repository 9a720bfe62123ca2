"""The least time that a piece of work can take: its arithmetic and its bytes at measured rates, and its serial steps.

A recurrence of T steps hands h from block to block T times in each layer, and gradients the same way back; what of an
exchange cannot be hidden behind arithmetic is taken as 0.6 us per layer and step.
"""

from __future__ import annotations

from typing import Any

EXPOSED_US = 0.6
# Where the ceilings have not been measured: what H200s reach, in TFLOP/s and TB/s.
RATES = {"bf16": 790.0, "fp16": 790.0, "tf32": 400.0, "fp32": 50.0}
BANDWIDTH = 4.3


def rates(ceilings: dict[str, Any] | None) -> dict[str, float]:
    """TFLOP/s per precision, and "bytes" in TB/s, measured in this run where they were."""
    found = {**RATES, "bytes": BANDWIDTH}
    rows = {row["what"]: row for row in (ceilings or {}).get("rows", []) if "error" not in row}
    if ceilings and ceilings["simulated"]:
        return found
    for precision in RATES:
        name = f"product, {'bf16' if precision == 'fp16' else precision}"
        reached = [rows[key]["tflops"] for key in (name, f"our binding: {name}") if key in rows]
        found[precision] = max(reached, default=found[precision])
    if "copy, driver" in rows:
        found["bytes"] = rows["copy, driver"]["tb_per_s"]
    return found


def lstm(row: dict[str, Any], known: dict[str, float]) -> float:
    """Microseconds of forward and backward of a row of the `nn.LSTM` grid; lengths from T to T / 4 are 5/8 of T."""
    tokens = row["T"] * row["N"] * (0.625 if row["ragged"] else 1.0)
    flops = 3 * row["layers"] * tokens * 2 * 4 * row["H"] * (row["H"] + row["H"])
    return flops / known[row["precision"]] / 1e6 + 2 * row["layers"] * row["T"] * EXPOSED_US


def training_step(row: dict[str, Any], known: dict[str, float]) -> float:
    """Microseconds of a row of the training races: arithmetic, layer-steps, and the optimiser's bytes."""
    return (
        row["flops"] / known[row["precision"]] / 1e6
        + 2 * row["layer_steps"] * EXPOSED_US
        + row["update_bytes"] / known["bytes"] / 1e6
    )
