"""Whether a scan is a CT or an MR: by what its file says, else by its intensities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from dpcenet.types import Volume
from dpcenet.volumes.intensities import Padding, find_padding, sample
from dpcenet.volumes.preprocess import Preprocessing
from dpcenet.volumes.scan_file import ScanFile

Modality = Literal["mr", "ct"]

AIR_HU = -300.0
"""Air and lung lie below it; no MR does."""
FAT_HU = (-200.0, -20.0)
"""Fat on a CT. Whole numbers there are Hounsfield units: an MR is not below 0."""
SHARE = 0.01
"""Part of a scan's voxels that has to lie in air."""
FAT_SHARE = 0.02
"""Part that has to lie in fat where there is no air, as in a CT cut out along the skin."""


@dataclass(frozen=True)
class Choice:
    """How a scan's intensities are read.

    Attributes:
        modality: "mr" or "ct"; anything that is no CT is prepared as an MR.
        why: in words, for people.
    """

    modality: Modality
    why: str


def choose_modality(scan: ScanFile) -> Choice:
    """CT or MR: DICOM's Modality, or a note of it in another file; else the intensities."""
    said = scan.facts.modality
    if said:
        return Choice("ct" if said == "CT" else "mr", f"the file says {said}")
    padding = find_padding(scan.volume, scan.facts.padding)
    values = sample(scan.volume.data)
    if padding is not None:
        values = values[(values < padding.low) | (values > padding.high)]
    left_out = f", padding of {padding} left out" if padding else ""
    if not values.size:
        return Choice("mr", "no values")
    if np.mean(values < AIR_HU) >= SHARE:
        return Choice("ct", f"air lies far below 0{left_out}")
    fat = np.mean((values >= FAT_HU[0]) & (values <= FAT_HU[1]))
    if fat >= FAT_SHARE and (values == np.round(values)).all():
        return Choice("ct", f"whole numbers below 0, as fat has in HU{left_out}")
    return Choice("mr", f"few values below 0, so no Hounsfield units{left_out}")


def rules_for(scan: ScanFile) -> Preprocessing:
    """The rules of preprocessing by what the scan is."""
    ct = choose_modality(scan).modality == "ct"
    return Preprocessing.for_ct() if ct else Preprocessing.for_mr()


def doubts_of(scan: ScanFile, expected: Modality) -> tuple[str, ...]:
    """What is unlikely in a scan that is prepared by the rules of `expected`, in words.

    Args:
        scan: as read.
        expected: of the labelled scan, or what the person said.
    """
    return (*other_modality(scan, expected), *intensity_doubts(scan, expected))


def intensity_doubts(scan: ScanFile, expected: Modality) -> tuple[str, ...]:
    """What is unlikely in its intensities, if a scan is an `expected`, in words."""
    volume, doubts = scan.volume, list[str]()
    padding = find_padding(volume, scan.facts.padding)
    if expected == "ct" and not _in_hounsfield(volume, padding):
        doubts.append("not in Hounsfield units: nothing lies below 0; is 1024 to be subtracted?")
    if padding is not None:
        doubts.append(f"padding of {padding} is left out")
    return tuple(doubts)


def other_modality(scan: ScanFile, expected: Modality) -> tuple[str, ...]:
    """Why a scan is no `expected`, in words; () where it looks like one."""
    found = choose_modality(scan)
    if found.modality == expected:
        return ()
    return (
        f"taken for {expected.upper()} like the labelled scan, but it looks like "
        f"{found.modality.upper()}: {found.why}",
    )


def _in_hounsfield(volume: Volume, padding: Padding | None) -> bool:
    values = sample(volume.data)
    if padding is not None:
        values = values[(values < padding.low) | (values > padding.high)]
    return bool(values.size and values.min() < FAT_HU[1])
