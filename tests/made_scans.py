"""Phantoms and a quick segmenter for the tests of segmenting."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from dpcenet.data.phantom.phantom import write_phantoms
from dpcenet.inference.predictor import Predictor
from dpcenet.inference.support import Support
from dpcenet.methods.copy import Copy, Options
from dpcenet.segmentation.output_folder import check_targets, collect
from dpcenet.segmentation.queries import Query, find_queries
from dpcenet.segmentation.review.quality import Flag, nothing_found
from dpcenet.segmentation.review.reviewed_case import ReviewedCase, save_case
from dpcenet.segmentation.segment_options import Outcome, SegmentOptions
from dpcenet.segmentation.segment_queries import segment_each
from dpcenet.segmentation.segmenter import Segmenter
from dpcenet.volumes.mask_record import write_record
from dpcenet.volumes.preprocess import Preprocessing

SHAPE, SPACING = (8, 48, 48), (11.0, 6.0, 6.0)


def segment_files(
    segmenter: Segmenter, queries: Sequence[Query], support: Support, options: SegmentOptions
) -> list[Outcome]:
    """Segment queries in this process, as `segment_folder` does."""
    check_targets(queries, options)
    each = segment_each(segmenter, queries, support, options)
    return collect(each, queries, options.out, quiet=True)


def quick_segmenter(size: int = 64) -> Segmenter:
    """`copy` needs no weights; it pastes the mask of the support."""
    rules = Preprocessing.for_mr(size=size)
    return Segmenter(Predictor(Copy(Options()).eval()), rules)


def write_scans(folder: Path, count: int) -> list[tuple[Path, Path]]:
    """Pairs image_NN.nii.gz and label_NN.nii.gz."""
    return write_phantoms(folder, count, shape=SHAPE, spacing=SPACING)


def write_results(
    pairs: Sequence[tuple[Path, Path]], out: Path, names: Mapping[str, str], flags: Sequence[Flag]
) -> None:
    """Results as `dpcenet segment` leaves them, a flag for each scan, the truth as their masks."""
    for (image, label), flag in zip(pairs, flags, strict=True):
        (query,) = find_queries([image])
        mask = out / query.mask_name
        mask.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(label, mask)
        inputs = {"query": query.digest(), "labels": names, "preprocessing": {"modality": "mr"}}
        write_record(mask, inputs, [mask], {"scan": str(image)})
        quality = replace(nothing_found(), flag=flag)
        labels = dict.fromkeys(names.values(), quality)
        save_case(out, ReviewedCase(query.name.as_posix(), mask.name, labels, {}, (1.0,)))
