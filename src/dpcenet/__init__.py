"""Few-shot medical image segmentation: label one scan, segment the rest.

    import dpcenet
    mask = dpcenet.segment("scan.nii.gz", "labelled.nii.gz", "labels.nii.gz", run="runs/mine")

For research only; not a medical device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dpcenet.segmentation.segmenter import Segmenter, segment
    from dpcenet.types import Volume

__version__ = "0.1.0"
__all__ = ["Segmenter", "Volume", "__version__", "segment"]


def __getattr__(name: str) -> Any:
    """Import on first use: torch alone takes more than a second."""
    if name in {"Segmenter", "segment"}:
        import importlib

        return getattr(importlib.import_module("dpcenet.segmentation.segmenter"), name)
    if name == "Volume":
        from dpcenet.types import Volume

        return Volume
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
