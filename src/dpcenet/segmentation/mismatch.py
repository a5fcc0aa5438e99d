"""What a query has not in common with the labelled scan, though the network takes it as if."""

from __future__ import annotations

from dpcenet.inference.support import Support
from dpcenet.volumes.geometry import plane_angle
from dpcenet.volumes.modality import other_modality
from dpcenet.volumes.scan_file import ScanFile

OTHER_PLANE = 45.0
"""Slices that are turned by more degrees than this lie in another plane."""


def mismatches(scan: ScanFile, support: Support) -> tuple[str, ...]:
    """Why no mask of a query is to be trusted, in words: another modality, another slice plane.

    Args:
        scan: the query as it was read.
        support: the labelled scans.
    """
    return (*other_modality(scan, support.rules.modality), *_other_plane(scan, support))


def _other_plane(scan: ScanFile, support: Support) -> tuple[str, ...]:
    angle = plane_angle(scan.volume, support.affine)
    if angle <= OTHER_PLANE:
        return ()
    return (f"its slices lie in another plane than the labelled scan's ({angle:.0f}° apart)",)
