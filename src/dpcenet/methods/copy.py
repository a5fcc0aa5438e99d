"""`copy`: the support's mask, pasted unchanged. A method is worth nothing below it.

No image is looked at. On the 20 CHAOS scans this scores 43.6 % Dice (paper protocol), above some
rows that have been printed for trained networks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from dpcenet.methods.base import Method, MethodOptions
from dpcenet.nn.pooling import describe_slices
from dpcenet.nn.similarity import two_class_log_probs
from dpcenet.types import Features, Prediction


@dataclass(frozen=True)
class Options(MethodOptions):
    """Nothing can be switched."""


class Copy(Method):
    """Pastes the support's mask; the mean of the masks where there are several shots."""

    as_volume = False  # pasted is pasted

    def __init__(self, options: Options) -> None:
        super().__init__()
        self.options = options

    def extract(self, images: Tensor) -> Features:
        return Features({"image": images})

    def describe(self, features: Features) -> npt.NDArray[np.float64]:
        """Of the image itself, finer than feature maps need it."""
        return describe_slices(features["image"], cells=16)

    def match(
        self,
        support: Features,
        support_masks: Tensor,
        query: Features,
        *,
        query_masks: Tensor | None = None,
        seed: int = 0,
    ) -> Prediction:
        pasted = support_masks.mean(dim=0)
        return Prediction(two_class_log_probs(pasted.expand(len(query), -1, -1)))
