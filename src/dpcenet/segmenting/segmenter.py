"""Masks of unlabelled scans from labelled ones, in the scans' own geometry.

Which support slice serves which query slice is found from the images alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from dpcenet.config import Precision
from dpcenet.engine import (
    choose_device,
    choose_precision,
    encode_scan,
    match_slices,
    segment_label,
)
from dpcenet.episodes.protocol import blind_shot_tasks, with_neighbours
from dpcenet.errors import ConfigError
from dpcenet.methods import shipped
from dpcenet.methods.base import Method
from dpcenet.runs import open_run
from dpcenet.segmenting.support import Found, Labelled, Support
from dpcenet.types import Encoded, Volume
from dpcenet.volumes.grid import ScanFile, SourceGrid
from dpcenet.volumes.io import check_intensities, check_mask, read_volume
from dpcenet.volumes.preprocess import Preprocessing, preprocess, preprocess_labels

Scan = ScanFile | Volume | Path | str
CT_AIR = -300.0  # Hounsfield units


@dataclass(frozen=True)
class Segmenter:
    """A trained method and the way scans are prepared for it.

    Attributes:
        method: in evaluation mode, on `device`.
        rules: of preprocessing; None chooses them by the labelled scan's intensities.
        precision: of the trunk.
        device: where it computes.
    """

    method: Method
    rules: Preprocessing | None
    precision: Precision
    device: torch.device

    @staticmethod
    def from_run(folder: Path | str, device: str = "auto") -> Segmenter:
        """The method that a run trained.

        Raises:
            RunError: the folder is not a run, or has no checkpoint.
        """
        run, place = open_run(Path(folder)), choose_device(device)
        rules = Preprocessing(**run.facts["preprocessing"])
        return Segmenter(run.load_method(place), rules, run.precision, place)

    @staticmethod
    def shipped(device: str = "auto", modality: Literal["mr", "ct"] | None = None) -> Segmenter:
        """The in-context network that comes with the package: no training, no download.

        Args:
            device: where it computes.
            modality: of the scans; None looks at the labelled scan.
        """
        place = choose_device(device)
        method = shipped.build(shipped.Options()).to(place).eval()
        rules = {"mr": Preprocessing.for_mr(), "ct": Preprocessing.for_ct(), None: None}[modality]
        return Segmenter(method, rules, choose_precision("auto", place), place)

    def support(
        self,
        images: Scan | Sequence[Scan],
        masks: Scan | Sequence[Scan],
        labels: Sequence[int] = (),
    ) -> Support:
        """Encode one or several labelled scans.

        Args:
            images: a scan (a path, a Volume, or a ScanFile), or several.
            masks: whole numbers on each scan's grid, 0 background; as many as scans.
            labels: values to segment; by default every value of the masks.

        Raises:
            VolumeError: a scan or mask cannot be used.
            ConfigError: a label is in no mask, or a scan lacks its mask.
        """
        scans, truths = _several(images), _several(masks)
        if len(scans) != len(truths) or not scans:
            raise ConfigError(f"{len(scans)} labelled scans and {len(truths)} masks: give pairs")
        rules, like = self.rules, None
        labelled: list[Labelled] = []
        present: set[int] = set()
        for image, mask in zip(scans, truths, strict=True):
            scan, truth = _open(image), _open(mask)
            check_intensities(scan.volume, _name(image))
            present |= set(np.unique(check_mask(truth.volume, scan.volume, _name(mask))).tolist())
            prepared, record = preprocess(scan, rules or _rules_for(scan.volume), like=like)
            if like is None:
                # One scale for all: an open spacing would fit each scan's own field of view.
                spacing = record.rules.spacing_mm or prepared.spacing[1]
                rules, like = replace(record.rules, spacing_mm=spacing), prepared.affine
            slices = self._encode(prepared.image, prepared.spacing)
            labelled.append(Labelled(_name(image), slices, preprocess_labels(truth.volume, record)))
        assert rules is not None and like is not None  # there is a scan
        present -= {0}
        if missing := sorted(set(labels) - present):
            names = " and ".join(_name(mask) for mask in truths)
            raise ConfigError(f"--label {missing[0]}: {names}: only {sorted(present)} found")
        return Support(tuple(labelled), tuple(labels) or tuple(sorted(present)), like, rules)

    def segment(self, query: Scan, support: Support) -> Volume:
        """Segment a scan: `Found.mask` of `find`."""
        return self.find(query, support).mask

    def find(self, query: Scan, support: Support) -> Found:
        """Segment a scan, and keep what judging the result needs.

        Args:
            query: a path, a Volume, or a ScanFile.
            support: what `Segmenter.support` made.

        Raises:
            VolumeError: the scan cannot be used.
        """
        scan = _open(query)
        check_intensities(scan.volume, _name(query))
        prepared, record = preprocess(scan, support.rules, like=support.affine)
        slices = self._encode(prepared.image, prepared.spacing)
        matches = tuple(match_slices(self.method, s.slices, slices) for s in support.scans)
        source = support.joined()
        mask = np.zeros(scan.volume.data.shape, dtype=np.uint8)
        best = np.full(mask.shape, 0.5, dtype=np.float32)
        found = {}
        for value in support.values:
            tasks = with_neighbours(
                blind_shot_tasks(matches, support.labels, value),
                support.labels,
                value,
                self.method.neighbours,
            )
            found[value] = segment_label(
                self.method,
                source.slices,
                source.label,
                slices,
                value,
                tasks,
                self.precision,
            )
            probability = record.restore_probability(found[value])
            better = probability > best
            mask[better], best[better] = value, probability[better]
        return Found(slices, matches, found, record, Volume(mask, scan.volume.affine))

    def _encode(
        self, image: npt.NDArray[np.float32], spacing: tuple[float, float, float]
    ) -> Encoded:
        return encode_scan(self.method, image, spacing, self.device, self.precision)


def segment(
    query: Scan,
    support_image: Scan,
    support_mask: Scan,
    *,
    run: Path | str | None = None,
    labels: Sequence[int] = (),
    device: str = "auto",
) -> Volume:
    """Segment one scan from one labelled scan.

    Args:
        query, support_image, support_mask: paths, or `dpcenet.Volume(data (Z, Y, X), affine)`.
        run: folder of a trained run; by default the network that comes with the package.
        labels: values to segment; by default every value of the mask.
        device: "auto", "cpu", "cuda", …

    Returns:
        uint8 label values on the query's own grid.

    Raises:
        InputError, RunError: the message says what to do.
    """
    segmenter = Segmenter.from_run(run, device) if run else Segmenter.shipped(device)
    return segmenter.segment(query, segmenter.support(support_image, support_mask, labels))


def _rules_for(volume: Volume) -> Preprocessing:
    """CT where air lies far below water, as only Hounsfield units have it; else MR."""
    air = float(np.percentile(volume.data.astype(np.float32), 1))
    return Preprocessing.for_ct() if air < CT_AIR else Preprocessing.for_mr()


def _open(scan: Scan) -> ScanFile:
    if isinstance(scan, ScanFile):
        return scan
    if isinstance(scan, Volume):
        return ScanFile(scan, SourceGrid.of(scan))
    return read_volume(Path(scan))


def _several(scans: Scan | Sequence[Scan]) -> list[Scan]:
    return [scans] if isinstance(scans, ScanFile | Volume | Path | str) else list(scans)


def _name(scan: Scan) -> str:
    return str(scan) if isinstance(scan, Path | str) else "the array"
