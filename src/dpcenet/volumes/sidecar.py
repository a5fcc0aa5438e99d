"""What a JSON file beside a NIfTI scan says of it, as dcm2niix and BIDS write them."""

from __future__ import annotations

from pathlib import Path

from dpcenet.errors import ConfigError
from dpcenet.system.files import read_json

_MOST_BYTES = 1 << 20


def sidecar_of(path: Path) -> Path:
    """NAME.json, where a program may have described NAME.nii.gz; it need not be there."""
    name = path.name.lower().removesuffix(".gz").removesuffix(".nii")
    return path.with_name(f"{path.name[: len(name)]}.json")


def sidecar_modality(path: Path) -> str:
    """DICOM's Modality ("CT", "MR", …) by NAME.json beside NAME.nii.gz.

    Returns:
        "" where there is no such file, or it cannot be read: it is a hint, not the scan.
    """
    sidecar = sidecar_of(path)
    try:
        if not sidecar.is_file() or sidecar.stat().st_size > _MOST_BYTES:
            return ""
        modality = read_json(sidecar, finite=False).get("Modality")
    except (OSError, ValueError, ConfigError):
        return ""
    return modality if isinstance(modality, str) and modality.isalpha() else ""
