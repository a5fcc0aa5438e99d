"""PANet: a foreground and a background prototype, and scaled cosines. No learnt head.

Source: Wang et al., "PANet: Few-Shot Image Semantic Segmentation with Prototype Alignment",
ICCV 2019.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dpcenet.methods.trunk_method import SingleScale, SingleScaleOptions
from dpcenet.nn.losses import hard_masks, segmentation_loss
from dpcenet.nn.pooling import enlarge, mean_prototype, size_of
from dpcenet.nn.similarity import COSINE_SCALE, cosine_maps
from dpcenet.types import Features, Prediction


@dataclass(frozen=True)
class Options(SingleScaleOptions):
    """The trunk is all that can be chosen: VGG-16 in the paper, and no 1×1 convolution."""


class PANet(SingleScale):
    """The network of the paper. See `Options` for what can be switched."""

    def __init__(self, options: Options) -> None:
        super().__init__(options.encoder, options.width)
        self.options = options

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
        logits = _logits(support["features"], support_masks, query["features"])
        log_probs = enlarge(logits, size).log_softmax(dim=1)
        if not self.training:
            return Prediction(log_probs)
        loss = _align(support["features"], support_masks, query["features"], hard_masks(logits))
        return Prediction(log_probs, {"align": loss})


def _logits(support: Tensor, masks: Tensor, query: Tensor) -> Tensor:
    """Scaled cosines (N, 2, h, w) with the background's and the foreground's prototype.

    Args:
        support: (Sh, C, h, w); masks: (Sh, H, W) or (Sh, h, w); query: (N, C, h, w).
    """
    prototypes = torch.cat([mean_prototype(support, m) for m in (1 - masks, masks)])
    return COSINE_SCALE * cosine_maps(query, prototypes)


def _align(support: Tensor, support_masks: Tensor, query: Tensor, predicted: Tensor) -> Tensor:
    """The role swap: the queries, with the cells predicted for them, segment the support.

    The published code pools the queries of an episode as one image, not as shots, and skips the
    term where nothing is predicted in any of them.

    Args:
        support: (Sh, C, h, w); support_masks: (Sh, H, W); query: (N, C, h, w);
            predicted: (N, h, w) in {0, 1}.

    Returns:
        Scalar.
    """
    if not predicted.any():
        return support.new_zeros(())
    one_image = query.transpose(0, 1).flatten(1, 2)[None]  # (1, C, N·h, w)
    logits = _logits(one_image, predicted.flatten(0, 1)[None], support)
    size = size_of(support_masks)
    return segmentation_loss(enlarge(logits, size).log_softmax(dim=1), support_masks)
