"""Square windows of images, each with its own centre, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dpcenet.inference.batched import encode_slices, predict
from dpcenet.inference.encoded import Encoded
from dpcenet.inference.predictor import Asked
from dpcenet.methods.base import Job, Method, SecondLook
from dpcenet.system.device import Precision
from dpcenet.types import Features


@dataclass(frozen=True)
class Windows:
    """B square windows, in pixels of the images that they look at.

    Attributes:
        centres: (B, 2) float, y and x.
        half: half of their side, the same for all.
    """

    centres: Tensor
    half: float

    def cut(self, images: Tensor, size: int) -> Tensor:
        """What the windows show of images (B, C, H, W), bilinear: (B, C, size, size).

        Outside an image its border goes on.
        """
        axis = self.half * ((torch.arange(size, device=images.device) * 2 + 1) / size - 1)
        y, x = (self.centres[:, i, None] + axis for i in (0, 1))
        grid = _unit_grid(y, x, images.shape[-2], images.shape[-1])
        return F.grid_sample(images, grid, padding_mode="border", align_corners=False)

    def paste(self, windows: Tensor, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Windows (B, s, s) back in images of `shape`: their values (B, H, W), and where they lie.

        Values are 0 outside the window, where the second tensor is False.
        """
        y, x = (
            (torch.arange(n, device=windows.device) - self.centres[:, i, None]) / self.half
            for i, n in enumerate(shape)
        )
        grid = torch.stack([x[:, None].expand(-1, *shape), y[..., None].expand(-1, *shape)], -1)
        values = F.grid_sample(windows[:, None], grid, padding_mode="zeros", align_corners=False)
        return values[:, 0], (grid.abs() <= 1).all(dim=-1)


def _unit_grid(y: Tensor, x: Tensor, height: int, width: int) -> Tensor:
    """Pixel positions y (B, h) and x (B, w) as grid_sample wants them: (B, h, w, 2)."""
    shape = (len(y), y.shape[1], x.shape[1])
    unit_x = ((2 * x + 1) / width - 1)[:, None].expand(shape)
    unit_y = ((2 * y + 1) / height - 1)[..., None].expand(shape)
    return torch.stack([unit_x, unit_y], dim=-1)


def centre_and_spread(weights: Tensor) -> tuple[Tensor, Tensor]:
    """Centre of mass (B, 2) in pixels, and the larger of the deviations along y and x (B,).

    Args:
        weights: (B, H, W), not negative; where all are 0, the answer is 0.
    """
    total = weights.sum(dim=(1, 2)).clamp_min(1e-6)
    centres, spreads = [], []
    for axis, other in ((1, 2), (2, 1)):
        profile = weights.sum(dim=other)
        places = torch.arange(weights.shape[axis], dtype=weights.dtype, device=weights.device)
        centre = (profile * places).sum(dim=1) / total
        variance = (profile * (places - centre[:, None]) ** 2).sum(dim=1) / total
        centres.append(centre)
        spreads.append(variance.sqrt())
    return torch.stack(centres, dim=1), torch.maximum(*spreads)


def windows_around(
    masks: Tensor, first: Tensor, gain: float, least: float
) -> tuple[Windows, Windows] | None:
    """Windows around the supports' masks, and of the same size around what was found first.

    Args:
        masks: (Sh, H, W) of the supports.
        first: (N, H, W), probabilities found in the queries. Where nothing is found, the window
            lies as in the supports.
        gain: half of the side, in deviations of the largest mask.
        least: smallest half side in pixels.

    Returns:
        windows of the supports and of the queries; None where they would show nearly everything,
        or the masks are empty.
    """
    theirs, spread = centre_and_spread(masks)
    half = max(least, gain * float(spread.max()))
    if not bool(masks.any()) or half > 0.45 * max(masks.shape[-2:]):
        return None
    shown = masks.flatten(1).any(dim=1)
    middle = theirs[shown].mean(dim=0)
    ours, _ = centre_and_spread(first * (first > 0.3))
    found = first.flatten(1).amax(dim=1) >= 0.5
    centres = torch.where(found[:, None], ours, middle)
    supports = torch.where(shown[:, None], theirs, middle)
    return Windows(supports, half), Windows(centres, half)


@torch.no_grad()
def look_again(
    method: Method,
    look: SecondLook,
    support: Encoded,
    query: Encoded,
    asked: Sequence[Asked],
    masks: Sequence[Tensor],
    first: Sequence[Tensor],
    precision: Precision,
) -> list[Tensor]:
    """Segment once more through windows around the organ; the mean of both answers inside them.

    The window of a query lies where the organ was found first.

    Args:
        look: size of the windows.
        asked: labels, and which support slices serve which query slices.
        masks: (Sh, H, W) of each task's support slices.
        first: of each task, the probabilities (N, H, W) found in its query slices.

    Returns:
        (N, H, W) of each task.
    """
    found = list(first)
    windows = {
        i: pair
        for i, (shown, seen) in enumerate(zip(masks, first, strict=True))
        if (pair := windows_around(shown, seen, look.gain, look.least)) is not None
    }
    cuts = [
        pair[1].cut(query.images[list(asked[i][1].query)], look.size) for i, pair in windows.items()
    ]
    ours = _encode_parts(method, cuts, precision)
    if support.closeups is not None:  # kept in place of a scan's images
        kept = support.closeups
        theirs = [
            kept.of(asked[i][0], list(asked[i][1].support), pair[0].half)
            for i, pair in windows.items()
        ]
    else:
        cuts = [
            pair[0].cut(support.images[list(asked[i][1].support)], look.size)
            for i, pair in windows.items()
        ]
        theirs = _encode_parts(method, cuts, precision)
    small = [
        (pair[0].cut(masks[i][:, None], look.size)[:, 0] > 0.5).float()
        for i, pair in windows.items()
    ]
    second = predict(method, [Job(*job) for job in zip(theirs, small, ours, strict=True)])
    for (i, pair), closer in zip(windows.items(), second, strict=True):
        back, inside = pair[1].paste(closer, (first[i].shape[-2], first[i].shape[-1]))
        found[i] = torch.where(inside, (back + first[i]) / 2, first[i])
    return found


def _encode_parts(method: Method, parts: Sequence[Tensor], precision: Precision) -> list[Features]:
    """Features of each part, all of them encoded in common batches."""
    if not parts:
        return []
    whole = encode_slices(method, torch.cat(list(parts)), precision)
    stops = np.cumsum([len(part) for part in parts]).tolist()
    return [
        whole.rows(slice(stop - len(part), stop)) for part, stop in zip(parts, stops, strict=True)
    ]
