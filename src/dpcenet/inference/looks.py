"""Looks: a method segments whole slices, and then once more through windows around the organ.

At the second look a small organ fills more of the network's input. What was found first says where
the window of the query lies; the support's mask says how large it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from dpcenet.inference.encoded import BATCH, EncodedScan, encode_parts, encode_slices, predict
from dpcenet.inference.support import (
    LabelledScan,
    SliceTask,
    SupportSlice,
    features_of,
    images_of,
    masks_of,
    windows_held,
    windows_of,
)
from dpcenet.methods.base import MatchJob, Method, SecondLook
from dpcenet.system.device import Precision
from dpcenet.types import Features

GROUP = 4 * BATCH  # slices of small tasks that are segmented together


@dataclass(frozen=True)
class FirstAnswer:
    """What was found of one label at first look.

    Attributes:
        value: of the label.
        task: its support slices and query slices.
        masks: (Sh, H, W) float of the support slices.
        probability: (N, H, W) of the query slices.
    """

    value: int
    task: SliceTask
    masks: Tensor
    probability: Tensor


def first_answers(
    method: Method,
    scans: Sequence[LabelledScan],
    query: EncodedScan,
    group: Sequence[tuple[int, SliceTask]],
    precision: Precision,
) -> list[FirstAnswer]:
    """What is found of each label.

    Args:
        method: with a trained network.
        scans: the labelled scans, which the tasks name by number.
        query: the scan that is segmented.
        group: labels and their tasks, which are computed together.
        precision: in which the method computes.
    """
    masks = [masks_of(scans, task.support, value) for value, task in group]
    # The same objects for the same slices: by them a method knows what it computed before.
    ours = {task.support: features_of(scans, task.support) for _, task in group}
    theirs = {task.query: query.features_of(task.query) for _, task in group}
    jobs = [
        MatchJob(ours[task.support], mask, theirs[task.query])
        for (_, task), mask in zip(group, masks, strict=True)
    ]
    found = zip(group, masks, predict(method, jobs, precision), strict=True)
    return [FirstAnswer(value, task, mask, one) for (value, task), mask, one in found]


def reach_of(method: Method, volume: bool) -> int:
    """How many slices on either side of a labelled one help it.

    Args:
        method: with a trained network.
        volume: whether answers make up a volume, in which the query's own slices help instead.
    """
    return 0 if volume else method.neighbours


def pieces(task: SliceTask) -> list[SliceTask]:
    """The task in parts of at most `GROUP` query slices: one slice may serve hundreds of them."""
    first = range(0, len(task.query), GROUP)
    return [replace(task, query=task.query[start : start + GROUP]) for start in first]


def in_groups(every: Iterable[tuple[int, SliceTask]]) -> Iterator[list[tuple[int, SliceTask]]]:
    """Labels' tasks that together fill a batch; those of the same slices follow each other."""
    group: list[tuple[int, SliceTask]] = []
    for one in sorted(every, key=lambda one: (one[1].query, one[1].support)):
        group.append(one)
        if sum(len(task.query) for _, task in group) >= GROUP:
            yield group
            group = []
    if group:
        yield group


_Window = tuple[SupportSlice, float, float, float]  # half a side, and the centre's y and x


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


@dataclass(frozen=True)
class WindowPair:
    """Windows of the same size around the supports' masks and around what was found first."""

    support: Windows
    query: Windows


def windows_around(masks: Tensor, first: Tensor, look: SecondLook) -> WindowPair | None:
    """Windows around the supports' masks, and of the same size around what was found first.

    Args:
        masks: (Sh, H, W) of the supports.
        first: (N, H, W), probabilities found in the queries. Where nothing is found, the window
            lies as in the supports.
        look: size of the windows.

    Returns:
        the windows; None where they would show nearly everything, or the masks are empty.
    """
    theirs, spread = centre_and_spread(masks)
    half = max(look.min_half, look.gain * float(spread.max()))
    if not bool(masks.any()) or half > 0.45 * max(masks.shape[-2:]):
        return None
    shown = masks.flatten(1).any(dim=1)
    middle = theirs[shown].mean(dim=0)
    ours, _ = centre_and_spread(first * (first > 0.3))
    found = first.flatten(1).amax(dim=1) >= 0.5
    centres = torch.where(found[:, None], ours, middle)
    supports = torch.where(shown[:, None], theirs, middle)
    return WindowPair(Windows(supports, half), Windows(centres, half))


@torch.no_grad()
def refine_in_windows(
    method: Method,
    look: SecondLook,
    support: Sequence[LabelledScan],
    query: EncodedScan,
    answers: Sequence[FirstAnswer],
    precision: Precision,
) -> list[Tensor]:
    """Segment once more through windows around the organ; the mean of both answers inside them.

    Args:
        method: with a trained network.
        look: size of the windows.
        support: the labelled scans, which the tasks name by number.
        query: the scan that is segmented.
        answers: of the first look.
        precision: of the trunk.

    Returns:
        probabilities (N, H, W) of each answer.
    """
    refined = [answer.probability for answer in answers]
    framed = [
        (i, answer, pair)
        for i, answer in enumerate(answers)
        if (pair := windows_around(answer.masks, answer.probability, look)) is not None
        and windows_held(support, answer.task.support, answer.value, pair.support.half)
    ]
    if not framed:
        return refined
    cuts = [p.query.cut(query.images[list(a.task.query)], look.size) for _, a, p in framed]
    theirs = encode_parts(method, cuts, precision)
    ours = _support_features(method, look, support, framed, precision)
    masks = [(p.support.cut(a.masks[:, None], look.size)[:, 0] > 0.5).float() for _, a, p in framed]
    jobs = [MatchJob(*job) for job in zip(ours, masks, theirs, strict=True)]
    for (i, answer, pair), closer in zip(framed, predict(method, jobs, precision), strict=True):
        first = answer.probability
        again, inside = pair.query.paste(closer, (first.shape[-2], first.shape[-1]))
        refined[i] = torch.where(inside, (again + first) / 2, first)
    return refined


def _support_features(
    method: Method,
    look: SecondLook,
    support: Sequence[LabelledScan],
    framed: Sequence[tuple[int, FirstAnswer, WindowPair]],
    precision: Precision,
) -> list[Features]:
    """Features of the supports' windows: encoded now, or kept in place of a scan's images."""
    if support[0].slices.windows is not None:
        return [windows_of(support, a.task.support, a.value, p.support.half) for _, a, p in framed]
    names = [_names(answer.task.support, pair.support) for _, answer, pair in framed]
    # A window that serves several slices of the query, or several labels, is encoded once.
    rows = {
        name: n for n, name in enumerate(dict.fromkeys(name for each in names for name in each))
    }
    cuts = []
    for shown, half, y, x in rows:
        image = images_of(support, [shown])
        cuts.append(Windows(image.new_tensor([[y, x]]), half).cut(image, look.size))
    features = encode_slices(method, torch.cat(cuts), precision)
    return [features.rows([rows[name] for name in each]) for each in names]


def _names(slices: Sequence[SupportSlice], windows: Windows) -> list[_Window]:
    """What tells each slice's window from others."""
    places = windows.centres.tolist()
    return [(shown, windows.half, y, x) for shown, (y, x) in zip(slices, places, strict=True)]
