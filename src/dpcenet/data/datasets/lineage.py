"""Folders that a script of the lineage has prepared: image_N and label_N, by number.

The intensities are already clipped and the slices resampled to 256 (or 257) pixels, so neither is
done again. Supervoxels are computed again, because the lineage's files contain unused ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from dpcenet.data.datasets import chaost2, cmr, sabs
from dpcenet.data.datasets.spec import DatasetSpec, SourceFolder, find_files, read_pair
from dpcenet.errors import DatasetError
from dpcenet.volumes.preprocess import Preprocessing

_ENDING = r"(\d+)\.nii(?:\.gz)?"


def find(folder: Path, names: Mapping[int, str] | None = None) -> SourceFolder:
    """Pairs image_N, label_N below a folder, in the order of the numbers.

    Args:
        folder: where they lie; other files there are ignored.
        names: number → case, where the numbers are not the cases' names.

    Raises:
        DatasetError: two files have one number, a label has no image, or a number is unknown.
    """
    cases = find_files(folder, "image_" + _ENDING, "label_" + _ENDING, lambda n: f"{int(n):05d}")
    numbered = {int(case.name): case for case in cases}
    if names is None:
        names = {number: str(number) for number in numbered}
    strange = sorted(set(numbered) - set(names))
    if strange:
        raise DatasetError(f"{folder}: image_{strange[0]} is not a number of this data set")
    return SourceFolder(tuple(replace(numbered[n], name=names[n]) for n in sorted(numbered)))


_AS_IT_IS = Preprocessing.for_mr(clip_percentile=None, overflow="crop")

SPEC = DatasetSpec(
    name="lineage",
    title="a folder prepared by a script of the lineage",
    find=find,
    preprocessing=_AS_IT_IS,
    pixel_step=1.0,
)


def _prepared(spec: DatasetSpec, names: Mapping[int, str]) -> DatasetSpec:
    """The data set in the lineage's own preparation: same cases, folds and labels."""
    assert spec.preprocessing is not None
    return replace(
        spec,
        name=f"{spec.name}-lineage",
        title=f"{spec.title}, prepared by the lineage",
        find=partial(find, names=names),
        read=read_pair,
        preprocessing=replace(_AS_IT_IS, modality=spec.preprocessing.modality),
        pixel_step=1.0,
    )


CHAOST2 = _prepared(chaost2.SPEC, {int(case): case for case in chaost2.SPEC.cases})
SABS = _prepared(sabs.SPEC, dict(enumerate(sabs.SPEC.cases)))
CMR = replace(
    _prepared(cmr.SPEC, {int(case): case for case in cmr.SPEC.cases}),
    # Labels are 200, 500 and 600, or already 1, 2 and 3.
    read=partial(read_pair, values=cmr.VALUES | {label: label for label in cmr.LABELS}),
)
