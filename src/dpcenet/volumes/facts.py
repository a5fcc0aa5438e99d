"""What a file says of its voxels beside their place: kind of scan, padding, labels' names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Code:
    """A term of a coding scheme, such as SCT 10200004 "Liver"."""

    scheme: str
    value: str
    meaning: str


@dataclass(frozen=True)
class Labels:
    """What the values of a mask mean.

    Attributes:
        names: label value → name.
        codes: label value → what the label shows, by a coding scheme.
    """

    names: Mapping[int, str] = field(default_factory=dict)
    codes: Mapping[int, Code] = field(default_factory=dict)


NO_LABELS = Labels()


@dataclass(frozen=True)
class Facts:
    """What was read beside the voxels and their place. Nothing of it names the patient.

    Attributes:
        modality: DICOM's word for the kind of scan ("CT", "MR", "PT"); "" where the file is silent.
        padding: lowest and highest value that the file declares to be no measurement, in the
            volume's unit; None where it declares none.
        labels: of a mask, what its values mean.
        notes: what reading did beyond reading, a line each, such as "resampled to 2.5 mm".
    """

    modality: str = ""
    padding: tuple[float, float] | None = None
    labels: Labels = NO_LABELS
    notes: tuple[str, ...] = ()

    def noting(self, *notes: str) -> Facts:
        """The same with further notes."""
        return replace(self, notes=(*self.notes, *notes))
