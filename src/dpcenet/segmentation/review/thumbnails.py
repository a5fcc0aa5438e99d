"""Small pictures of masks, as data addresses that an <img> shows."""

from __future__ import annotations

import base64
import io

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from dpcenet.volumes.metrics import Mask

COLOUR = np.array([0.0, 194.0, 255.0])  # of a mask
SHARE = 0.25  # of the colour inside an outline


def picture(image: npt.NDArray[np.float32], mask: Mask) -> str:
    """The slice (of Z, H, W) with the largest mask, the mask in colour with an outline."""
    z = int(mask.sum(axis=(1, 2)).argmax())
    low, high = np.percentile(image[z], (1, 99.5))
    grey = np.clip((image[z] - low) / max(float(high - low), 1e-6), 0, 1) * 255
    outline = mask[z] & ~ndimage.binary_erosion(mask[z])
    colour = np.where(outline, 1.0, np.where(mask[z], SHARE, 0.0))[..., None]
    pixels = (1 - colour) * grey[..., None] + colour * COLOUR
    stream = io.BytesIO()
    Image.fromarray(pixels.round().astype(np.uint8)).save(stream, format="JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
