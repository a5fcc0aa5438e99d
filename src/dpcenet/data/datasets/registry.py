"""Every data set that `dpcenet prepare --dataset` knows, and those of other packages.

Another package offers a data set by an entry point of the group `dpcenet.datasets` that names a
`DatasetSpec`; see docs/plugins.md. A name of this file always means the data set of this file.
"""

from __future__ import annotations

from dpcenet.data.datasets import acdc, chaost2, cmr, folder, lineage, msd, nnunet, sabs
from dpcenet.data.datasets.spec import DatasetSpec
from dpcenet.errors import ConfigError
from dpcenet.system import plugins

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
        ConfigError: there is none, or its package cannot be loaded.
    """
    if name in DATASETS:
        return DATASETS[name]
    others = plugins.offered(plugins.DATASETS)
    if name not in others:
        raise ConfigError(f"--dataset {name}: choose one of {', '.join([*DATASETS, *others])}")
    return plugins.load(others[name], DatasetSpec)
