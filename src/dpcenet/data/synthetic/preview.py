"""A contact sheet of pairs or episodes: the quickest way to judge a generator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from dpcenet.data.synthetic.episodes import Episodes
from dpcenet.data.synthetic.pairs import Pairs
from dpcenet.system.files import write_atomically

_RED = np.array([255.0, 40.0, 40.0])


def contact_sheet(batch: Episodes | Pairs, columns: int = 8) -> npt.NDArray[np.uint8]:
    """An RGB picture: each tile is support, support and mask, query, query and mask.

    The mask is that of the first target; of episodes the first support is shown.
    """
    episodes = batch if isinstance(batch, Episodes) else batch.episodes()
    shown = (episodes.support_images, episodes.query_images)
    masks = (episodes.support_masks[:, 0, 0], episodes.query_masks[:, 0])
    tiles = [
        np.concatenate(
            [
                _shown(images[i, 0], mask)
                for images, of_target in zip(shown, masks, strict=True)
                for mask in (None, of_target[i])
            ]
        )
        for i in range(len(episodes.query_images))
    ]
    blank = np.zeros_like(tiles[0])
    tiles += [blank] * (-len(tiles) % columns)
    rows = [np.concatenate(tiles[i : i + columns], 1) for i in range(0, len(tiles), columns)]
    return np.concatenate(rows)


def save_contact_sheet(batch: Episodes | Pairs, path: Path, columns: int = 8) -> None:
    """Writes `contact_sheet` as a PNG."""
    sheet = Image.fromarray(contact_sheet(batch, columns))
    write_atomically(path, lambda temporary: sheet.save(temporary, format="PNG"))


def _shown(image: Tensor, mask: Tensor | None) -> npt.NDArray[np.uint8]:
    grey = np.clip((image.cpu().numpy() + 1.5) / 5, 0, 1) * 255
    picture = np.repeat(grey[..., None], 3, -1)
    if mask is not None:
        picture = np.where(mask.cpu().numpy()[..., None] > 0, 0.5 * picture + 0.5 * _RED, picture)
    return picture.astype(np.uint8)
