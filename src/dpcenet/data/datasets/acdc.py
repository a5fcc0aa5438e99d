"""ACDC: cine cardiac MR of 100 labelled patients, at end diastole (ED) and end systole (ES).

As downloaded: patient001/Info.cfg, which names the two frames, patient001_frame01.nii.gz and
patient001_frame01_gt.nii.gz. Both frames of a patient stay in one fold. The patients come sorted
by disease, so fold f takes every fifth patient from f + 1 on: four of each disease.
"""

from __future__ import annotations

import re
from pathlib import Path

from dpcenet.data.datasets.cmr import NO_GROUPS
from dpcenet.data.datasets.spec import DatasetSpec, SourceCase, SourceFolder
from dpcenet.errors import DatasetError
from dpcenet.volumes.preprocess import Preprocessing

LABELS = {1: "RV", 2: "LV-MYO", 3: "LV-BP"}
PATIENTS = 100
PHASES = ("ED", "ES")


def find(folder: Path) -> SourceFolder:
    """The ED and ES frames of each patient below a folder.

    Raises:
        DatasetError: a patient is there twice, or Info.cfg does not name the frames.
    """
    cases: dict[str, SourceCase] = {}
    for info in sorted(folder.rglob("Info.cfg")):
        patient = info.parent.name
        for phase, frame in _frames(info).items():
            name = f"{patient}_{phase}"
            if name in cases:
                raise DatasetError(f"{folder}: {name} twice: {cases[name].image} and {info.parent}")
            image = _file(info.parent, f"{patient}_frame{frame:02d}")
            label = _file(info.parent, f"{patient}_frame{frame:02d}_gt")
            cases[name] = SourceCase(name, image, label if label.is_file() else None)
    return SourceFolder(tuple(cases[name] for name in sorted(cases)))


def _frames(info: Path) -> dict[str, int]:
    """Frame number of each phase, from lines such as `ED: 1`."""
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines()
    matches = [re.match(r"(E[DS])\s*:\s*(\d+)", line) for line in lines]
    found = {match[1]: int(match[2]) for match in matches if match}
    if set(found) != set(PHASES):
        raise DatasetError(f"{info}: names {sorted(found) or 'no frame'}; expected ED: and ES:")
    return {phase: found[phase] for phase in PHASES}


def _file(folder: Path, name: str) -> Path:
    plain = folder / f"{name}.nii"
    return plain if plain.is_file() else folder / f"{name}.nii.gz"


def _names(patients: range) -> tuple[str, ...]:
    return tuple(f"patient{n:03d}_{phase}" for n in patients for phase in PHASES)


SPEC = DatasetSpec(
    name="acdc",
    title="ACDC (cardiac cine MRI)",
    find=find,
    labels=LABELS,
    preprocessing=Preprocessing.for_mr(spacing_mm=1.25, overflow="crop"),
    supervoxel_size=1000,
    folds=tuple(_names(range(first, PATIENTS + 1, 5)) for first in range(1, 6)),
    subjects={name: name[:-3] for name in _names(range(1, PATIENTS + 1))},
    no_groups=NO_GROUPS,
    licence="CC BY-NC-SA 4.0",
    citation="Bernard et al., IEEE Transactions on Medical Imaging 37 (2018) 2514-2525",
    address="https://www.creatis.insa-lyon.fr/Challenge/acdc",
)
