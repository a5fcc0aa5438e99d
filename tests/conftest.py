"""Fixtures that every test may use."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from dpcenet.inference.predictor import Predictor
from dpcenet.methods.copy import Copy, Options
from dpcenet.segmentation.segmenter import Segmenter
from dpcenet.volumes.preprocess import Preprocessing

SHARED = Path(__file__).parents[2] / "shared"
GOLDEN = Path(os.environ.get("DPCENET_GOLDEN", SHARED / "golden"))
REAL_SCANS = Path(os.environ.get("DPCENET_DATA", SHARED / "data"))

Arrays = dict[str, npt.NDArray[np.generic]]


@pytest.fixture(scope="session")
def golden() -> Callable[[str], Arrays]:
    """Reads `NAME.npz` of the golden numbers; skips the test where it is absent."""

    def load(name: str) -> Arrays:
        path = GOLDEN / f"{name}.npz"
        if not path.is_file():
            pytest.skip(f"no golden numbers at {path} (set DPCENET_GOLDEN)")
        with np.load(path) as arrays:
            return dict(arrays)

    return load


@pytest.fixture(scope="session")
def real_scans() -> Callable[[str], Path]:
    """Gives the folder of a real data set; skips the test where it is absent."""

    def folder(name: str) -> Path:
        path = REAL_SCANS / name
        if not path.is_dir():
            pytest.skip(f"no real scans at {path} (set DPCENET_DATA)")
        return path

    return folder


@pytest.fixture(scope="session")
def copier() -> Segmenter:
    """A segmenter without a network: `copy` segments a scan perfectly from itself."""
    return Segmenter(Predictor(Copy(Options()).eval()), Preprocessing.for_mr(size=96))
