"""A contact sheet of pairs: the quickest way to judge a generator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from dpcenet.data.synthetic.pairs import Pairs

_RED = np.array([255.0, 40.0, 40.0])


def contact_sheet(pairs: Pairs, columns: int = 8) -> npt.NDArray[np.uint8]:
    """An RGB picture: each tile is support, support and mask, query, query and mask.

    The mask is that of the pair's first target.
    """
    tiles = [
        np.concatenate(
            [
                _shown(pairs.support_images[i, 0], None),
                _shown(pairs.support_images[i, 0], pairs.support_masks[i, 0]),
                _shown(pairs.query_images[i, 0], None),
                _shown(pairs.query_images[i, 0], pairs.query_masks[i, 0]),
            ]
        )
        for i in range(len(pairs.targets))
    ]
    blank = np.zeros_like(tiles[0])
    tiles += [blank] * (-len(tiles) % columns)
    rows = [np.concatenate(tiles[i : i + columns], 1) for i in range(0, len(tiles), columns)]
    return np.concatenate(rows)


def save_contact_sheet(pairs: Pairs, path: Path, columns: int = 8) -> None:
    """Writes `contact_sheet` as a PNG."""
    Image.fromarray(contact_sheet(pairs, columns)).save(path)


def _shown(image: Tensor, mask: Tensor | None) -> npt.NDArray[np.uint8]:
    grey = np.clip((image.cpu().numpy() + 1.5) / 5, 0, 1) * 255
    picture = np.repeat(grey[..., None], 3, -1)
    if mask is not None:
        picture = np.where(mask.cpu().numpy()[..., None] > 0, 0.5 * picture + 0.5 * _RED, picture)
    return picture.astype(np.uint8)
