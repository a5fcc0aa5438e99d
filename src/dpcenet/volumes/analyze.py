"""Pairs of .hdr and .img: Analyze 7.5, and NIfTI in two files."""

# nibabel has few annotations:
# mypy: allow-untyped-calls
from __future__ import annotations

from pathlib import Path

import numpy as np
from nibabel.analyze import AnalyzeHeader
from nibabel.nifti1 import Nifti1PairHeader
from nibabel.spatialimages import HeaderDataError
from nibabel.spm99analyze import Spm99AnalyzeHeader

from dpcenet.errors import VolumeError
from dpcenet.types import Volume
from dpcenet.volumes import size_guards as payload
from dpcenet.volumes.claims import Claims, check_claims, numbered, read_voxels
from dpcenet.volumes.geometry import check_affine
from dpcenet.volumes.nifti import claims_of, geometry_fields, parsed
from dpcenet.volumes.scan_file import (
    AS_IT_IS,
    SPLIT,
    Facts,
    ReadOptions,
    ScanFile,
    SourceGrid,
    choose,
    sidecar_modality,
)

_HEADER_BYTES = 348
SIDE = "an Analyze header does not say where left is; taken as most programs do (x from right)"


def pair_of(path: Path) -> tuple[Path, Path]:
    """The header and the voxels of a pair, whichever was named."""
    header, voxels = (".HDR", ".IMG") if path.suffix.isupper() else (".hdr", ".img")
    return path.with_suffix(header), path.with_suffix(voxels)


def read_analyze(
    path: Path, max_bytes: int = payload.MAX_BYTES, options: ReadOptions = AS_IT_IS
) -> ScanFile:
    """Read a pair of .hdr and .img.

    Args:
        path: either of the two.
        max_bytes: cap on the voxels.
        options: which volume of a 4-D file.

    Returns:
        (Z, Y, X) voxels, and the grid. Analyze does not say where left is, which is noted.

    Raises:
        VolumeError: the pair cannot be used; the message says why.
    """
    head, voxels = pair_of(path)
    payload.check_file(head)
    payload.check_file(voxels)
    with head.open("rb") as stream:
        raw = stream.read(_HEADER_BYTES)
    header, claims = _parsed(raw, head)
    volumes = check_claims(claims, head)
    index = choose(options.part, numbered(volumes), head, SPLIT)
    with voxels.open("rb") as stream:
        data = read_voxels(stream, claims, voxels, False, max_bytes, index)
    volume = Volume(data, claims.affine[:, [2, 1, 0, 3]])
    check_affine(volume.affine, head)
    if isinstance(header, Nifti1PairHeader) and volumes == 1:
        grid = SourceGrid.of(volume, "nifti", geometry_fields(header))
    else:
        grid = SourceGrid.of(volume)
    placed = isinstance(header, Nifti1PairHeader)
    return ScanFile(
        volume, grid, facts=Facts(sidecar_modality(head), notes=() if placed else (SIDE,))
    )


def _parsed(raw: bytes, path: Path) -> tuple[AnalyzeHeader, Claims]:
    try:
        if len(raw) < _HEADER_BYTES:
            raise HeaderDataError("it is too short")
        nifti = raw[344:347] in (b"ni1", b"n+1")
        header = parsed(Nifti1PairHeader if nifti else Spm99AnalyzeHeader, raw)
        if int(header["sizeof_hdr"]) != _HEADER_BYTES:
            raise HeaderDataError("it is no Analyze header")
        with np.errstate(invalid="ignore", over="ignore"):
            return header, claims_of(header, first=0)
    except Exception as error:  # whatever nibabel meets in damaged numbers
        raise VolumeError(
            path,
            f"the header cannot be read ({error})",
            "a pair of .hdr and .img (Analyze or NIfTI)",
            "Export the scan again as .nii.gz.",
        ) from error
