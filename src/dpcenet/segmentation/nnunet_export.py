"""`dpcenet export nnunet`: accepted masks become the training set of an nnU-Net."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dpcenet.errors import ConfigError, DatasetError, InputError
from dpcenet.segmentation.accepted import Accepted, FoundMask, accepted_masks
from dpcenet.system.faults import out_of_space
from dpcenet.system.files import whole_folder
from dpcenet.system.progress import progress_bar
from dpcenet.system.words import counted
from dpcenet.types import Volume
from dpcenet.volumes.adapters import open_labelled, open_scan
from dpcenet.volumes.label_names import plain_name, renumbered
from dpcenet.volumes.mask_checks import check_mask
from dpcenet.volumes.mask_files import MaskFile
from dpcenet.volumes.nnunet_raw import case_name, write_case, write_dataset
from dpcenet.volumes.scan_file import ScanFile

FEWEST = 2  # cases that nnU-Net can train on at all


@dataclass(frozen=True)
class Exported:
    """A data set that was written.

    Attributes:
        folder: of the data set.
        labels: names, the first one is label 1.
        cases: how many.
        left_out: results that are not in it, with the reason.
    """

    folder: Path
    labels: tuple[str, ...]
    cases: int
    left_out: dict[str, str]


def export_nnunet(
    reviewed: Path,
    root: Path,
    number: int,
    title: str = "dpcenet",
    labelled: Sequence[tuple[Path, MaskFile]] = (),
    also_look: bool = False,
) -> Exported:
    """Write a raw data set for nnU-Net.

    Args:
        reviewed: folder of results; see `accepted_masks`.
        root: nnU-Net's folder of raw data sets.
        number: of the data set.
        title: of the data set.
        labelled: scans and masks that a person made, which go along.
        also_look: results that the review wants looked at go along, too.

    Raises:
        ConfigError: the data set is there already, or results disagree about a label's name.
        DatasetError: there are too few accepted cases.
        OSError: the disk is full; nothing is left of the data set.
    """
    folder = root / f"Dataset{number:03d}_{title}"
    if folder.exists():
        raise ConfigError(f"{folder}: is there already; choose another --dataset, or delete it")
    accepted = accepted_masks(reviewed, also_look)
    if len(accepted.masks) + len(labelled) < FEWEST:
        reasons = "".join(f"\n  {name}: {why}" for name, why in accepted.left_out.items())
        raise DatasetError(
            f"{reviewed}: {counted(len(accepted.masks), 'accepted mask')}, and nnU-Net needs "
            f"{FEWEST} cases; correct some, or add --also-look{reasons}"
        )
    names = _names([found for found, _ in accepted.masks])
    modalities = [each.modality for each, _ in accepted.masks]
    with whole_folder(folder) as partial:
        taken = _write_labelled(partial, labelled, names)
        left_out = _write_accepted(partial, accepted, names, taken)
        write_dataset(partial, [*names.values()], len(taken), modalities)
    return Exported(folder, tuple(names.values()), len(taken), left_out)


def _write_accepted(
    folder: Path, accepted: Accepted, names: dict[int, str], taken: set[str]
) -> dict[str, str]:
    """Write the accepted masks with their scans, and add their names to `taken`.

    Returns:
        what is left out, with the reason.
    """
    left_out = dict(accepted.left_out)
    with progress_bar("export nnunet", len(accepted.masks)) as bar:
        for number, (each, query) in enumerate(accepted.masks, start=1):
            name = case_name(each.name)
            try:
                if name in taken:  # what a person drew stands
                    raise DatasetError("a scan of this name is in the data set already")
                scan = query.read()
                _write(folder, name, scan, open_labelled(each.mask, scan), names)
                taken.add(name)
            except (InputError, OSError) as error:
                if out_of_space(error):
                    raise
                left_out[each.name] = str(error)
            bar(number, each.name)
    return left_out


def _names(masks: Sequence[FoundMask]) -> dict[int, str]:
    """Label value → name, by value.

    Raises:
        ConfigError: two results call one value differently.
    """
    names: dict[int, str] = {}
    for each in masks:
        for value, name in each.names.items():
            if names.setdefault(value, name) != name:
                raise ConfigError(
                    f"{each.mask}: calls label {value} {name!r}, and another result "
                    f"{names[value]!r}; segment all of them with the same --name"
                )
    return dict(sorted(names.items()))


def _write_labelled(
    folder: Path, labelled: Sequence[tuple[Path, MaskFile]], names: dict[int, str]
) -> set[str]:
    """Write the scans that a person labelled; labels are known by their names, else by value.

    Returns:
        the names of the cases.
    """
    taken: set[str] = set()
    wanted = {plain_name(name): value for value, name in names.items()}
    for image, mask in labelled:
        scan = open_scan(image)
        stored = open_labelled(mask, scan)
        known = {v: plain_name(name) for v, name in stored.facts.labels.names.items()}
        table = {v: wanted[name] for v, name in known.items() if name in wanted}
        data = renumbered(stored.volume.data, table)
        truth = ScanFile(Volume(data, stored.volume.affine), stored.grid)
        name = case_name(image.name.partition(".")[0])
        while name in taken:
            name += "_2"
        _write(folder, name, scan, truth, names)
        taken.add(name)
    return taken


def _write(folder: Path, name: str, scan: ScanFile, mask: ScanFile, names: dict[int, str]) -> None:
    labels = check_mask(mask.volume, scan.volume, name).astype(np.uint8)
    write_case(folder, name, scan.volume.data, labels, [*names], scan.grid)
