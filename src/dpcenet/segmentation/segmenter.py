"""Segment scans from labelled scans; masks are in each scan's own geometry.

The support slice for each query slice is found from the images alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt

from dpcenet.errors import ConfigError
from dpcenet.inference.completion import fill_gaps
from dpcenet.inference.encoded import EncodedScan
from dpcenet.inference.predictor import Predictor
from dpcenet.inference.support import LabelledScan, Support
from dpcenet.methods.base import Method
from dpcenet.methods.dpcenet import weights as dpcenet
from dpcenet.methods.incontext import weights as incontext
from dpcenet.segmentation.better_answers import Answer, LearntNetwork, best_of, seen_by
from dpcenet.segmentation.labelled_files import (
    LabelledFiles,
    check_meanings,
    gap_note,
    identities,
    read_labelled,
)
from dpcenet.segmentation.result import SegmentationResult
from dpcenet.segmentation.review.quality import assess
from dpcenet.segmentation.task_file import read_task
from dpcenet.system.device import Precision, choose_device, choose_precision
from dpcenet.types import Volume
from dpcenet.volumes.adapters import (
    ImageT,
    Native,
    Scan,
    name_of,
    open_scan,
    same_kind,
    several,
)
from dpcenet.volumes.intensities import check_intensities
from dpcenet.volumes.label_names import CommonLabels
from dpcenet.volumes.mask_files import OrganMasks
from dpcenet.volumes.preprocess import Prepared, Preprocessing, Record, preprocess
from dpcenet.volumes.scan_file import AS_IT_IS, ReadOptions, ScanFile

ShippedMethod = Literal["incontext", "dpcenet"]


@dataclass(frozen=True)
class Segmenter:
    """A trained method and the preprocessing of its scans.

    Attributes:
        predictor: the method, in evaluation mode, and how it computes.
        rules: of preprocessing; None chooses them by the intensities of the labelled scan.
        learnt: a network that learnt from the labelled scans, which then has a say; see `learn`.
    """

    predictor: Predictor
    rules: Preprocessing | None
    learnt: LearntNetwork | None = None

    def __repr__(self) -> str:
        rules = (
            "scans of any kind" if self.rules is None else f"{self.rules.modality.upper()} scans"
        )
        learnt = "" if self.learnt is None else ", and one that learnt"
        return f"Segmenter({self.predictor!r}, {rules}{learnt})"

    @staticmethod
    def from_run(
        folder: Path | str, device: str = "auto", precision: Precision = "auto"
    ) -> Segmenter:
        """The method that a run trained; "auto" computes as the training did.

        Raises:
            RunError: the folder is not a run, or has no checkpoint.
        """
        from dpcenet.training.run_folder import open_run  # all of training, which few need here

        run, where = open_run(Path(folder)).computing_in(precision), choose_device(device)
        rules = run.preprocessing
        return Segmenter(Predictor(run.load_method(where), run.precision, where), rules)

    @staticmethod
    def shipped(
        device: str = "auto",
        modality: Literal["mr", "ct"] | None = None,
        precision: Precision = "auto",
        method: ShippedMethod = "incontext",
    ) -> Segmenter:
        """A network of the package: no training, no download.

        Args:
            method: the in-context network, or DPCENet on the same trunk.
            device: where it computes.
            modality: of the scans; None decides by the labelled scan.
            precision: "auto" takes bfloat16 where the device computes it in hardware.
        """
        where = choose_device(device)
        network = _shipped_network(method).to(where).eval()
        rules = {"mr": Preprocessing.for_mr(), "ct": Preprocessing.for_ct(), None: None}[modality]
        return Segmenter(Predictor(network, choose_precision(precision, where), where), rules)

    @staticmethod
    def of(
        run: Path | str | None,
        method: ShippedMethod = "incontext",
        device: str = "auto",
        modality: Literal["mr", "ct"] | None = None,
        precision: Precision = "auto",
    ) -> Segmenter:
        """The method of a run, or a network of the package where there is none; not both."""
        if not run:
            return Segmenter.shipped(device, modality, precision, method)
        if method != "incontext":
            raise ConfigError(f"--method {method}: the run has a method of its own; name one only")
        return Segmenter.from_run(run, device, precision)

    @staticmethod
    def from_task(
        path: Path | str, run: Path | str | None = None, device: str = "auto"
    ) -> tuple[Segmenter, Support]:
        """The network and the support of a task file.

            segmenter, support = Segmenter.from_task("liver.task")
            mask = segmenter.segment("scan.nii.gz", support)

        Args:
            path: what `dpcenet task create` wrote.
            run: folder of the run that it was made with; by default the network of the package.
            device: where it computes.

        Raises:
            TaskError: the file is damaged, of a newer format, or of another network.
        """
        segmenter = Segmenter.of(run, device=device)
        return segmenter, read_task(Path(path), segmenter.predictor)

    def support(
        self,
        images: Scan | Sequence[Scan],
        masks: Scan | OrganMasks | Sequence[Scan | OrganMasks],
        labels: Sequence[int] = (),
        options: ReadOptions = AS_IT_IS,
        names: Mapping[int, str] = MappingProxyType({}),
    ) -> Support:
        """Encode one or several labelled scans.

        Args:
            images: a scan of any kind that `adapters.open_scan` accepts, or a list of them.
            masks: whole numbers on each scan's grid, 0 is background; one for each scan, or
                `OrganMasks` with a file for each organ. A DICOM SEG may omit slices.
            labels: values to segment; by default every value of the masks.
            options: how scans are read whose files leave a choice.
            names: of label values that have no name in their file. Labels of several masks go by
                their names.

        Raises:
            VolumeError: a scan or mask cannot be used.
            ConfigError: a label is in no mask, or a scan has no mask.
        """
        scans: list[Scan] = several(images)
        truths: list[Scan | OrganMasks] = several(masks)
        if len(scans) != len(truths) or not scans:
            raise ConfigError(f"labelled scans: {len(scans)}, masks: {len(truths)}; give pairs")
        common, first = CommonLabels(names), None
        opened: list[LabelledFiles] = []
        for image, mask in zip(scans, truths, strict=True):
            opened.append(
                read_labelled(self.predictor, self.rules, image, mask, common, first, options)
            )
            first = first or opened[0]
        assert first is not None  # there is a scan
        check_meanings(opened)
        drawn = sorted({v for each in opened for v in each.values})
        if missing := sorted(set(labels) - set(drawn)):
            given = " and ".join(name_of(mask) for mask in truths)
            raise ConfigError(f"--label {missing[0]}: {given}: only {drawn} found")
        values = tuple(labels) or tuple(drawn)
        known = {v: name for v, name in common.labels.names.items() if v in values}
        codes = {v: code for v, code in common.labels.codes.items() if v in values}
        filled = [fill_gaps(self.predictor, each.scan, values) for each in opened]
        notes = [gap_note(scan.name, counts, known) for scan, counts in filled if counts]
        labelled = tuple(scan for scan, _ in filled)
        read = [note for each in opened for note in each.notes]
        rules, said = first.record.rules, (*read, *notes)
        sources = identities(scans, opened, options)
        return Support(labelled, values, first.affine, rules, known, said, codes, sources)

    @overload
    def segment(self, query: Native, support: Support) -> Volume: ...

    @overload
    def segment(self, query: ImageT, support: Support) -> ImageT: ...

    def segment(self, query: Scan, support: Support) -> Any:
        """Segment a scan. The mask is an image of the same kind as the query, or a Volume."""
        return same_kind(self.find(query, support).mask, query)

    def prepare(self, scan: ScanFile, support: Support, name: str) -> tuple[Prepared, Record]:
        """A scan as the network sees it, oriented like the labelled scans; what undoes that.

        Raises:
            VolumeError: the scan, which the message calls `name`, cannot be used.
        """
        check_intensities(scan.volume, name)
        return preprocess(scan, support.rules, like=support.affine)

    def find(self, query: Scan, support: Support) -> SegmentationResult:
        """Segment a scan, and keep what the quality check needs.

        Args:
            query: of any kind that `adapters.open_scan` accepts.
            support: from `Segmenter.support`.

        Raises:
            VolumeError: the scan cannot be used.
            ConfigError: the network learnt from other labelled scans.
        """
        scan = open_scan(query)
        prepared, record = self.prepare(scan, support, name_of(query))
        slices = self.predictor.encode(prepared.image, prepared.spacing)
        del prepared  # the slices have a copy of the image
        found = segment_blind(
            self.predictor, support.scans, support.values, slices, record, scan.volume.affine
        )
        if self.learnt is None:
            return found
        before = Answer("", found, assess(self.predictor, found))
        return best_of([before, *self.later_answers(found, support)])

    def later_answers(self, before: SegmentationResult, support: Support) -> Iterator[Answer]:
        """What a network that learnt answers, judged from the labelled scans.

        Args:
            before: what was found before learning.
            support: from `Segmenter.support`.
        """
        assert self.learnt is not None
        network, record, affine = self.learnt.predictor, before.record, before.mask.affine
        query, own = seen_by(network, before.query), None
        for by, scans in self.learnt.answers_from(support, before.query):
            found = segment_blind(network, scans, support.values, query, record, affine)
            own = own or found
            found = own.answered_by(found)
            yield Answer(by, found, assess(network, found))


def segment_blind(
    predictor: Predictor,
    scans: Sequence[LabelledScan],
    values: Sequence[int],
    query: EncodedScan,
    record: Record,
    affine: npt.NDArray[np.float64],
) -> SegmentationResult:
    """Segment labels of an encoded scan of which nothing is known.

    Args:
        predictor: that encoded all scans.
        scans: labelled scans, oriented like the query.
        values: labels to segment.
        query: the scan.
        record: of its preprocessing.
        affine: (4, 4) of its own grid, in RAS+ mm.
    """
    result = predictor.segment(scans, query, predictor.blind_plan(scans, query), values)
    mask = Volume(record.restore_labels(result.probability), affine)
    return SegmentationResult(
        query,
        result.scans,
        result.slices.matches,
        result.slices.tasks,
        result.probability,
        record,
        mask,
        result.slices.alignments,
        result.at_first,
    )


def _shipped_network(method: ShippedMethod) -> Method:
    """A network of the package, with its weights."""
    if method == "dpcenet":
        return dpcenet.build(dpcenet.shipped_options())
    return incontext.build(incontext.Options())
