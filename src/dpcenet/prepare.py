"""`dpcenet prepare`: scans of any kind → memory-mapped slices with pseudo-labels.

A case is written into its folder array by array, and case.json last: a case without case.json is
done again, one whose sources and rules have not changed is left alone.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dpcenet.datasets.folder import SourceCase, find_cases
from dpcenet.datasets.store import FORMAT, PreparedDataset, open_dataset
from dpcenet.datasets.superpixels import superpixels
from dpcenet.datasets.supervoxels import supervoxels
from dpcenet.errors import DatasetError, InputError
from dpcenet.files import file_hash, hash_of, read_json, write_atomically, write_json
from dpcenet.progress import progress_bar
from dpcenet.volumes.io import check_intensities, check_mask, read_volume
from dpcenet.volumes.preprocess import Preprocessing, preprocess, preprocess_labels

SPACING_SAMPLE = 8  # scans whose field of view decides the spacing of all


@dataclass(frozen=True)
class Rules:
    """What is done to every scan of a data set.

    Attributes:
        preprocessing: grid and intensities.
        supervoxel_size: voxels of the smallest supervoxel (5000 abdominal, 1000 cardiac).
        superpixel_size: pixels of the smallest superpixel.
    """

    preprocessing: Preprocessing
    supervoxel_size: int = 5000
    superpixel_size: int = 400


def prepare(
    source: Path,
    out: Path,
    *,
    modality: Literal["mr", "ct"] | None = None,
    spacing_mm: float | None = None,
    supervoxel_size: int = 5000,
    labels: dict[int, str] | None = None,
    jobs: int = 1,
    quiet: bool = False,
) -> PreparedDataset:
    """Prepare a folder of scans.

    Args:
        source: folder of pairs, or nnU-Net's raw layout.
        out: folder of the prepared data set.
        modality: "mr" or "ct"; by default what the folder says, else "mr".
        spacing_mm: of the prepared slices; by default the median of what fits each scan's field
            of view to 256 pixels. A scan with a larger field of view gets coarser pixels.
        supervoxel_size: voxels of the smallest supervoxel.
        labels: names of the label values; by default what the folder says, else "label 1", …
        jobs: processes.
        quiet: no progress bar.

    Raises:
        DatasetError: nothing can be prepared, or some cases failed; the others are then kept, and
            the message names those that failed.
    """
    found = find_cases(source)
    kind = modality or found.modality or "mr"
    spacing_mm = spacing_mm or common_spacing(found.cases, _preprocessing(kind, None))
    rules = Rules(_preprocessing(kind, spacing_mm), supervoxel_size)
    out.mkdir(parents=True, exist_ok=True)
    failed: dict[str, str] = {}
    with progress_bar("prepare", len(found.cases), quiet=quiet) as bar:
        for done, (case, error) in enumerate(_each(found.cases, out, rules, jobs), start=1):
            bar(done, case.name)
            if error:
                failed[case.name] = error
    names = [case.name for case in found.cases if case.name not in failed]
    if names:
        _write_manifest(out, kind, rules, names, labels or found.labels)
    if failed:
        lines = "\n".join(f"  {name}: {error}" for name, error in failed.items())
        raise DatasetError(f"{source}: {len(failed)} of {len(found.cases)} cases failed:\n{lines}")
    return open_dataset(out)


def common_spacing(cases: Sequence[SourceCase], rules: Preprocessing) -> float:
    """Median, over a few scans, of the in-plane spacing in mm that fits the scan to its slices.

    Raises:
        DatasetError: none of these scans can be read.
    """
    chosen = cases[:: max(1, len(cases) // SPACING_SAMPLE)]
    spacings, errors = [], []
    for case in chosen:
        try:
            prepared, _ = preprocess(read_volume(case.image), rules)
        except InputError as error:
            errors.append(str(error))
        else:
            spacings.append(prepared.spacing[1])
    if not spacings:
        raise DatasetError("no scan can be read:\n  " + "\n  ".join(errors))
    return float(np.median(spacings))


def _preprocessing(modality: str, spacing_mm: float | None) -> Preprocessing:
    if modality == "ct":
        return Preprocessing.for_ct(spacing_mm=spacing_mm)
    return Preprocessing.for_mr(spacing_mm=spacing_mm)


def _each(
    cases: Sequence[SourceCase], out: Path, rules: Rules, jobs: int
) -> Iterator[tuple[SourceCase, str]]:
    """Prepare cases, in this process or several; yields each with its error, or ""."""
    if jobs <= 1:
        for case in cases:
            yield case, _attempt(case, out, rules)
        return
    context = multiprocessing.get_context("spawn")  # fork would copy the locks of torch's threads
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        waiting = {pool.submit(_attempt, case, out, rules): case for case in cases}
        for future in as_completed(waiting):
            yield waiting[future], future.result()


def _attempt(case: SourceCase, out: Path, rules: Rules) -> str:
    """Prepare one case; the message if its files cannot be used or written."""
    try:
        prepare_case(case, out / "cases" / case.name, rules)
    except (InputError, OSError) as error:
        return str(error)
    return ""


def prepare_case(case: SourceCase, folder: Path, rules: Rules) -> None:
    """Prepare one case, unless it was prepared from the same files by the same rules.

    Raises:
        InputError: a file of the case cannot be used.
        OSError: the disk is full, or cannot be written.
    """
    sources = {"image": file_hash(case.image)} if case.image.is_file() else {}
    if case.label is not None:
        sources["label"] = file_hash(case.label)
    wanted = {"format": FORMAT, "sources": sources, "rules": asdict(rules)}
    identity = hash_of(wanted)
    done = folder / "case.json"
    if done.exists() and read_json(done)["identity"] == identity and _intact(folder):
        return
    done.unlink(missing_ok=True)
    arrays, facts = _compute(case, rules)
    for name, array in arrays.items():
        write_atomically(folder / f"{name}.npy", partial(_save, array))
    hashes = {name: file_hash(folder / f"{name}.npy") for name in arrays}
    write_json(done, {"identity": identity, **wanted, **facts, "arrays": hashes})


def _save(array: npt.NDArray[Any], path: Path) -> None:
    with path.open("wb") as stream:  # np.save would add .npy to a temporary name
        np.save(stream, array, allow_pickle=False)


def _intact(folder: Path) -> bool:
    """Whether every array that case.json names is there with its bytes."""
    return all(
        (folder / f"{name}.npy").is_file() and file_hash(folder / f"{name}.npy") == digest
        for name, digest in read_json(folder / "case.json")["arrays"].items()
    )


def _compute(case: SourceCase, rules: Rules) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """The arrays of a case, and the facts that go beside them."""
    scan = read_volume(case.image)
    check_intensities(scan.volume, case.image)
    prepared, record = preprocess(scan, rules.preprocessing)
    arrays: dict[str, npt.NDArray[Any]] = {"image": prepared.image}
    if case.label is not None:
        truth = read_volume(case.label)
        check_mask(truth.volume, scan.volume, case.label)
        arrays["label"] = preprocess_labels(truth.volume, record)
    # Segments are found in the intensities before normalisation: their scale is absolute.
    raw = record.denormalise(prepared.image)
    arrays["supervoxels"] = supervoxels(
        raw, prepared.spacing, min_size=rules.supervoxel_size
    ).astype(np.uint16)
    arrays["superpixels"] = superpixels(
        raw, rules.preprocessing.modality, min_size=rules.superpixel_size
    ).astype(np.uint16)
    facts = {
        "name": case.name,
        "shape": list(prepared.image.shape),
        "spacing": list(prepared.spacing),
        "record": record.to_json(),
    }
    return arrays, facts


def _write_manifest(
    out: Path, modality: str, rules: Rules, names: Sequence[str], labels: dict[int, str]
) -> None:
    """manifest.json, from the cases' own files; not touched where it would not change."""
    facts = {name: read_json(out / "cases" / name / "case.json") for name in names}
    hashes = {name: facts[name]["arrays"] for name in names}
    present = _label_values(out, [name for name in names if "label" in hashes[name]])
    manifest = {
        "format": FORMAT,
        "modality": modality,
        "preprocessing": asdict(rules.preprocessing),
        "supervoxel_size": rules.supervoxel_size,
        "superpixel_size": rules.superpixel_size,
        "labels": {str(v): labels.get(v, f"label {v}") for v in sorted(present | set(labels))},
        "cases": hashes,
    }
    manifest["hash"] = hash_of(manifest)
    path = out / "manifest.json"
    if not path.exists() or read_json(path) != manifest:
        write_json(path, manifest)


def _label_values(out: Path, names: Sequence[str]) -> set[int]:
    """Label values that occur in the prepared cases."""
    values: set[int] = set()
    for name in names:
        label = np.load(out / "cases" / name / "label.npy", mmap_mode="r")
        values |= set(np.unique(label).tolist())
    return values - {0}
