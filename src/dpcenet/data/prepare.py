"""`dpcenet prepare`: scans of any data set → memory-mapped slices with pseudo-labels.

Each case is prepared by itself (`prepare_case`), so a killed run resumes where it stopped. A case
that fails does not stop the others.
"""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dpcenet.data.datasets.folder import find_cases
from dpcenet.data.datasets.registry import dataset_spec
from dpcenet.data.datasets.spec import DatasetSpec, RawCase, SourceCase, SourceFolder
from dpcenet.data.manifest import write_manifest
from dpcenet.data.prepare_case import Recipe, Rules, prepare_case
from dpcenet.data.store import PreparedDataset, open_dataset
from dpcenet.errors import ConfigError, DatasetError, InputError
from dpcenet.system.faults import mendable, out_of_memory, out_of_space
from dpcenet.system.progress import progress_bar
from dpcenet.system.quiet_dicom import silence_dicom
from dpcenet.volumes.geometry import orient
from dpcenet.volumes.modality import choose_modality
from dpcenet.volumes.preprocess import Preprocessing, in_plane_spacing
from dpcenet.volumes.scan_file import AS_IT_IS, ReadOptions

Modality = Literal["mr", "ct"]
SAMPLE = 8  # scans that decide the spacing and the kind of all
_LOG = logging.getLogger(__name__)


def prepare(
    source: Path,
    out: Path,
    *,
    dataset: str = "folder",
    modality: Modality | None = None,
    spacing_mm: float | None = None,
    supervoxel_size: int | None = None,
    labels: dict[int, str] | None = None,
    changes: dict[str, Any] | None = None,
    options: ReadOptions = AS_IT_IS,
    jobs: int = 1,
    quiet: bool = False,
) -> PreparedDataset:
    """Prepare a data set.

    Args:
        source: folder of scans, as downloaded.
        out: folder of the prepared data set.
        dataset: its name in `datasets.registry`; "folder" recognises the layout.
        modality: "mr" or "ct"; by default what the data set or the folder says, else what the
            scans are.
        spacing_mm: of the prepared slices; by default the data set's, else the median over the
            scans of the spacing that fits the field of view to 256 pixels. A scan with a larger
            field of view gets coarser pixels, unless the data set crops.
        supervoxel_size: voxels of the smallest supervoxel; by default the data set's, else 5000.
        labels: names of the label values; by default what the data set or the folder says, else
            "label 1", …
        changes: fields of `Preprocessing` in place of the data set's, such as {"size": 257}.
        options: how scans are read whose files leave a choice.
        jobs: processes.
        quiet: no progress bar.

    Raises:
        ConfigError: there is no such data set, or no such rule.
        DatasetError: nothing can be prepared, or some cases are missing or failed; the others are
            then kept, and the message names those.
        OSError: the disk is full; what is prepared is kept.
    """
    spec = dataset_spec(dataset)
    found = find_cases(source, spec)
    cases, missing, unknown = expected_cases(found, spec, source)
    if options != AS_IT_IS:
        cases = tuple(replace(case, options=options) for case in cases)
    for name in unknown:
        _LOG.warning("%s: case %s is not one of %s; left out", source, name, spec.title)
    try:
        rules = _rules(spec, cases, source, modality or found.modality, spacing_mm, changes or {})
    except (TypeError, ValueError) as error:
        raise ConfigError(f"prepare: {error}") from error
    rules = replace(rules, supervoxel_size=supervoxel_size or spec.supervoxel_size)
    names_of = dict(labels or spec.labels or found.labels)
    recipe = Recipe(rules, spec.read, known_labels(spec, found))
    failed = _prepare_cases(cases, out, recipe, jobs, quiet)
    done = [case.name for case in cases if case.name not in failed]
    if done:
        write_manifest(out, spec, rules, done, names_of)
    problems = [*_told_once(failed), *missing]
    if problems:
        count = len(failed) + len(missing)
        title = f"{source}: {count} of {len(done) + count} cases failed:"
        raise DatasetError("\n  ".join([title, *problems]))
    return open_dataset(out)


def expected_cases(
    found: SourceFolder, spec: DatasetSpec, source: Path
) -> tuple[tuple[SourceCase, ...], list[str], list[str]]:
    """The cases of the data set, a message for each missing one, and the names it does not have.

    Raises:
        DatasetError: none belongs to it.
    """
    if not spec.cases:
        return found.cases, [], []
    by_name = {case.name: case for case in found.cases}
    unknown = sorted(set(by_name) - set(spec.cases))
    missing = [f"{name}: no scan" for name in spec.cases if name not in by_name]
    belong = tuple(by_name[name] for name in spec.cases if name in by_name)
    missing += [f"{case.name}: no labels" for case in belong if case.label is None]
    if not belong:
        raise DatasetError(f"{source}: no case of {spec.title} among {', '.join(sorted(by_name))}")
    return tuple(case for case in belong if case.label is not None), missing, unknown


