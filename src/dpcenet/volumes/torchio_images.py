"""TorchIO's images and subjects as volumes, and masks as its label maps.

TorchIO is no dependency: whoever has one of its objects has imported it. Its images are
(C, X, Y, Z), with an affine to RAS+ mm.
"""

from __future__ import annotations

import sys
from copy import copy
from typing import Any, Protocol, TypeGuard

import numpy as np
import torch

from dpcenet.errors import VolumeError
from dpcenet.system.words import counted
from dpcenet.types import Volume

RESULT = "segmentation"
"""What the label map is called in a subject that was segmented."""


class TorchIO(Protocol):
    """An image or a subject of TorchIO, by what both can do, for type checkers."""

    def plot(self, *args: Any, **options: Any) -> Any: ...
    def unload(self) -> None: ...


def is_torchio(scan: object) -> TypeGuard[TorchIO]:
    """Whether it is an image or a subject of TorchIO."""
    torchio = sys.modules.get("torchio")
    return torchio is not None and isinstance(scan, torchio.Image | torchio.Subject)


def scan_volume(scan: Any) -> Volume:
    """The scan: an image, or the one intensity image of a subject.

    Raises:
        VolumeError: there is none, or more than one.
    """
    return _volume(_only(scan, "ScalarImage"))


def label_volume(mask: Any) -> Volume:
    """The labels: an image, or the one label map of a subject.

    Raises:
        VolumeError: there is none, or more than one.
    """
    return _volume(_only(mask, "LabelMap"))


def with_mask(mask: Volume, scan: Any) -> Any:
    """A mask (Z, Y, X) on the grid of `scan`: a label map, or a copy of the subject that has one.

    Numbers with a fraction become a ScalarImage, as TorchIO resamples label maps to the nearest.
    """
    torchio = sys.modules["torchio"]
    kind = torchio.ScalarImage if mask.data.dtype.kind == "f" else torchio.LabelMap
    data = torch.from_numpy(np.ascontiguousarray(mask.data.transpose()))
    made = kind(tensor=data[None], affine=_only(scan, "ScalarImage").affine)
    if isinstance(scan, torchio.Image):
        return made
    subject = copy(scan)
    subject.add_image(made, RESULT)
    return subject


def _only(scan: Any, kind: str) -> Any:
    """An image itself, or the one image of that kind in a subject."""
    torchio = sys.modules["torchio"]
    if isinstance(scan, torchio.Image):
        return scan
    wanted = getattr(torchio, kind)
    images = scan.get_images_dict(intensity_only=False)
    found = {name: image for name, image in images.items() if isinstance(image, wanted)}
    if len(found) != 1:
        names = f"{counted(len(found), 'image')} of kind {kind}: {', '.join(found) or 'none'}"
        raise VolumeError("the subject", names, "one", "Give the image itself, as subject['name'].")
    (image,) = found.values()
    return image


def _volume(image: Any) -> Volume:
    data = image.data.detach().cpu().numpy()
    if len(data) != 1:
        found = f"the image has {counted(len(data), 'channel')}"
        raise VolumeError("the image", found, "one", "Take one channel of it.")
    affine = np.asarray(image.affine, dtype=np.float64)
    return Volume(data[0].transpose(), affine[:, [2, 1, 0, 3]])
