"""Every data set that `dpcenet prepare --dataset` knows."""

from __future__ import annotations

from dpcenet.data.datasets import acdc, chaost2, cmr, folder, lineage, msd, nnunet, sabs
from dpcenet.data.datasets.spec import DatasetSpec
from dpcenet.errors import ConfigError

DATASETS: dict[str, DatasetSpec] = {
    "chaost2": chaost2.SPEC,
    "sabs": sabs.SPEC,
    "cmr": cmr.SPEC,
    "acdc": acdc.SPEC,
    "nnunet": nnunet.SPEC,
    "msd": msd.SPEC,
    "folder": folder.SPEC,
    "lineage": lineage.SPEC,
    "chaost2-lineage": lineage.CHAOST2,
    "sabs-lineage": lineage.SABS,
    "cmr-lineage": lineage.CMR,
}


def dataset_spec(name: str) -> DatasetSpec:
    """The data set of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in DATASETS:
        raise ConfigError(f"--dataset {name}: choose one of {', '.join(DATASETS)}")
    return DATASETS[name]
