"""Shared by the tests of sources: small files of numbers with text beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def write_rows(tmp_path: Path) -> Callable[..., str]:
    """write_rows("vectors", examples, lines, "name"): the two files of a data set; "NUMBERS,TEXT"."""

    def write(kind: str, examples: Sequence[Any], lines: Sequence[str], name: str = "train") -> str:
        if kind == "vectors":
            path = tmp_path / f"{name}.npy"
            np.save(path, np.array(examples, np.float32))
        else:
            path = tmp_path / f"{name}.npz"
            np.savez(path, rows=np.concatenate(examples).astype(np.float32), lengths=list(map(len, examples)))
        text = tmp_path / f"{name}.en"
        text.write_text("".join(f"{line}\n" for line in lines))
        return f"{path},{text}"

    return write
