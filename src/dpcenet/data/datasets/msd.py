"""Medical Segmentation Decathlon: a task folder with dataset.json, imagesTr, labelsTr, imagesTs."""

from __future__ import annotations

from dpcenet.data.datasets.dataset_json import find
from dpcenet.data.datasets.spec import DatasetSpec

SPEC = DatasetSpec(
    name="msd",
    title="a task of the Medical Segmentation Decathlon",
    find=find,
    licence="CC BY-SA 4.0",
    citation="Antonelli et al., Nature Communications 13 (2022) 4128",
    address="http://medicaldecathlon.com",
)
