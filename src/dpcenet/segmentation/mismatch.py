"""What a query has not in common with the labelled scan, though the network takes it as if."""

from __future__ import annotations

from dpcenet.inference.support import Support
from dpcenet.volumes.geometry import Affine, plane_angle
from dpcenet.volumes.modality import Modality, other_modality
from dpcenet.volumes.scan_file import ScanFile

OTHER_PLANE = 45.0
"""Slices that are turned by more degrees than this lie in another plane."""


def mismatches(scan: ScanFile, support: Support) -> tuple[str, ...]:
    """Why no mask of a query is to be trusted, in words: another modality, another slice plane.

    Args:
        scan: the query as it was read.
        support: the labelled scans.
    """
    return unlike(scan, support.rules.modality, support.affine)


def unlike(scan: ScanFile, modality: Modality, affine: Affine) -> tuple[str, ...]:
    """What a scan has not in common with the first labelled scan, in words.

    Args:
        scan: as it was read.
        modality: of the labelled scan.
        affine: (4, 4) of the labelled scan as it is prepared.
    """
    return (*other_modality(scan, modality), *_other_plane(scan, affine))


def _other_plane(scan: ScanFile, affine: Affine) -> tuple[str, ...]:
    angle = plane_angle(scan.volume, affine)
    if angle <= OTHER_PLANE:
        return ()
    return (f"its slices lie in another plane than the labelled scan's ({angle:.0f}° apart)",)
