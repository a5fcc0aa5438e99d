"""A prepared data set on disk: memory-mapped arrays, one folder for each case, and a manifest.

OUT/manifest.json                what was prepared, how, and the hash of every array
OUT/cases/<case>/case.json       the same for one case; written last, so it marks completion
OUT/cases/<case>/image.npy       (Z, 256, 256) float32, normalised
OUT/cases/<case>/label.npy       (Z, 256, 256) uint8; absent for an unlabelled scan
OUT/cases/<case>/supervoxels.npy (Z, 256, 256) uint16, 0 outside the body
OUT/cases/<case>/superpixels.npy (Z, 256, 256) uint16, numbered within each slice
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from dpcenet.errors import ConfigError, DatasetError
from dpcenet.system.files import read_json
from dpcenet.system.validated import validated
from dpcenet.volumes.preprocess import Record

FORMAT = 1
_AGAIN = "run `dpcenet prepare` again"
_CaseName = Annotated[str, Field(pattern=r"^[^/\\\x00]+$")]


@dataclass(frozen=True)
class PreparedCase:
    """One prepared scan. Arrays are opened when asked for and stay on disk."""

    name: str
    folder: Path

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What case.json holds: hashes, shapes, sources, the preprocessing record."""
        needs = {"arrays": dict, "spacing": list, "record": dict}
        return read_json(self.folder / "case.json", needs, error=DatasetError, remedy=_AGAIN)

    @cached_property
    def record(self) -> Record:
        """What reverses the preprocessing of this case."""
        try:
            return Record.from_json(self.facts["record"])
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            found = f"its record cannot be used ({error!r:.80})"
            raise DatasetError(f"{self.folder / 'case.json'}: {found}; {_AGAIN}") from error

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Spacing of the prepared arrays along z, y, x in mm.

        Raises:
            DatasetError: the file of the case says something else.
        """
        match self.facts["spacing"]:
            case [int() | float() as z, int() | float() as y, int() | float() as x] if (
                min(z, y, x) > 0
            ):
                return z, y, x
            case other:
                found = f"its spacing is {other!r:.80}, not three lengths in mm"
                raise DatasetError(f"{self.folder / 'case.json'}: {found}; {_AGAIN}")

    @cached_property
    def image(self) -> npt.NDArray[np.float32]:
        """(Z, H, W) float32, normalised."""
        return self._array("image")

    @cached_property
    def label(self) -> npt.NDArray[np.uint8]:
        """(Z, H, W) uint8.

        Raises:
            DatasetError: the case was prepared without labels.
        """
        if not self.labelled:
            raise DatasetError(f"{self.folder}: the case {self.name} has no labels")
        return self._array("label")

    @property
    def labelled(self) -> bool:
        """Whether a label map was prepared with the scan."""
        return "label" in self.facts["arrays"]

    @cached_property
    def supervoxels(self) -> npt.NDArray[np.uint16]:
        """(Z, H, W) uint16."""
        return self._array("supervoxels")

    @cached_property
    def superpixels(self) -> npt.NDArray[np.uint16]:
        """(Z, H, W) uint16."""
        return self._array("superpixels")

    def _array(self, name: str) -> npt.NDArray[Any]:
        path = self.folder / f"{name}.npy"
        try:
            return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
        except (OSError, ValueError) as error:
            raise DatasetError(f"{path}: cannot be opened ({error}); run prepare again") from error


@dataclass(frozen=True)
class Origin:
    """Which data set it is.

    Attributes:
        name: what `prepare --dataset` calls it.
        title: what people call it.
        folds: the cases of each fold; empty divides the cases evenly in their order.
        subjects: case → patient, where a patient has several scans; these stay together.
        groups: of organs that Setting 2 tests apart, by label value.
        no_groups: why there are none.
        licence, citation, address: terms, what to cite, and where a person gets the scans.
    """

    name: str = "folder"
    title: str = ""
    folds: tuple[tuple[str, ...], ...] = ()
    subjects: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    no_groups: str = "no groups of organs are written down for this data set"
    licence: str = ""
    citation: str = ""
    address: str = ""

    def to_json(self) -> dict[str, Any]:
        """What goes into a manifest."""
        facts = {f.name: getattr(self, f.name) for f in fields(Origin)}
        return facts | {
            "folds": [list(block) for block in self.folds],
            "subjects": dict(self.subjects),
            "groups": {name: list(values) for name, values in self.groups.items()},
            "no_groups": "" if self.groups else self.no_groups,
        }


@dataclass(frozen=True)
class PreparedDataset:
    """A folder that `dpcenet prepare` wrote.

    Attributes:
        folder: where it lies.
        labels: label value → name.
        modality: "mr" or "ct".
        cases: in the order of the manifest.
        preprocessing: how the scans were prepared, as JSON.
        hash: identifies the content.
        origin: which data set it is.
    """

    folder: Path
    labels: dict[int, str]
    modality: str
    cases: tuple[PreparedCase, ...]
    preprocessing: dict[str, Any]
    hash: str
    origin: Origin = field(default_factory=Origin)

    def group(self, name: str) -> tuple[int, ...]:
        """The labels of a group of organs of Setting 2.

        Raises:
            ConfigError: there is no such group; the message says why.
        """
        if not self.origin.groups:
            raise ConfigError(f"--group {name}: {self.origin.no_groups}")
        if name not in self.origin.groups:
            raise ConfigError(f"--group {name}: choose one of {', '.join(self.origin.groups)}")
        return self.origin.groups[name]

    def case(self, name: str) -> PreparedCase:
        """The case of that name."""
        for case in self.cases:
            if case.name == name:
                return case
        raise DatasetError(
            f"{self.folder}: no case {name!r}; it has {[c.name for c in self.cases]}"
        )


@dataclass(frozen=True)
class _Manifest:
    """What is used of manifest.json."""

    modality: str
    preprocessing: dict[str, Any]
    labels: dict[int, str]
    cases: dict[_CaseName, dict[str, str]]
    hash: str
    dataset: Origin = field(default_factory=Origin)


def open_dataset(folder: Path) -> PreparedDataset:
    """Open what `dpcenet prepare` wrote.

    Raises:
        DatasetError: there is no complete prepared data set in the folder.
    """
    path = folder / "manifest.json"
    if not path.is_file():
        raise DatasetError(f"{path}: not a prepared data set; make one with `dpcenet prepare`")
    manifest = read_json(path, error=DatasetError, remedy=_AGAIN)
    if manifest.get("format") != FORMAT:
        raise DatasetError(
            f"{path}: format {manifest.get('format')!r}, this version reads {FORMAT}; prepare again"
        )
    facts = validated(_Manifest, manifest, path, error=DatasetError, remedy=_AGAIN, extra="ignore")
    cases = tuple(PreparedCase(name, folder / "cases" / name) for name in facts.cases)
    origin = facts.dataset
    return PreparedDataset(
        folder, facts.labels, facts.modality, cases, facts.preprocessing, facts.hash, origin
    )
