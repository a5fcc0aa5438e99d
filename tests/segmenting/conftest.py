"""A segmenter without a network: `copy` segments a scan perfectly from itself."""

from __future__ import annotations

import pytest
import torch

from dpcenet.methods.copy import Copy, Options
from dpcenet.segmentation.segmenter import Segmenter
from dpcenet.volumes.preprocess import Preprocessing


@pytest.fixture(scope="session")
def copier() -> Segmenter:
    return Segmenter(
        Copy(Options()).eval(), Preprocessing.for_mr(size=96), "float32", torch.device("cpu")
    )
