"""Masks of unlabelled scans from labelled ones, in the scans' own geometry.

Which support slice serves which query slice is found from the images alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt
import torch

from dpcenet.config import Precision
from dpcenet.engine import (
    choose_device,
    choose_precision,
    encode_scan,
    match_slices,
    segment_labels,
)
from dpcenet.episodes.protocol import blind_shot_tasks, with_neighbours
from dpcenet.errors import ConfigError
from dpcenet.methods import shipped
from dpcenet.methods.base import Method
from dpcenet.posing import bring, matched_pairs
from dpcenet.runs import open_run
from dpcenet.segmenting.images import (
    ImageT,
    Native,
    Scan,
    name_of,
    open_mask,
    open_scan,
    same_kind,
    several,
)
from dpcenet.segmenting.support import Found, Labelled, Support, joined
from dpcenet.segmenting.task_file import read_task
from dpcenet.types import Encoded, Volume
from dpcenet.volumes.io import check_intensities, check_mask
from dpcenet.volumes.modality import rules_for
from dpcenet.volumes.preprocess import Preprocessing, preprocess, preprocess_labels


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
    def from_run(
        folder: Path | str, device: str = "auto", precision: Precision = "auto"
    ) -> Segmenter:
        """The method that a run trained; "auto" computes as the training did.

        Raises:
            RunError: the folder is not a run, or has no checkpoint.
        """
        run, place = open_run(Path(folder)).computing_in(precision), choose_device(device)
        rules = Preprocessing(**run.facts["preprocessing"])
        return Segmenter(run.load_method(place), rules, run.precision, place)

    @staticmethod
    def shipped(
        device: str = "auto",
        modality: Literal["mr", "ct"] | None = None,
        precision: Precision = "auto",
    ) -> Segmenter:
        """The in-context network that comes with the package: no training, no download.

        Args:
            device: where it computes.
            modality: of the scans; None looks at the labelled scan.
            precision: "auto" takes the faster one, measured.
        """
        place = choose_device(device)
        method = shipped.build(shipped.Options()).to(place).eval()
        rules = {"mr": Preprocessing.for_mr(), "ct": Preprocessing.for_ct(), None: None}[modality]
        return Segmenter(method, rules, choose_precision(precision, place), place)

    @staticmethod
    def from_task(
        path: Path | str, run: Path | str | None = None, device: str = "auto"
    ) -> tuple[Segmenter, Support]:
        """The network and the support of a task file.

            segmenter, support = Segmenter.from_task("liver.task")
            mask = segmenter.segment("scan.nii.gz", support)

        Args:
            path: what `dpcenet task create` wrote.
            run: folder of the run that it was made with; default the package's own network.
            device: where it computes.

        Raises:
            TaskError: the file is damaged, of a newer format, or of another network.
        """
        segmenter = Segmenter.from_run(run, device) if run else Segmenter.shipped(device)
        return segmenter, read_task(Path(path), segmenter.method, segmenter.device)

    def support(
        self,
        images: Scan | Sequence[Scan],
        masks: Scan | Sequence[Scan],
        labels: Sequence[int] = (),
    ) -> Support:
        """Encode one or several labelled scans.

        Args:
            images: a scan of any kind that `images.open_scan` takes, or a list of them.
            masks: whole numbers on each scan's grid, 0 background; as many as scans. A DICOM SEG
                may leave slices out.
            labels: values to segment; by default every value of the masks.

        Raises:
            VolumeError: a scan or mask cannot be used.
            ConfigError: a label is in no mask, or a scan lacks its mask.
        """
        scans, truths = several(images), several(masks)
        if len(scans) != len(truths) or not scans:
            raise ConfigError(f"{len(scans)} labelled scans and {len(truths)} masks: give pairs")
        rules, like = self.rules, None
        labelled: list[Labelled] = []
        present: set[int] = set()
        for image, mask in zip(scans, truths, strict=True):
            scan = open_scan(image)
            truth = open_mask(mask, scan)
            check_intensities(scan.volume, name_of(image))
            present |= set(
                np.unique(check_mask(truth, scan.volume, name_of(mask), scan.grid)).tolist()
            )
            prepared, record = preprocess(scan, rules or rules_for(scan), like=like)
            if like is None:
                # One scale for all: an open spacing would fit each scan's own field of view.
                spacing = record.rules.spacing_mm or prepared.spacing[1]
                rules, like = replace(record.rules, spacing_mm=spacing), prepared.affine
            slices = self._encode(prepared.image, prepared.spacing)
            label = preprocess_labels(truth, record)
            labelled.append(Labelled.of(name_of(image), prepared.image, slices, label))
        assert rules is not None and like is not None  # there is a scan
        present -= {0}
        if missing := sorted(set(labels) - present):
            names = " and ".join(name_of(mask) for mask in truths)
            raise ConfigError(f"--label {missing[0]}: {names}: only {sorted(present)} found")
        return Support(tuple(labelled), tuple(labels) or tuple(sorted(present)), like, rules)

    @overload
    def segment(self, query: Native, support: Support) -> Volume: ...

    @overload
    def segment(self, query: ImageT, support: Support) -> ImageT: ...

    def segment(self, query: Scan, support: Support) -> Any:
        """Segment a scan: `Found.mask` of `find`, an image's in the image's own kind."""
        return same_kind(self.find(query, support).mask, query)

    def find(self, query: Scan, support: Support, disk: Path | None = None) -> Found:
        """Segment a scan, and keep what judging the result needs.

        Args:
            query: of any kind that `images.open_scan` takes.
            support: what `Segmenter.support` made.
            disk: folder in which features lie instead of in memory.

        Raises:
            VolumeError: the scan cannot be used.
        """
        scan = open_scan(query)
        check_intensities(scan.volume, name_of(query))
        prepared, record = preprocess(scan, support.rules, like=support.affine)
        slices = self._encode(prepared.image, prepared.spacing, disk)
        scans = tuple(self._posed(scan, slices, support.values, disk) for scan in support.scans)
        matches = tuple(match_slices(self.method, scan.slices, slices) for scan in scans)
        source, labels = joined(scans), [scan.label for scan in scans]
        tasks = {
            value: with_neighbours(
                blind_shot_tasks(matches, labels, value), labels, value, self.method.neighbours
            )
            for value in support.values
        }
        found = segment_labels(
            self.method, source.slices, source.label, slices, tasks, self.precision
        )
        mask = Volume(record.restore_labels(found), scan.volume.affine)
        return Found(slices, scans, matches, found, record, mask)

    def _posed(
        self, scan: Labelled, query: Encoded, values: Sequence[int], disk: Path | None
    ) -> Labelled:
        """A labelled scan as it would lie in the query."""
        if self.method.pose_search is None:
            return scan
        pairs = matched_pairs(match_slices(self.method, scan.slices, query))
        slices, label = bring(
            self.method, scan.slices, scan.label, values, query, pairs, self.precision, disk
        )
        return replace(scan, slices=slices, label=label)

    def _encode(
        self,
        image: npt.NDArray[np.float32],
        spacing: tuple[float, float, float],
        disk: Path | None = None,
    ) -> Encoded:
        return encode_scan(self.method, image, spacing, self.device, self.precision, disk)


@overload
def segment(
    query: Native,
    support_image: Scan,
    support_mask: Scan,
    *,
    run: Path | str | None = None,
    labels: Sequence[int] = (),
    device: str = "auto",
) -> Volume: ...


@overload
def segment(
    query: ImageT,
    support_image: Scan,
    support_mask: Scan,
    *,
    run: Path | str | None = None,
    labels: Sequence[int] = (),
    device: str = "auto",
) -> ImageT: ...


def segment(
    query: Scan,
    support_image: Scan,
    support_mask: Scan,
    *,
    run: Path | str | None = None,
    labels: Sequence[int] = (),
    device: str = "auto",
) -> Any:
    """Segment one scan from one labelled scan.

    Args:
        query, support_image, support_mask: paths (of a file, or of a folder with one DICOM
            series), `dpcenet.Volume(data (Z, Y, X), affine)`, or images of nibabel, SimpleITK or
            MONAI, in any mixture.
        run: folder of a trained run; by default the network that comes with the package.
        labels: values to segment; by default every value of the mask.
        device: "auto", "cpu", "cuda", …

    Returns:
        uint8 label values on the query's own grid: an image of the query's own kind, or a Volume
        where the query is a path or a Volume.

    Raises:
        InputError, RunError: the message says what to do.
    """
    segmenter = Segmenter.from_run(run, device) if run else Segmenter.shipped(device)
    return segmenter.segment(query, segmenter.support(support_image, support_mask, labels))
