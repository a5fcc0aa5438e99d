"""Superpixels: the 2-D regions that stand in for organ labels during training.

Source: Ouyang et al., "Self-supervision with superpixels" (SSL-ALPNet, ECCV 2020).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from skimage.segmentation import felzenszwalb

from dpcenet.data.pseudo_labels.body import body_mask, contiguous_ids, to_byte_range

BODY_THRESHOLDS = {"mr": 10.0, "ct": 1e-4}
"""Body starts above this intensity, on the 0…255 scale of the scan."""


def superpixels(
    image: npt.NDArray[np.float32],
    modality: Literal["mr", "ct"],
    *,
    min_size: int = 400,
    sigma: float = 1.0,
    scale: float = 1.0,
    threshold: float | None = None,
) -> npt.NDArray[np.int32]:
    """Partition the body in each slice into superpixels.

    Args:
        image: (Z, Y, X) float32 intensities, as preprocessed and before normalisation: MR clipped
            at the top, CT on 0…255.
        modality: chooses the default threshold.
        min_size: pixels of the smallest segment, before what lies outside the body is cut off.
        sigma: standard deviation of the Gaussian smoothing beforehand, in pixels.
        scale: preference for large segments, as in `skimage.segmentation.felzenszwalb`.
        threshold: body is above this intensity of the image. By default `BODY_THRESHOLDS` of
            the scan's range.

    Returns:
        (Z, Y, X) int32. In each slice ids 1…K, every one in use; 0 outside the body.

    Raises:
        VolumeError: the image holds NaN or infinity.

    Deviates: officially an MR body is above 50, whatever the unit: 1 % of the range of one scan
        and 17 % of another's. Ten of 255, the official rule of the supervoxels, finds the same
        body in any unit. Officially what segment 0 holds inside the body is lost, and one id of
        each slice has no pixel.
    """
    byte_range = to_byte_range(image)
    if threshold is None:
        body = body_mask(byte_range, BODY_THRESHOLDS[modality])
    else:
        body = body_mask(image, threshold)
    slices = [
        felzenszwalb(plane, scale=scale, sigma=sigma, min_size=min_size, channel_axis=None)
        for plane in image.astype(np.float64)
    ]
    return np.stack(
        [
            contiguous_ids(np.where(inside, ids + 1, 0))
            for ids, inside in zip(slices, body, strict=True)
        ]
    )
