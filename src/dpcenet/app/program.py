"""What the page takes from the rest of the package: the one file here that imports it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dpcenet import __version__
from dpcenet.data.datasets.folder import SPEC
from dpcenet.data.datasets.spec import RawCase, SourceCase
from dpcenet.data.doctor.examine import CaseReport, examine
from dpcenet.errors import (
    ConfigError,
    DatasetError,
    DpcenetError,
    InputError,
    VolumeError,
    one_line,
)
from dpcenet.segmentation.accepted import DECISIONS, decisions_in
from dpcenet.segmentation.queries import Query, find_queries
from dpcenet.segmentation.review.quality import ACCEPT_DICE, Quality
from dpcenet.segmentation.review.reviewed_case import ReviewedCase, read_cases
from dpcenet.segmentation.review.slice_matches import ScanMatches, SliceLine
from dpcenet.system.faults import mendable, out_of_space
from dpcenet.system.files import (
    file_hash,
    hash_of,
    read_json,
    read_or_set_aside,
    set_aside,
    whole_folder,
    write_atomically,
    write_json,
    write_text,
)
from dpcenet.system.lock import Held, held
from dpcenet.system.program_end import end_after
from dpcenet.system.tables import table_text
from dpcenet.system.texts import SAID, words_of
from dpcenet.system.validated import validated
from dpcenet.types import Volume
from dpcenet.volumes.adapters import open_labelled
from dpcenet.volumes.dicom.segment_descriptions import Algorithm
from dpcenet.volumes.geometry import Orientation, orient
from dpcenet.volumes.io import read_volume, stem, suffix_of
from dpcenet.volumes.label_names import (
    distinct_names,
    given_names,
    name_for,
    plain_name,
    table_by_names,
)
from dpcenet.volumes.mask_checks import background_doubts, check_mask
from dpcenet.volumes.mask_record import is_corrected, is_foreign, is_written, record_path
from dpcenet.volumes.metrics import dice
from dpcenet.volumes.modality import choose_modality
from dpcenet.volumes.nifti import write_nifti
from dpcenet.volumes.nnunet_raw import case_name, write_case, write_dataset
from dpcenet.volumes.scan_file import Code, Labels, ScanFile, SourceGrid
from dpcenet.volumes.statistics import COLUMNS as STATISTICS
from dpcenet.volumes.statistics import measure_labels
from dpcenet.volumes.structures import ANATOMICAL_STRUCTURE, FINDING, property_of, start_names
from dpcenet.volumes.walk_folders import LeftAside, by_reason
from dpcenet.volumes.write_masks import write_labels, write_mask, write_somehow

__all__ = [
    "ACCEPT_DICE",
    "ANATOMICAL_STRUCTURE",
    "DECISIONS",
    "FINDING",
    "SAID",
    "STATISTICS",
    "Algorithm",
    "Code",
    "ConfigError",
    "DatasetError",
    "DpcenetError",
    "Held",
    "InputError",
    "Labels",
    "LeftAside",
    "Orientation",
    "Quality",
    "Query",
    "ReviewedCase",
    "ScanFile",
    "ScanMatches",
    "SliceLine",
    "SourceGrid",
    "Volume",
    "VolumeError",
    "__version__",
    "background_doubts",
    "by_reason",
    "case_name",
    "check_mask",
    "choose_modality",
    "decisions_in",
    "dice",
    "distinct_names",
    "doctor_report",
    "end_after",
    "file_hash",
    "find_queries",
    "given_names",
    "hash_of",
    "held",
    "is_corrected",
    "is_foreign",
    "is_written",
    "measure_labels",
    "mendable",
    "name_for",
    "one_line",
    "open_labelled",
    "orient",
    "out_of_space",
    "plain_name",
    "property_of",
    "read_cases",
    "read_json",
    "read_or_set_aside",
    "read_volume",
    "record_path",
    "set_aside",
    "start_names",
    "stem",
    "suffix_of",
    "table_by_names",
    "table_text",
    "validated",
    "whole_folder",
    "words_of",
    "write_atomically",
    "write_case",
    "write_dataset",
    "write_json",
    "write_labels",
    "write_mask",
    "write_nifti",
    "write_somehow",
    "write_text",
]


def doctor_report(name: str, path: Path, scan: ScanFile) -> CaseReport:
    """What `dpcenet doctor` says of a scan that has been read already."""
    spec = replace(SPEC, read=lambda _: RawCase(scan, None))
    return examine(SourceCase(name, path, None), spec)