def known_labels(spec: DatasetSpec, found: SourceFolder) -> tuple[int, ...]:
    """Label values that may occur in a data set; empty where any may.

    What dataset.json declares binds only where `--dataset` names such a layout: a person who gives
    a folder of scans has not said that the file is right.
    """
    if spec.labels or spec.name == "folder":
        return tuple(spec.labels)
    return tuple(found.labels)


def _rules(
    spec: DatasetSpec,
    cases: Sequence[SourceCase],
    source: Path,
    modality: Modality | None,
    spacing_mm: float | None,
    changes: dict[str, Any],
) -> Rules:
    """The rules of the data set, or those that its scans suggest, with the changes asked for."""
    if spec.preprocessing is not None:
        chosen = replace(spec.preprocessing, **changes)
        if modality is not None:
            chosen = replace(chosen, modality=modality)
        if spacing_mm is None:
            return Rules(chosen, pixel_step=spec.pixel_step)
        return Rules(replace(chosen, spacing_mm=spacing_mm))
    seen = _sample(cases, spec.read)
    if modality is None:
        modality = _common_modality(seen, source)
    by_default = Preprocessing.for_ct if modality == "ct" else Preprocessing.for_mr
    chosen = by_default(**changes)
    fitting = [in_plane_spacing(one.pixels, one.spacing, chosen) for one in seen]
    median = float(np.median(fitting)) if fitting else None
    return Rules(replace(chosen, spacing_mm=spacing_mm or median))


def _prepare_cases(
    cases: Sequence[SourceCase], out: Path, recipe: Recipe, jobs: int, quiet: bool
) -> dict[str, str]:
    """Prepare cases; the error of each that failed."""
    out.mkdir(parents=True, exist_ok=True)
    failed: dict[str, str] = {}
    with progress_bar("prepare", len(cases), quiet=quiet) as bar:
        for done, (case, error) in enumerate(_each(cases, out, recipe, jobs), start=1):
            bar(done, case.name)
            if error:
                failed[case.name] = error
    return failed


def _told_once(failed: Mapping[str, str]) -> list[str]:
    """A line for each error, with the cases that it stopped: no memory may be left for all."""
    names: dict[str, list[str]] = {}
    for name, error in failed.items():
        names.setdefault(error, []).append(name)
    return [f"{', '.join(cases)}: {error}" for error, cases in names.items()]


@dataclass(frozen=True)
class _Seen:
    """What the rules need to know of a scan: kind, and pixels (rows, columns) with their mm."""

    modality: Modality
    pixels: tuple[int, int]
    spacing: tuple[float, float]


def _sample(cases: Sequence[SourceCase], read: Callable[[SourceCase], RawCase]) -> list[_Seen]:
    """A few of the scans; those that cannot be read are reported when they are prepared."""
    seen = []
    for case in cases[:: max(1, len(cases) // SAMPLE)]:
        try:
            file = read(replace(case, label=None)).scan
        except InputError:
            continue
        scan, _ = orient(file.volume)
        _, rows, columns = scan.data.shape
        _, height, width = scan.spacing
        seen.append(_Seen(choose_modality(file).modality, (rows, columns), (height, width)))
    return seen


def _common_modality(seen: Sequence[_Seen], source: Path) -> Modality | None:
    """What the scans are; None where none could be read.

    Raises:
        DatasetError: some are CTs and some are not.
    """
    kinds = {one.modality for one in seen}
    if len(kinds) > 1:
        ct = sum(one.modality == "ct" for one in seen)
        raise DatasetError(
            f"{source}: {ct} of {len(seen)} scans look like CT, the others like MR; prepare them "
            "apart, or say --modality"
        )
    for kind in kinds:
        _LOG.warning("%s: taken for %s by the scans; --modality says otherwise", source, kind)
    return kinds.pop() if kinds else None


def _each(
    cases: Sequence[SourceCase], out: Path, recipe: Recipe, jobs: int
) -> Iterator[tuple[SourceCase, str]]:
    """Prepare cases, in this process or several; yields each with its error, or ""."""
    if jobs <= 1:
        for case in cases:
            yield case, _attempt(case, out, recipe)
        return
    context = multiprocessing.get_context("spawn")  # fork would copy the locks of torch's threads
    with ProcessPoolExecutor(jobs, context, silence_dicom) as pool:
        waiting = {pool.submit(_attempt, case, out, recipe): case for case in cases}
        for future in as_completed(waiting):
            try:
                error = future.result()
            except BrokenProcessPool:
                error = "a process was killed, most likely because memory ran out; use fewer --jobs"
            yield waiting[future], error


def _attempt(case: SourceCase, out: Path, recipe: Recipe) -> str:
    """Prepare one case; the message if its files cannot be used or written.

    Raises:
        OSError: the disk is full, which every other case would meet too.
    """
    try:
        prepare_case(case, out / "cases" / case.name, recipe)
    except (InputError, OSError, MemoryError, RuntimeError) as error:
        no_memory = out_of_memory(error)
        if out_of_space(error) or (isinstance(error, RuntimeError) and not no_memory):
            raise
        return mendable(error) or str(error)
    return ""
