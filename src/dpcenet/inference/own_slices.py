"""A slice is segmented once more by the query's own slices on either side.

These come from the same patient and the same scanner, and lie nearer than any slice of a labelled
scan: what was found in them serves as their label. Whole slices first, then windows around each
organ, in which a small one fills more of the network's input. What each gains: docs/log.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dpcenet.inference.encoded import EncodedScan, encode_slices, predict
from dpcenet.inference.looks import GROUP, Windows, centre_and_spread
from dpcenet.inference.support import LabelledScan, Labels, SliceTask, SupportSlice
from dpcenet.methods.base import MatchJob, Method, SecondLook
from dpcenet.system.device import Precision
from dpcenet.system.large_arrays import blocks, give_back, room_for
from dpcenet.volumes.boxes_and_values import Mask, above

Floats = npt.NDArray[np.float32]
ENOUGH_SHARED = 0.7
"""Dice of a label on neighbouring slices with each other, from which on these help each other more
than a second look at the labelled slices does; what was measured: docs/log.md."""
CLOSER, CLOSEST = 2.0, 3.0
"""How many times shorter the sides of windows are, where neighbouring slices share little: those of
the query's own slices, and then those of the labelled slices."""
LARGEST = 0.45  # half of a window's side at most, of a slice's
Helpers = dict[int, list[int]]
"""Query slice → the slices on either side in which the label was found."""


def labelled_by_itself(query: EncodedScan, found: Mapping[int, Floats]) -> LabelledScan:
    """The query as a labelled scan: each voxel has its likeliest label, if that exceeds one half.

    Args:
        query: the scan.
        found: label value → probability (Z, H, W).
    """
    return LabelledScan("the scan itself", query, likeliest_labels(found))


def likeliest_labels(found: Mapping[int, Floats]) -> Labels:
    """Label values (Z, H, W): of those above one half the likeliest, 0 where none is.

    Args:
        found: label value → probability (Z, H, W), of one label at least.
    """
    label: Labels = room_for(next(iter(found.values())).shape, np.uint8)
    for part in blocks(label):
        best = np.full_like(label[part], 0.5, np.float32)
        for value, probability in found.items():
            better = probability[part] > best
            label[part][better] = value
            np.maximum(best, probability[part], out=best)
            give_back(probability)
        give_back(label)
    return label


def shared_by_neighbours(found: Floats, slices: Sequence[int]) -> float:
    """Dice of a label on neighbouring slices with each other, over all of them; 0 if not found.

    Thin slices through a large organ share nearly all, thick ones through a ring of muscle little.

    Args:
        found: (Z, H, W), probability of the label.
        slices: those that were segmented, in order.
    """
    shared = both = 0
    before = found[slices[0]] > 0.5
    for z in range(slices[0] + 1, slices[-1] + 1):
        here = found[z] > 0.5
        shared += int(np.count_nonzero(here & before))
        both += int(np.count_nonzero(here) + np.count_nonzero(before))
        before = here
    give_back(found)
    return 2 * shared / both if both else 0.0


def helpers(shown: Mask, served: Sequence[int]) -> Helpers:
    """Which slices help which.

    Args:
        shown: (Z,) where the label was found.
        served: slices that are to be segmented.
    """
    near = {z: [n for n in (z - 1, z + 1) if 0 <= n < len(shown) and shown[n]] for z in served}
    return {z: slices for z, slices in near.items() if slices}


def own_tasks(label: Labels, value: int, served: Sequence[int]) -> list[SliceTask]:
    """The same as tasks, of a query that is labelled by itself."""
    shown = np.array([bool((plane == value).any()) for plane in label])
    give_back(label)
    near = helpers(shown, served)
    return [SliceTask(tuple(SupportSlice(0, n) for n in each), (z,)) for z, each in near.items()]


@dataclass(frozen=True)
class _Frame:
    """Windows of one size around a label, one for each slice in which it was found.

    Attributes:
        centres: slice → (1, 2) float, y and x in pixels.
        half: half of their side in pixels.
    """

    centres: Mapping[int, Tensor]
    half: float

    @staticmethod
    def around(mask: Mask, shown: Mask, look: SecondLook, device: torch.device) -> _Frame:
        """Around a label (Z, H, W) that was found in the slices `shown` (Z,)."""
        centres, widest = {}, 0.0
        for z in np.flatnonzero(shown).tolist():
            here = torch.from_numpy(mask[z : z + 1]).to(device).float()
            centres[z], spread = centre_and_spread(here)
            widest = max(widest, float(spread))
        half = max(look.min_half, look.gain * widest)
        return _Frame(centres, min(half, LARGEST * max(mask.shape[1:])))

    def windows(self, slices: Sequence[int], near: Helpers) -> Windows:
        """Those of some slices; where nothing was found, as on the slice that helps."""
        places = [self.centres[z if z in self.centres else near[z][0]] for z in slices]
        return Windows(torch.cat(places), self.half)


@torch.no_grad()
def closer_by_own_slices(
    method: Method,
    look: SecondLook,
    query: EncodedScan,
    found: Floats,
    served: Sequence[int],
    precision: Precision,
) -> None:
    """Segment slices once more through windows around a label, by those on either side.

    Args:
        method: with a trained network.
        look: size of the windows.
        query: the scan.
        found: (Z, H, W), probability of the label, which is changed inside the windows.
        served: slices that are to be segmented.
        precision: of the trunk.
    """
    mask, device = above(found, 0.5), query.images.device
    shown: Mask = np.asarray(mask.any(axis=(1, 2)))
    near = helpers(shown, served)
    frame = _Frame.around(mask, shown, look, device)
    give_back(mask)
    for some in _in_groups(near):
        slices = sorted({*some, *(n for z in some for n in near[z])})
        windows = frame.windows(slices, near)
        features = encode_slices(method, windows.cut(query.images[slices], look.size), precision)
        whole = torch.from_numpy(mask[slices, None]).to(device).float()
        masks = (windows.cut(whole, look.size)[:, 0] > 0.5).float()
        row = {z: n for n, z in enumerate(slices)}
        rows = [[row[n] for n in near[z]] for z in some]
        jobs = [
            MatchJob(features.rows(each), masks[each], features.rows([row[z]]))
            for z, each in zip(some, rows, strict=True)
        ]
        for z, closer in zip(some, predict(method, jobs, precision), strict=True):
            place = Windows(windows.centres[row[z]][None], windows.half)
            again, inside = (one[0].cpu().numpy() for one in place.paste(closer, found.shape[1:]))
            found[z][inside] = again[inside]
        give_back(found)
        give_back(mask)
        query.give_back()


def _in_groups(near: Helpers) -> Iterator[list[int]]:
    """Slices that are computed together."""
    rest = iter(near)
    while some := list(islice(rest, GROUP)):
        yield some
