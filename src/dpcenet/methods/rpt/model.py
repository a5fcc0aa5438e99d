"""RPT: the support's organ in many regions, which a transformer adapts to each query.

Source: Zhu et al., "Few-Shot Medical Image Segmentation via a Region-enhanced Prototypical
Transformer", MICCAI 2023. docs/methods/rpt.md has the equations, the presets and the known defects
of the official code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dpcenet.errors import ConfigError
from dpcenet.methods.rpt.boundary_loss import boundary_f1_loss
from dpcenet.methods.rpt.regions import RegionBlock, region_means
from dpcenet.methods.trunk_method import TrunkMethod, TrunkOptions
from dpcenet.nn.encoder import CLASS_SCORES, EncoderOptions
from dpcenet.nn.losses import hard_masks, role_swap_loss, segmentation_loss
from dpcenet.nn.pooling import (
    adjoint_upsample,
    enlarge,
    masked_average,
    mean_prototype,
    shrink,
    size_of,
)
from dpcenet.nn.similarity import (
    enlarged_log_probs,
    foreground_probability,
    prototype_log_probs,
    prototype_probability,
    two_class_log_probs,
)
from dpcenet.types import Features, Prediction

PERIPHERY_WEIGHT = 0.1
PROTOTYPE_WEIGHT = 0.1
DrawCentre = Callable[[int], int]  # the number of cells → the index of the first centre


@dataclass(frozen=True)
class Options(TrunkOptions):
    """What the presets set.

    Attributes:
        encoder: trunk; its outputs are one layer and "fc", from which the threshold is read.
        width: channels after the 1×1 reduction.
        regions: N_f, regions into which the support's foreground is divided.
        blocks: how often the one transformer block is applied.
        heads, hidden, dropout: of the block.
        small_foreground: of a foreground of fewer than N_f cells: "corner" adds the first N_f cells
            of the map to it (the official code); "own" divides it into fewer regions.
        add_global: add the support's mean prototype to that of the regions after every block.
        losses: "prototypes" (2024 code: periphery, role swap, prototype distance, query by itself)
            or "boundary" (2023 code, published with the paper: F1 score of the boundary).
        swap_threshold: which threshold segments the support in the role swap: the "query"'s, or
            the support's "own".
    """

    encoder: EncoderOptions = field(
        default_factory=lambda: EncoderOptions(
            name="resnet101", layout="64+32", outputs=("layer3", CLASS_SCORES)
        )
    )
    width: int = 512
    regions: int = 100
    blocks: int = 3
    heads: int = 3
    hidden: int = 1024
    dropout: float = 0.1
    small_foreground: Literal["corner", "own"] = "own"
    add_global: bool = True
    losses: Literal["prototypes", "boundary"] = "prototypes"
    swap_threshold: Literal["query", "own"] = "own"


class RPT(TrunkMethod):
    """The network of the paper, or of its later code. See `Options` for what can be switched.

    Raises:
        ConfigError: the encoder does not give one layer and "fc".
    """

    def __init__(self, options: Options) -> None:
        outputs = options.encoder.outputs
        if len(outputs) != 2 or outputs[1] != CLASS_SCORES:
            raise ConfigError(
                f"RPT with encoder outputs {list(outputs)}: give one layer, and {CLASS_SCORES!r} "
                "for the threshold"
            )
        super().__init__(options.encoder)
        self.options, self.layer = options, outputs[0]
        channels = self.encoder.channels
        self.reduce = nn.Conv2d(channels[self.layer], options.width, 1, bias=False)
        self.threshold = nn.Linear(channels[CLASS_SCORES], 1)
        self.block = RegionBlock(options.width, options.heads, options.hidden, options.dropout)

    def project(self, features: Features) -> Features:
        """The reduced map (B, width, h, w), and the threshold (B, 1) of every image."""
        maps = self.reduce(features[self.layer])
        return Features({"features": maps, "threshold": self.threshold(features[CLASS_SCORES])})

    def match(
        self,
        support: Features,
        support_masks: Tensor,
        query: Features,
        *,
        query_masks: Tensor | None = None,
        seed: int = 0,
    ) -> Prediction:
        random = np.random.default_rng(seed)
        return self.match_from(
            lambda cells: int(random.integers(cells)), support, support_masks, query, query_masks
        )

    def match_from(
        self,
        draw: DrawCentre,
        support: Features,
        support_masks: Tensor,
        query: Features,
        query_masks: Tensor | None = None,
    ) -> Prediction:
        """`match`, with the first centre of each shot's regions drawn by `draw`."""
        prototype = mean_prototype(support["features"], support_masks)
        regions = self._regions(draw, support["features"], support_masks, prototype)
        cells = self._probability(query, regions, prototype)
        log_probs = enlarged_log_probs(cells, size_of(support_masks))
        if not self.training:
            return Prediction(log_probs)
        if self.options.losses == "prototypes":
            losses = self._losses(support, support_masks, query, log_probs, prototype)
            if query_masks is not None:
                losses["query_self"] = query_self_loss(query, query_masks)
        elif query_masks is not None:
            losses = {"boundary": boundary_f1_loss(log_probs, query_masks)}
        else:
            losses = {}
        return Prediction(log_probs, losses)

    def _regions(
        self, draw: DrawCentre, features: Tensor, masks: Tensor, prototype: Tensor
    ) -> Tensor:
        """Mean features (K, C) of the regions of all shots.

        Where no cell samples a foreground, the mean prototype (1, C) is the only region.
        """
        count = self.options.regions
        found = []
        for shot, cells in zip(features, shrink(masks, size_of(features)) > 0, strict=True):
            if self.options.small_foreground == "corner" and int(cells.sum()) < count:
                cells = cells.clone()
                cells.view(-1)[:count] = True
            total = int(cells.sum())
            if total > 0:
                found.append(region_means(shot, cells, count, draw(total)))
        return torch.cat(found) if found else prototype

    def _probability(self, query: Features, regions: Tensor, prototype: Tensor) -> Tensor:
        """Foreground probability (N, h, w) of the queries' cells: coarse, then block by block."""
        features, thresholds = query["features"], query["threshold"]
        cells = foreground_probability(features, prototype, thresholds)
        fitted = regions.expand(len(query), -1, -1)
        for _ in range(self.options.blocks):
            fitted = self.block(fitted, masked_average(features, cells))
            mean = fitted.mean(dim=1)
            if self.options.add_global:
                mean = mean + prototype
            cells = foreground_probability(features, mean, thresholds)
        return cells

    def _losses(
        self,
        support: Features,
        masks: Tensor,
        query: Features,
        log_probs: Tensor,
        prototype: Tensor,
    ) -> dict[str, Tensor]:
        """The terms of the 2024 code that need no truth of the query."""
        predicted = hard_masks(log_probs)
        own = self.options.swap_threshold == "own"

        def segment(i: int) -> Tensor:
            thresholds = support["threshold"] if own else query["threshold"][i]
            swapped = query["features"][[i]], predicted[[i]], support["features"]
            return prototype_log_probs(*swapped, thresholds, size_of(masks))

        found = masked_average(
            query["features"], adjoint_upsample(predicted, size_of(query["features"]))
        )  # (N, C)
        distance = F.mse_loss(found, prototype.expand_as(found))
        return {
            "periphery": PERIPHERY_WEIGHT * periphery_loss(support, masks, prototype),
            "align": role_swap_loss(segment, predicted, masks),
            "prototype_distance": PROTOTYPE_WEIGHT * distance,
        }


def periphery_loss(support: Features, masks: Tensor, prototype: Tensor) -> Tensor:
    """What a dilated mask's prototype finds beyond the mask's own must be the ring around it.

    Args:
        support: features of Sh slices.
        masks: (Sh, H, W).
        prototype: (1, C), the mean prototype of the masks.
    """
    dilated = F.max_pool2d(masks[:, None], 3, stride=1, padding=1)[:, 0]
    features, thresholds = support["features"], support["threshold"]
    wider = prototype_probability(features, dilated, features, thresholds)
    narrow = foreground_probability(features, prototype, thresholds)
    both = enlarge(torch.stack([wider, narrow], dim=1), size_of(masks), align_corners=True)
    return segmentation_loss(two_class_log_probs(both[:, 0] - both[:, 1]), dilated - masks)


def query_self_loss(query: Features, masks: Tensor) -> Tensor:
    """Each query, segmented by the prototype of its own true mask (N, H, W)."""
    features = query["features"]
    prototypes = masked_average(features, adjoint_upsample(masks, size_of(features)))
    cells = foreground_probability(features, prototypes, query["threshold"])
    return segmentation_loss(enlarged_log_probs(cells, size_of(masks)), masks)
