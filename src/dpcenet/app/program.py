"""What the page takes from the rest of the package: the one file here that imports it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dpcenet import __version__
from dpcenet.data.datasets.folder import SPEC
from dpcenet.data.datasets.spec import RawCase, SourceCase
from dpcenet.data.doctor.examine import CaseReport, examine
from dpcenet.errors import ConfigError, DatasetError, DpcenetError, InputError, VolumeError
from dpcenet.segmentation.queries import Query, find_queries
from dpcenet.segmentation.review.quality import Quality
from dpcenet.segmentation.review.reviewed_case import ReviewedCase, read_cases
from dpcenet.system.files import (
    file_hash,
    hash_of,
    read_json,
    read_or_set_aside,
    set_aside,
    write_atomically,
    write_json,
)
from dpcenet.system.validated import validated
from dpcenet.types import Volume
from dpcenet.volumes.adapters import open_mask
from dpcenet.volumes.dicom.segment_descriptions import Algorithm, property_of
from dpcenet.volumes.geometry import Orientation, orient
from dpcenet.volumes.grid import ScanFile, SourceGrid
from dpcenet.volumes.io import check_mask, read_volume, stem, suffix_of
from dpcenet.volumes.mask_record import is_corrected, is_foreign, record_path
from dpcenet.volumes.metrics import dice
from dpcenet.volumes.modality import choose_modality
from dpcenet.volumes.nifti import write_nifti
from dpcenet.volumes.write_masks import write_labels, write_mask

__all__ = [
    "Algorithm",
    "ConfigError",
    "DatasetError",
    "DpcenetError",
    "InputError",
    "Orientation",
    "Quality",
    "Query",
    "ReviewedCase",
    "ScanFile",
    "SourceGrid",
    "Volume",
    "VolumeError",
    "__version__",
    "check_mask",
    "choose_modality",
    "dice",
    "doctor_report",
    "file_hash",
    "find_queries",
    "hash_of",
    "is_corrected",
    "is_foreign",
    "open_mask",
    "orient",
    "property_of",
    "read_cases",
    "read_json",
    "read_or_set_aside",
    "read_volume",
    "record_path",
    "set_aside",
    "stem",
    "suffix_of",
    "validated",
    "write_atomically",
    "write_json",
    "write_labels",
    "write_mask",
    "write_nifti",
]


def doctor_report(name: str, path: Path, scan: ScanFile) -> CaseReport:
    """What `dpcenet doctor` says of a scan that has been read already."""
    spec = replace(SPEC, read=lambda _: RawCase(scan, None))
    return examine(SourceCase(name, path, None), spec)
