"""Few-shot medical image segmentation: label one scan, segment the rest.

    import dpcenet
    mask = dpcenet.segment("scan.nii.gz", "labelled.nii.gz", "labels.nii.gz")
    result = dpcenet.predict("scan.nii.gz", "labelled.nii.gz", "labels.nii.gz")

`dir(dpcenet)` lists what is meant to be used from Python. For research only; not a medical device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dpcenet.errors import (
        ConfigError,
        DatasetError,
        DpcenetError,
        InputError,
        NotAScanError,
        RunError,
        TaskError,
        VolumeError,
        WeightsError,
    )
    from dpcenet.inference.support import Support
    from dpcenet.segmentation.learning import learn
    from dpcenet.segmentation.predict import Result, predict, predict_with, segment
    from dpcenet.segmentation.review.quality import Quality
    from dpcenet.segmentation.segmenter import Segmenter
    from dpcenet.types import Volume
    from dpcenet.volumes.statistics import LabelStatistics

__version__ = "0.1.0"
__all__ = [
    "ConfigError",
    "DatasetError",
    "DpcenetError",
    "InputError",
    "LabelStatistics",
    "NotAScanError",
    "Quality",
    "Result",
    "RunError",
    "Segmenter",
    "Support",
    "TaskError",
    "Volume",
    "VolumeError",
    "WeightsError",
    "__version__",
    "learn",
    "predict",
    "predict_with",
    "segment",
]

_MODULES = {
    "LabelStatistics": "volumes.statistics",
    "Quality": "segmentation.review.quality",
    "Result": "segmentation.predict",
    "Segmenter": "segmentation.segmenter",
    "Support": "inference.support",
    "Volume": "types",
    "learn": "segmentation.learning",
    "predict": "segmentation.predict",
    "predict_with": "segmentation.predict",
    "segment": "segmentation.predict",
}


def __getattr__(name: str) -> Any:
    """Import on first use: torch alone takes more than a second."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    module = importlib.import_module(f"dpcenet.{_MODULES.get(name, 'errors')}")
    return getattr(module, name)


def __dir__() -> list[str]:
    """What is meant to be used."""
    return __all__
