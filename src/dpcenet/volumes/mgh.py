"""FreeSurfer's .mgz and .mgh files, read behind the guards of NIfTI's."""

# nibabel has few annotations:
# mypy: allow-untyped-calls
from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
from nibabel.freesurfer.mghformat import MGHHeader

from dpcenet.errors import VolumeError
from dpcenet.types import Volume
from dpcenet.volumes import size_guards as payload
from dpcenet.volumes.claims import Claims, check_claims, numbered, read_voxels, unpacked_stream
from dpcenet.volumes.nifti import checked
from dpcenet.volumes.scan_file import AS_IT_IS, SPLIT, ReadOptions, ScanFile, SourceGrid, choose

_HEADER_BYTES = 284


def read_mgh(
    path: Path, max_bytes: int = payload.MAX_BYTES, options: ReadOptions = AS_IT_IS
) -> ScanFile:
    """Read a .mgz or .mgh file.

    Args:
        path: the file.
        max_bytes: cap on the decompressed voxels.
        options: which frame of several.

    Returns:
        (Z, Y, X) voxels in the file's type, and the grid.

    Raises:
        VolumeError: the file cannot be used; the message says why.
    """
    with unpacked_stream(path) as (stream, packed):
        claims = _read_header(stream, path)
        volumes = check_claims(claims, path)
        index = choose(options.part, numbered(volumes), path, SPLIT)
        data = read_voxels(stream, claims, path, packed, max_bytes, index, footer=True)
    volume = Volume(data, claims.affine[:, [2, 1, 0, 3]])
    return ScanFile(volume, SourceGrid.of(volume))


def _read_header(stream: BinaryIO, path: Path) -> Claims:
    raw = stream.read(_HEADER_BYTES)
    try:
        # NaN is refused later, with a reason
        with np.errstate(invalid="ignore", over="ignore"):
            header = checked(MGHHeader, raw)
            return Claims(
                shape=tuple(int(n) for n in header.get_data_shape()),
                dtype=header.get_data_dtype(),
                offset=_HEADER_BYTES,
                affine=np.asarray(header.get_affine(), dtype=np.float64),
                slope=1.0,
                inter=0.0,
                unit="mm",
            )
    except Exception as error:  # whatever nibabel meets in damaged numbers
        raise VolumeError(
            path,
            f"the header cannot be read ({error})",
            "a FreeSurfer file (.mgz, .mgh)",
            "Convert it with mri_convert to .nii.gz.",
        ) from error
