"""nnU-Net's raw layout: dataset.json, imagesTr/NAME_0000 with labelsTr/NAME, imagesTs/NAME_0000."""

from __future__ import annotations

from pathlib import Path

from dpcenet.data.datasets.spec import DatasetSpec, SourceCase, SourceFolder, modality_of
from dpcenet.errors import DatasetError
from dpcenet.system.files import read_json
from dpcenet.volumes.io import SUFFIXES, stem


def scans(folder: Path) -> list[Path]:
    """Files with a known ending, in order; hidden ones are left out."""
    if not folder.is_dir():
        return []
    return sorted(
        path
        for path in folder.iterdir()
        if path.name.endswith(tuple(SUFFIXES)) and not path.name.startswith(".")
    )


def find(folder: Path) -> SourceFolder:
    """Labelled training scans, and test scans without labels.

    Raises:
        DatasetError: dataset.json is missing or of another kind, or the scans have channels.
    """
    path = folder / "dataset.json"
    try:
        facts = read_json(path, error=DatasetError)
        channels = dict(facts["channel_names"])
        labels = {int(v): str(k) for k, v in facts["labels"].items() if int(v) != 0}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DatasetError(
            f"{path}: not nnU-Net's dataset.json ({error!r}); it needs channel_names and labels"
        ) from error
    modality = modality_of(channels, path)
    truth = {stem(file): file for file in scans(folder / "labelsTr")}
    cases = []
    for part in ("imagesTr", "imagesTs"):
        for file in scans(folder / part):
            name = stem(file).removesuffix("_0000")
            cases.append(SourceCase(name, file, truth.get(name) if part == "imagesTr" else None))
    stray = sorted(set(truth) - {case.name for case in cases})
    if stray:
        raise DatasetError(f"{folder}: label without image: {', '.join(stray)}")
    return SourceFolder(tuple(cases), labels, modality)


SPEC = DatasetSpec(
    name="nnunet",
    title="a data set in nnU-Net's raw layout",
    find=find,
    citation="Isensee et al., nnU-Net, Nature Methods 18 (2021) 203-211 (the layout)",
    address="https://github.com/MIC-DKFZ/nnUNet",
)
