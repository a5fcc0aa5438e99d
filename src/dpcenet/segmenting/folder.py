"""Segmenting a folder: each scan to a mask of its own, and one bad file stops no other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dpcenet.datasets.folder import find_cases
from dpcenet.errors import ConfigError, InputError
from dpcenet.progress import progress_bar
from dpcenet.segmenting.segmenter import Segmenter
from dpcenet.segmenting.support import Support
from dpcenet.volumes.io import read_volume, stem, write_mask


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
