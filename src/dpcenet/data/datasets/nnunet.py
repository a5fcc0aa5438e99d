"""nnU-Net's raw layout: dataset.json, imagesTr/NAME_0000 with labelsTr/NAME, imagesTs/NAME_0000."""

from __future__ import annotations

from dpcenet.data.datasets.dataset_json import find
from dpcenet.data.datasets.spec import DatasetSpec

SPEC = DatasetSpec(
    name="nnunet",
    title="a data set in nnU-Net's raw layout",
    find=find,
    citation="Isensee et al., nnU-Net, Nature Methods 18 (2021) 203-211 (the layout)",
    address="https://github.com/MIC-DKFZ/nnUNet",
)
