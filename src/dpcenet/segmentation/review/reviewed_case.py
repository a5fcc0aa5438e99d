"""One case of the review: OUT/review/CASE.json, written with its mask.

So an interrupted call can go on.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import TypeAdapter
from scipy import ndimage

from dpcenet.errors import ConfigError
from dpcenet.inference.predictor import Predictor
from dpcenet.inference.support import Support
from dpcenet.segmentation.result import SegmentationResult
from dpcenet.segmentation.review.quality import ACCEPT_DICE, Quality, assess
from dpcenet.segmentation.review.signals import label_map_of
from dpcenet.segmentation.review.slice_matches import SliceMatches, slice_matches
from dpcenet.segmentation.review.suggest import signature_of
from dpcenet.system.files import note_damaged, read_json, write_json
from dpcenet.system.validated import validated
from dpcenet.volumes.boxes_and_values import Mask, values_in

COLOUR = np.array([0.0, 194.0, 255.0])  # of a mask
SHARE = 0.25  # of the colour inside an outline
_AGAIN = "segment again to have the case in the review"


@dataclass(frozen=True)
class ReviewedCase:
    """What the review says of one case.

    Attributes:
        case: its name.
        mask: path of its mask, relative to the folder of the review.
        labels: label name → quality.
        pictures: label name → a picture as a data URL; none where nothing was found.
        signature: what the case looks like; see `suggest.signature_of`.
        matches: which labelled slices served; None in a case of a version that did not keep them.
    """

    case: str
    mask: str
    labels: Mapping[str, Quality]
    pictures: Mapping[str, str]
    signature: tuple[float, ...]
    matches: SliceMatches | None = None

    @property
    def mean_dice(self) -> float:
        """Mean predicted Dice of the labels."""
        return fmean(quality.dice for quality in self.labels.values())

    @property
    def lowest_dice(self) -> float:
        """Lowest predicted Dice of its labels."""
        return min(quality.dice for quality in self.labels.values())

    def asking(self, accept_dice: float) -> ReviewedCase:
        """The same case, its masks flagged for another Dice that is asked for."""
        labels = {name: quality.asking(accept_dice) for name, quality in self.labels.items()}
        return replace(self, labels=labels)


def review_case(
    predictor: Predictor,
    support: Support,
    result: SegmentationResult,
    case: str,
    mask: str,
    accept_dice: float = ACCEPT_DICE,
    against_all: Sequence[str] = (),
) -> ReviewedCase:
    """Predict the quality of one segmented case.

    Args:
        predictor, support: that made `result`.
        result: what `Segmenter.find` found in the case.
        case: its name.
        mask: path of its mask, relative to the folder of the review.
        accept_dice, against_all: see `assess`.
    """
    label_map = label_map_of(result)
    image = result.query.images[:, 0].cpu().numpy()
    names = {value: str(support.names.get(value, value)) for value in support.values}
    qualities = assess(predictor, result, None, accept_dice, against_all)
    found = set(values_in(label_map))
    signature = signature_of(predictor.method, result.query, label_map > 0)
    return ReviewedCase(
        case,
        mask,
        {names[value]: quality for value, quality in qualities.items()},
        {names[v]: picture(image, label_map == v) for v in names if v in found},
        tuple(np.round(signature, 4).tolist()),
        slice_matches(result, names),
    )


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


def save_case(out: Path, case: ReviewedCase) -> None:
    """Write OUT/review/CASE.json, whole or not at all."""
    content = TypeAdapter(ReviewedCase).dump_python(case, by_alias=True)
    write_json(case_path(out, case.case), content)


def read_cases(out: Path) -> list[ReviewedCase]:
    """The cases that `save_case` wrote, by name; a damaged file is set aside with a note."""
    found = [read_case(path) for path in sorted((out / "review").rglob("*.json"))]
    return [case for case in found if case is not None]


def case_path(out: Path, case: str) -> Path:
    """Where the case of that name lies."""
    return out / "review" / f"{case}.json"


def read_case(path: Path) -> ReviewedCase | None:
    """A case; None where there is none, or it is damaged and was set aside with a note."""
    if not path.is_file():
        return None
    try:
        content = read_json(path, remedy=_AGAIN, finite=False)
        return validated(ReviewedCase, content, path, remedy=_AGAIN, extra="ignore")
    except ConfigError as error:
        note_damaged(path, error)
        return None
