"""Medical Segmentation Decathlon: a task folder with dataset.json, imagesTr, labelsTr, imagesTs."""

from __future__ import annotations

from pathlib import Path

from dpcenet.data.datasets.spec import DatasetSpec, SourceCase, SourceFolder, modality_of
from dpcenet.errors import DatasetError
from dpcenet.system.files import read_json
from dpcenet.volumes.io import stem


def find(folder: Path) -> SourceFolder:
    """The scans that dataset.json lists, those for testing without labels.

    Raises:
        DatasetError: dataset.json is missing or of another kind, or the scans have channels.
    """
    path = folder / "dataset.json"
    try:
        facts = read_json(path, error=DatasetError)
        channels = dict(facts["modality"])
        labels = {int(k): str(v) for k, v in facts["labels"].items() if int(k) != 0}
        pairs = [(folder / pair["image"], folder / pair["label"]) for pair in facts["training"]]
        alone = [folder / image for image in facts.get("test", [])]
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DatasetError(
            f"{path}: not a Decathlon dataset.json ({error!r}); "
            "it needs modality, labels and training"
        ) from error
    modality = modality_of(channels, path)
    cases = [SourceCase(stem(image), image, label) for image, label in pairs]
    cases += [SourceCase(stem(image), image, None) for image in alone if image.is_file()]
    return SourceFolder(tuple(sorted(cases, key=lambda case: case.name)), labels, modality)


SPEC = DatasetSpec(
    name="msd",
    title="a task of the Medical Segmentation Decathlon",
    find=find,
    licence="CC BY-SA 4.0",
    citation="Antonelli et al., Nature Communications 13 (2022) 4128",
    address="http://medicaldecathlon.com",
)
