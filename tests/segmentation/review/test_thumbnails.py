"""Pictures of masks."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from dpcenet.segmentation.review.thumbnails import picture


def test_the_picture_shows_the_largest_slice_with_its_outline() -> None:
    image = np.zeros((3, 32, 32), np.float32)
    image[1] = np.linspace(-1, 1, 32)[:, None]
    mask = np.zeros(image.shape, bool)
    mask[0, 4:6, 4:6] = mask[1, 8:24, 8:24] = True
    content = base64.b64decode(picture(image, mask).split(",")[1])
    pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)
    assert pixels.shape == (32, 32, 3)
    blueness = pixels[..., 2] - pixels[..., 0]
    assert blueness[8, 16] > 100 and blueness[16, 8] > 100  # on the outline
    assert 20 < blueness[16, 16] < 100  # inside
    assert abs(blueness[2, 2]) < 20 and abs(blueness[29, 16]) < 20  # outside
    assert pixels[29, 2].mean() > pixels[2, 2].mean() + 150  # the ramp of slice 1
