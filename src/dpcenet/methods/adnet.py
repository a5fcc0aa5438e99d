"""ADNet: one foreground prototype, and a learnt threshold in place of the background.

Source: Hansen et al., "Anomaly detection-inspired few-shot medical image segmentation through
self-supervision with supervoxels", Medical Image Analysis 2022 (the 2-D branch).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dpcenet.methods.trunk_method import SingleScale, SingleScaleOptions
from dpcenet.nn.losses import role_swap_loss
from dpcenet.nn.pooling import size_of
from dpcenet.nn.similarity import (
    COSINE_SCALE,
    enlarged_log_probs,
    hard_cells,
    prototype_log_probs,
    prototype_probability,
)
from dpcenet.types import Features, Prediction


@dataclass(frozen=True)
class Options(SingleScaleOptions):
    """The trunk, and the start and weight of the threshold.

    Attributes:
        threshold: where T starts; foreground is where cos > −T/20.
        threshold_weight: factor of the loss T/20, which drives T down.
    """

    threshold: float = -10.0
    threshold_weight: float = 1.0


class ADNet(SingleScale):
    """The network of the paper. See `Options` for what can be switched."""

    def __init__(self, options: Options) -> None:
        super().__init__(options.encoder, options.width)
        self.options = options
        self.threshold = nn.Parameter(torch.tensor([options.threshold]))

    def match(
        self,
        support: Features,
        support_masks: Tensor,
        query: Features,
        *,
        query_masks: Tensor | None = None,
        seed: int = 0,
    ) -> Prediction:
        size = size_of(support_masks)
        shots, queries = support["features"], query["features"]
        cells = prototype_probability(shots, support_masks, queries, self.threshold)
        log_probs = enlarged_log_probs(cells, size)
        if not self.training:
            return Prediction(log_probs)
        predicted = hard_cells(cells)

        def segment_support(i: int) -> Tensor:
            return prototype_log_probs(queries[[i]], predicted[[i]], shots, self.threshold, size)

        losses = {
            "align": role_swap_loss(segment_support, predicted, support_masks),
            "threshold": self.options.threshold_weight * self.threshold[0] / COSINE_SCALE,
        }
        return Prediction(log_probs, losses, {"threshold": self.threshold[0].detach()})
