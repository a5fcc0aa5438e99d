"""`grey`: a pixel belongs to the organ if its intensity is nearer to the organ's mean."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dpcenet.methods.base import Method, MethodOptions
from dpcenet.methods.registry import Entry
from dpcenet.types import Features, Prediction


@dataclass(frozen=True)
class Options(MethodOptions):
    """What a preset sets.

    Attributes:
        sharpness: at the start of the training.
    """

    sharpness: float = 1.0


class Grey(Method):
    """Two mean intensities, and a trained sharpness."""

    def __init__(self, options: Options) -> None:
        super().__init__()
        self.sharpness = nn.Parameter(torch.tensor(options.sharpness))

    def extract(self, images: Tensor) -> Features:
        """The images themselves, smoothed."""
        return Features({"grey": F.avg_pool2d(images, 3, stride=1, padding=1)})

    def match(
        self,
        support: Features,
        support_masks: Tensor,
        query: Features,
        *,
        query_masks: Tensor | None = None,
        seed: int = 0,
    ) -> Prediction:
        """See `Method.match`."""
        grey, weights = support["grey"][:, 0], (1 - support_masks, support_masks)
        means = [(grey * w).sum() / w.sum().clamp_min(1) for w in weights]
        distance = torch.cat([(query["grey"] - mean).square() for mean in means], 1)
        return Prediction(F.log_softmax(-distance * self.sharpness, 1))


PAPER = """@article{grey,
  title = {Grey Values Are Enough},
  author = {Example, Ada},
  journal = {Journal of Examples},
  year = {2026}
}"""

ENTRY = Entry(Options, Grey, files("dpcenet_example") / "presets", citation=PAPER)
