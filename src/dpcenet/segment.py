"""`dpcenet segment`: masks of unlabelled scans from one labelled scan, in the scans' own geometry.

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
from dpcenet.datasets.folder import find_cases
from dpcenet.engine import (
    choose_device,
    choose_precision,
    encode_scan,
    match_slices,
    segment_label,
)
from dpcenet.episodes.protocol import blind_tasks, with_neighbours
from dpcenet.errors import ConfigError, InputError
from dpcenet.methods import shipped
from dpcenet.methods.base import Method
from dpcenet.progress import progress_bar
from dpcenet.runs import open_run
from dpcenet.types import Encoded, Volume
from dpcenet.volumes.grid import ScanFile, SourceGrid
from dpcenet.volumes.io import check_intensities, check_mask, read_volume, stem, write_mask
from dpcenet.volumes.preprocess import Preprocessing, preprocess, preprocess_labels

Scan = ScanFile | Volume | Path | str
CT_AIR = -300.0  # Hounsfield units


@dataclass(frozen=True)
class Support:
    """A labelled scan, encoded once for any number of queries.

    Attributes:
        slices: features of its slices, in the network's geometry.
        label: (Z, H, W) uint8 in that geometry.
        values: the labels to segment.
        affine: of that geometry; queries are oriented like it.
        rules: by which it was prepared, with its pixel size; queries are prepared by them too.
    """

    slices: Encoded
    label: npt.NDArray[np.uint8]
    values: tuple[int, ...]
    affine: npt.NDArray[np.float64]
    rules: Preprocessing


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

    def support(self, image: Scan, mask: Scan, labels: Sequence[int] = ()) -> Support:
        """Encode a labelled scan.

        Args:
            image: the scan: a path, a Volume, or a ScanFile.
            mask: whole numbers on the scan's grid, 0 background.
            labels: values to segment; by default every value of the mask.

        Raises:
            VolumeError: scan or mask cannot be used.
            ConfigError: a label is not in the mask.
        """
        scan, truth = _open(image), _open(mask)
        check_intensities(scan.volume, _name(image))
        values = np.unique(check_mask(truth.volume, scan.volume, _name(mask)))
        present = values[values > 0].tolist()
        missing = [value for value in labels if value not in present]
        if missing:
            raise ConfigError(f"--label {missing[0]}: {_name(mask)} holds only {present}")
        rules = self.rules or _rules_for(scan.volume)
        prepared, record = preprocess(scan, rules)
        # One scale for all: an open spacing would fit each scan's own field of view.
        rules = replace(rules, spacing_mm=rules.spacing_mm or prepared.spacing[1])
        return Support(
            self._encode(prepared.image, prepared.spacing),
            preprocess_labels(truth.volume, record),
            tuple(labels) or tuple(present),
            prepared.affine,
            rules,
        )

    def segment(self, query: Scan, support: Support) -> Volume:
        """Segment a scan.

        Args:
            query: a path, a Volume, or a ScanFile.
            support: what `Segmenter.support` made.

        Returns:
            uint8 label values on the query's own grid; 0 is background. Where labels overlap, the
            likelier one stands.

        Raises:
            VolumeError: the scan cannot be used.
        """
        scan = _open(query)
        check_intensities(scan.volume, _name(query))
        prepared, record = preprocess(scan, support.rules, like=support.affine)
        slices = self._encode(prepared.image, prepared.spacing)
        matches = match_slices(self.method, support.slices, slices)
        mask = np.zeros(scan.volume.data.shape, dtype=np.uint8)
        best = np.full(mask.shape, 0.5, dtype=np.float32)
        for value in support.values:
            tasks = with_neighbours(
                blind_tasks(matches, support.label, value),
                [support.label],
                value,
                self.method.neighbours,
            )
            found = segment_label(
                self.method,
                support.slices,
                support.label,
                slices,
                value,
                tasks,
                self.precision,
            )
            probability = record.restore_probability(found)
            better = probability > best
            mask[better], best[better] = value, probability[better]
        return Volume(mask, scan.volume.affine)

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


@dataclass(frozen=True)
class Outcome:
    """What became of one query of a batch: a written mask, or an error."""

    query: Path
    mask: Path | None
    error: str = ""


def segment_files(
    segmenter: Segmenter,
    queries: Sequence[Path],
    support: Support,
    out: Path,
    quiet: bool = False,
) -> list[Outcome]:
    """Segment files and write OUT/NAME_seg.* in each one's own format and geometry.

    A scan that cannot be used does not stop the others.

    Raises:
        ConfigError: two queries would write the same file.
    """
    targets = [out / _mask_name(query) for query in queries]
    twice = sorted({str(target) for target in targets if targets.count(target) > 1})
    if twice:
        raise ConfigError(f"{twice[0]}: two queries have this name; segment them into two folders")
    outcomes = []
    with progress_bar("segment", len(queries), quiet=quiet) as bar:
        for done, (query, target) in enumerate(zip(queries, targets, strict=True), start=1):
            outcomes.append(_attempt(segmenter, query, support, target))
            bar(done, query.name)
    return outcomes


def expand_queries(paths: Sequence[Path]) -> list[Path]:
    """Files as they are; of a folder its scans, not its labels.

    Raises:
        DatasetError: a folder without scans.
    """
    queries: list[Path] = []
    for path in paths:
        queries += [case.image for case in find_cases(path).cases] if path.is_dir() else [path]
    return queries


def _attempt(segmenter: Segmenter, query: Path, support: Support, target: Path) -> Outcome:
    try:
        scan = read_volume(query)
        mask = segmenter.segment(scan, support)
        write_mask(mask.data, target, scan.grid)
    except (InputError, OSError) as error:
        return Outcome(query, None, str(error))
    return Outcome(query, target)


def _mask_name(query: Path) -> str:
    name = stem(query)
    return f"{name}_seg{query.name.removeprefix(name)}"


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


def _name(scan: Scan) -> str:
    return str(scan) if isinstance(scan, Path | str) else "the array"
