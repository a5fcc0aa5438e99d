"""`dpcenet doctor`: what is wrong with scans, before anyone trains on them.

An error makes a scan unusable or its results wrong; a note is worth knowing. Copies that `--fix`
writes are new files: a source is never changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from nibabel.orientations import aff2axcodes

from dpcenet.datasets.contact import FOLDS
from dpcenet.datasets.folder import find_cases
from dpcenet.datasets.recipe import source_hash
from dpcenet.datasets.spec import DatasetSpec, RawCase, SourceCase, check_case
from dpcenet.datasets.splits import divide
from dpcenet.datasets.table import dataset_spec
from dpcenet.errors import ConfigError, DatasetError, InputError
from dpcenet.types import Volume
from dpcenet.volumes.geometry import (
    GRID_TOLERANCE_MM,
    match_axes,
    orient,
    same_grid,
)
from dpcenet.volumes.io import stem
"""
