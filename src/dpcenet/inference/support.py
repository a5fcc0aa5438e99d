"""Labelled scans as the network knows them, and which of their slices serve which query slices.

Slices of several scans are gathered by name. Protocols that are told the query's organ slices live
in `evaluation.protocols`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dpcenet.errors import ConfigError
from dpcenet.inference.encoded import EncodedScan
from dpcenet.system.large_arrays import blocks
from dpcenet.system.words import counted
from dpcenet.types import Features
from dpcenet.volumes.geometry import Affine
from dpcenet.volumes.label_names import name_for
from dpcenet.volumes.preprocess import Preprocessing
from dpcenet.volumes.same_scan import ScanIdentity
from dpcenet.volumes.scan_file import Code

Labels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class LabelledScan:
    """A labelled scan, encoded once for any number of queries.

    Attributes:
        name: by which reports call it.
        slices: its encoded slices, in the network's geometry.
        label: (Z, H, W) uint8 in that geometry, 0 is background.
        digest: sha256 of the prepared image and label: what the features were made from.
        affine: (4, 4) of the prepared scan as it was read, in RAS+ mm; None where nobody asks, and
            in a task file, which does not say where its scans lay.
    """

    name: str
    slices: EncodedScan
    label: Labels
    digest: str = ""
    affine: Affine | None = None

    @staticmethod
    def of(
        name: str,
        image: npt.NDArray[np.float32],
        slices: EncodedScan,
        label: Labels,
        affine: Affine | None = None,
    ) -> LabelledScan:
        """From a prepared image (Z, H, W), its encoded slices, its label and its affine (4, 4)."""
        digest = hashlib.sha256()
        for array in (image, label):
            for part in blocks(array):
                digest.update(array[part].tobytes())
        return LabelledScan(name, slices, label, digest.hexdigest(), affine)


class SupportSlice(NamedTuple):
    """A slice of one of several labelled scans: which scan, and which of its slices."""

    scan: int
    z: int


@dataclass(frozen=True)
class Support:
    """One or several labelled scans, and how queries are made comparable with them.

    Attributes:
        scans: the labelled scans, all in one orientation.
        values: the labels to segment.
        affine: of the first scan's prepared geometry; queries are oriented like it.
        rules: by which it was prepared, with its pixel size; queries are prepared by them too.
        names: of label values, where they are known.
        notes: what was done to the labelled scans beyond reading them, a line each.
        codes: of label values, where a mask's file has them.
        sources: the labelled scans that are files, as those hold them; a task file does not say it.
    """

    scans: tuple[LabelledScan, ...]
    values: tuple[int, ...]
    affine: npt.NDArray[np.float64]
    rules: Preprocessing
    names: Mapping[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    codes: Mapping[int, Code] = field(default_factory=dict)
    sources: tuple[ScanIdentity, ...] = ()

    def __repr__(self) -> str:
        labels = ", ".join(f"{v} = {name_for(self.names, v)}" for v in self.values)
        return f"Support({counted(len(self.scans), 'labelled scan')}; labels {labels})"

    def only(self, values: Sequence[int]) -> Support:
        """The same scans with some of the labels.

        Raises:
            ConfigError: one of them is not there.
        """
        for value in values:
            if value not in self.values:
                raise ConfigError(f"--label {value}: only {list(self.values)} found")
        return replace(self, values=tuple(values))

    @property
    def labels(self) -> tuple[Labels, ...]:
        """(Z, H, W) of each scan."""
        return tuple(scan.label for scan in self.scans)


def features_of(scans: Sequence[LabelledScan], slices: Sequence[SupportSlice]) -> Features:
    """Features of some slices of some scans, in the order of `slices`."""
    parts = [scans[n].slices.features_of(zs) for n, zs in _runs(slices)]
    return parts[0] if len(parts) == 1 else Features.join(parts)


def masks_of(scans: Sequence[LabelledScan], slices: Sequence[SupportSlice], value: int) -> Tensor:
    """Masks (len(slices), H, W) float32 in {0, 1} of one label, on the device of the scans."""
    chosen = np.stack([scans[n].label[z] == value for n, z in slices]).astype(np.float32)
    return torch.from_numpy(chosen).to(scans[0].slices.images.device)


def images_of(scans: Sequence[LabelledScan], slices: Sequence[SupportSlice]) -> Tensor:
    """Images (len(slices), 1, H, W) of some slices of some scans."""
    return torch.cat([scans[n].slices.images[zs] for n, zs in _runs(slices)])


def windows_held(
    scans: Sequence[LabelledScan], slices: Sequence[SupportSlice], value: int, half: float
) -> bool:
    """Whether scans without images hold the windows of one size around a label; else True."""
    held = ((scans[n].slices.windows, zs) for n, zs in _runs(slices))
    return all(windows is None or windows.hold(value, zs, half) for windows, zs in held)


def windows_of(
    scans: Sequence[LabelledScan], slices: Sequence[SupportSlice], value: int, half: float
) -> Features:
    """Features of the kept windows of one size around a label, for scans without images."""
    parts = []
    for n, zs in _runs(slices):
        windows = scans[n].slices.windows
        assert windows is not None
        parts.append(windows.of(value, zs, half))
    return Features.join(parts)


def _runs(slices: Sequence[SupportSlice]) -> Iterator[tuple[int, list[int]]]:
    """Slices that follow each other in one scan: (scan, its slices)."""
    for scan, run in groupby(slices, key=lambda one: one.scan):
        yield scan, [one.z for one in run]


Matches = npt.NDArray[np.int64]
"""(Zq,) for each query slice the slice of one support scan that it matches."""


@dataclass(frozen=True)
class SliceTask:
    """Query slices that are segmented with the same support slices."""

    support: tuple[SupportSlice, ...]
    query: tuple[int, ...]


def organ_slices(label: Labels, value: int) -> npt.NDArray[np.int64]:
    """The slices of (Z, H, W) that show a label, in order."""
    return np.flatnonzero((label == value).any(axis=(1, 2)))


def matched_tasks(
    matches: Sequence[Matches], labels: Sequence[Labels], value: int
) -> list[SliceTask]:
    """Every query slice for which at least half of the scans' matched slices show the label.

    Those slices serve it; other query slices stay empty.

    Args:
        matches: for each support scan, the slice of it that each query slice matches.
        labels: (Z, H, W) of each support scan.
        value: the label.
    """
    shown = [set(organ_slices(label, value).tolist()) for label in labels]
    served = [
        np.where(np.isin(matched, list(there)), matched, -1)
        for matched, there in zip(matches, shown, strict=True)
    ]
    return served_tasks(served)


def served_tasks(served: Sequence[Matches]) -> list[SliceTask]:
    """Query slices grouped by the support slices that serve them.

    Args:
        served: for each support scan, the slice of it that serves each query slice; −1 where none
            does. A query slice that fewer than half of the scans serve stays empty.
    """
    groups: dict[tuple[SupportSlice, ...], list[int]] = {}
    for query, chosen in enumerate(zip(*served, strict=True)):
        serving = tuple(SupportSlice(scan, int(z)) for scan, z in enumerate(chosen) if z >= 0)
        if serving and 2 * len(serving) >= len(served):
            groups.setdefault(serving, []).append(query)
    return [SliceTask(support, tuple(query)) for support, query in groups.items()]


def with_neighbours(
    tasks: Sequence[SliceTask], labels: Sequence[Labels], value: int, reach: int
) -> list[SliceTask]:
    """The same tasks, with support slices near the chosen ones added; the chosen ones stay first.

    Args:
        tasks: of one label.
        labels: (Z, H, W) of each support scan.
        value: the label, which an added slice must show.
        reach: how many slices away an added slice may lie.
    """
    shown = [set(organ_slices(label, value).tolist()) for label in labels]
    widened = []
    for task in tasks:
        near = [
            SupportSlice(scan, z + step)
            for scan, z in task.support
            for distance in range(1, reach + 1)
            for step in (-distance, distance)
            if z in shown[scan] and z + step in shown[scan]
        ]
        widened.append(SliceTask(tuple(dict.fromkeys((*task.support, *near))), task.query))
    return widened
