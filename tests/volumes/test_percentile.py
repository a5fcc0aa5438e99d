"""Percentiles of parts: numpy's, whatever the type."""

from __future__ import annotations

import numpy as np
import pytest

from dpcenet.volumes.boxes_and_values import percentile, ranked

RANDOM = np.random.default_rng(0)
ARRAYS = {
    "int8": RANDOM.integers(-128, 127, (9, 30, 31)).astype(np.int8),
    "uint8": RANDOM.integers(0, 255, (9, 30, 31)).astype(np.uint8),
    "int16": RANDOM.integers(-1024, 3000, (9, 30, 31)).astype(np.int16),
    "uint16": RANDOM.integers(0, 65535, (9, 30, 31)).astype(np.uint16),
    "int32": RANDOM.integers(-(2**31), 2**31 - 1, (9, 30, 31)).astype(np.int32),
    "float32": RANDOM.normal(0, 900, (9, 30, 31)).astype(np.float32),
    "float64": RANDOM.normal(0, 1e-9, (9, 30, 31)),
    "zeros": np.array([0.0, -0.0, 1.0, -1.0] * 9, np.float32).reshape(9, 2, 2),
    "one value": np.full((3, 4, 5), -7, np.int16),
}


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("q", [0, 0.5, 37.7, 50, 99.5, 100])
def test_the_same_as_numpy(name: str, q: float) -> None:
    array = ARRAYS[name]
    wanted = np.percentile(array.astype(np.float64), q)
    kind = array.dtype if array.dtype.kind == "f" else np.dtype(np.float64)
    assert percentile(lambda: iter(array), q) == kind.type(wanted)


@pytest.mark.parametrize("name", ARRAYS)
def test_every_rank(name: str) -> None:
    array = ARRAYS[name][:2, :2, :5]
    found = [ranked(lambda: (part[:, ::-1] for part in array), n) for n in range(array.size)]
    assert found == np.sort(array, axis=None).astype(np.float64).tolist()
