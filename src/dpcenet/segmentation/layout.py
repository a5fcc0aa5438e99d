"""Where results lie and how they are called: our way, or that of BIDS, TotalSegmentator, nnU-Net.

| layout | mask | of each label |
|---|---|---|
| default | NAME_seg.* | – |
| nnunet | NAME.nii.gz, for a scan NAME_0000.nii.gz | – |
| totalsegmentator | NAME.nii.gz | NAME/LABEL.nii.gz |
| bids | sub-…_desc-dpcenet…_dseg.nii.gz | sub-…_label-…_probseg.nii.gz |
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from dpcenet import __version__
from dpcenet.system.files import hash_of, write_json, write_text

Layout = Literal["default", "bids", "totalsegmentator", "nnunet"]
NIFTI = ".nii.gz"
_WORD = 60
"""Letters of a label's word: a file's name has 255 bytes, and a letter up to four."""
_DIGITS = 8
_CHANNEL = re.compile(r"_0000$")  # nnU-Net's name of the first and only channel
_IGNORED = (
    "*.nii.gz.json",
    "*.stl",
    "segment.json",
    "learn*",
    "review*",
    "statistics*",
    ".dpcenet-lock",
)


def mask_name(name: Path, suffix: str, layout: Layout) -> Path:
    """Path of a scan's mask in the folder of the results.

    Args:
        name: path of the scan below the folder that was searched, without its ending.
        suffix: of the mask in the default layout; the other layouts are NIfTI.
        layout: whose names.
    """
    if layout == "bids":
        return _bids(name, f"dseg{NIFTI}")
    if layout == "nnunet":
        return name.with_name(_CHANNEL.sub("", name.name) + NIFTI)
    if layout == "totalsegmentator":
        return name.with_name(name.name + NIFTI)
    return name.with_name(f"{name.name}_seg{suffix}")


def probability_path(mask: Path, name: str, value: int, label: str, layout: Layout) -> Path:
    """Path of a label's probability, beside the mask; `label` is its word of `label_words`."""
    if layout == "bids":
        return mask.with_name(mask.name.replace("_dseg", f"_label-{label}_probseg"))
    return mask.with_name(f"{name}_prob_{value}{NIFTI}")


def label_path(mask: Path, label: str) -> Path:
    """Path of the mask of one label, as TotalSegmentator writes it; `label` as above."""
    return mask.with_name(mask.name.removesuffix(NIFTI)) / f"{label}{NIFTI}"


def label_words(names: Mapping[int, str], layout: Layout) -> dict[int, str]:
    """Each label in the names of files: no two are alike, also where case is no matter.

    Args:
        names: of all labels that are written.
        layout: BIDS allows letters and digits only.
    """
    if layout == "bids":
        words = {value: _alnum(name)[:_WORD] for value, name in names.items()}
    else:
        words = {v: re.sub(r"[^\w.-]+", "_", name.strip())[:_WORD] for v, name in names.items()}
        words = {value: word.strip(".") or f"label_{value}" for value, word in words.items()}
    often = Counter(word.casefold() for word in words.values())
    behind = "x" if layout == "bids" else "_"
    return {
        value: word if often[word.casefold()] == 1 else f"{word}{behind}{value}"
        for value, word in words.items()
    }


def write_layout_files(out: Path, names: Mapping[int, str], layout: Layout) -> None:
    """What a layout wants beside the results.

    Source: Brain Imaging Data Structure 1.9.0, "Derivatives" and "Segmentations".
    """
    if layout != "bids":
        return
    facts = {
        "Name": "Segmentations by dpcenet, for research only",
        "BIDSVersion": "1.9.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "dpcenet", "Version": __version__}],
    }
    write_json(out / "dataset_description.json", facts)
    rows = ["index\tname", "0\tbackground", *(f"{v}\t{name}" for v, name in names.items())]
    write_text(out / "dseg.tsv", "\n".join(rows) + "\n")
    write_text(out / ".bidsignore", "\n".join(_IGNORED) + "\n")


def _bids(name: Path, ending: str) -> Path:
    """A name of BIDS derivatives; a scan that has none of BIDS becomes a subject of its own."""
    parts = name.name.split("_")
    if not re.fullmatch(r"sub-[A-Za-z0-9]+", parts[0]):
        subject = f"sub-{_alnum(name.as_posix())}"
        return Path(subject, "anat", f"{subject}_desc-dpcenet_{ending}")
    entities = [part for part in parts if "-" in part and not part.startswith("desc-")]
    # T1w and T2w of one subject must not get one name.
    contrast = "" if "-" in parts[-1] else _alnum(parts[-1])
    folder = name.parent
    if not any(part == parts[0] for part in folder.parts):
        session = [part for part in entities if part.startswith("ses-")]
        folder = folder.joinpath(parts[0], *session, "anat")
    return folder / "_".join([*entities, f"desc-dpcenet{contrast}", ending])


def _alnum(text: str) -> str:
    """Letters and digits of a text, as BIDS allows them in labels.

    Letters of other scripts cannot stand there: a number that is made of the whole text takes
    their place, so that two patients do not become one.
    """
    kept = re.sub(r"[^A-Za-z0-9]", "", text)
    if kept and text.isascii():
        return kept
    return kept + hash_of(unicodedata.normalize("NFC", text))[:_DIGITS]


class Named(NamedTuple):
    """A scan: the name of its results, the folder in which it lies, and the kind of its file."""

    name: Path
    folder: Path
    kind: str


def distinct(scans: Sequence[Named]) -> list[Path]:
    """A name for each scan; where two are alike, what tells their folders apart goes in front.

    So x/a.nii.gz and y/a.nii.gz give x/a and y/a, and two files of one folder get their kind.
    """
    alike: dict[Path, list[int]] = {}
    for number, scan in enumerate(scans):
        alike.setdefault(scan.name, []).append(number)
    names = [scan.name for scan in scans]
    for same in (numbers for numbers in alike.values() if len(numbers) > 1):
        places = [Path(os.path.normpath(scans[number].folder.absolute())) for number in same]
        common = os.path.commonpath(places)
        for number, place in zip(same, places, strict=True):
            names[number] = place.relative_to(common) / names[number].name
    taken: set[Path] = set()
    for number, name in enumerate(names):
        names[number] = _free(name, scans[number].kind, taken)
        taken.add(names[number])
    return names


def _free(name: Path, kind: str, taken: set[Path]) -> Path:
    """The name, with the kind of the file or a number behind it where it is taken."""
    tried, count = name, 1
    if tried in taken and kind:
        tried = name.with_name(f"{name.name}_{kind}")
    while tried in taken:
        count += 1
        tried = name.with_name(f"{name.name}_{count}")
    return tried
