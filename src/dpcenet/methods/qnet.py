"""Q-Net: ADNet's head at two scales, a threshold from each image, prototypes refined at test.

Source: Shen et al., "Q-Net: Query-Informed Few-Shot Medical Image Segmentation", IntelliSys 2023.
docs/methods/qnet.md has the equations, the presets and the known defects of the official code.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dpcenet.errors import ConfigError
from dpcenet.methods.trunk_method import TrunkMethod, TrunkOptions
from dpcenet.nn.encoder import CLASS_SCORES, EncoderOptions
from dpcenet.nn.losses import hard_masks, role_swap_loss
from dpcenet.nn.pooling import enlarge, mean_prototype, size_of
from dpcenet.nn.similarity import foreground_probability, hard_cells, two_class_log_probs
from dpcenet.types import Features, Prediction

THRESHOLD = "threshold"


@dataclass(frozen=True)
class Options(TrunkOptions):
    """What the presets set.

    Attributes:
        encoder: trunk; its outputs are the scales, finest first, and "fc" for the threshold.
        width: channels of every scale after the 1×1 reduction.
        scale_weights: α, the share of each scale in the probability, in the order of the outputs.
        refine_steps: Adam steps on the prototypes of a test slice; 0 leaves them as they are.
        refine_rate: learning rate of those steps.
        swap_threshold: which threshold segments the support in the role swap: the "query"'s, or
            the support's "own".
    """

    encoder: EncoderOptions = field(
        default_factory=lambda: EncoderOptions(
            name="resnet101", layout="64+32", outputs=("layer3", "layer4", CLASS_SCORES)
        )
    )
    width: int = 512
    scale_weights: tuple[float, ...] = (0.9, 0.1)
    refine_steps: int = 7
    refine_rate: float = 0.01
    swap_threshold: Literal["query", "own"] = "own"


class QNet(TrunkMethod):
    """Two scales, one threshold for each image. See `Options` for what can be switched.

    Raises:
        ConfigError: the encoder does not give "fc", or not one scale for each weight.
    """

    def __init__(self, options: Options) -> None:
        outputs = options.encoder.outputs
        scales = tuple(name for name in outputs if name != CLASS_SCORES)
        if CLASS_SCORES not in outputs or len(scales) != len(options.scale_weights):
            raise ConfigError(
                f"Q-Net with encoder outputs {list(outputs)} and {len(options.scale_weights)} "
                f"scale_weights: give one layer for each weight, and {CLASS_SCORES!r} for the "
                "threshold"
            )
        super().__init__(options.encoder)
        self.options, self.scales = options, scales
        channels = self.encoder.channels
        self.reduce = nn.ModuleDict(
            {name: nn.Conv2d(channels[name], options.width, 1, bias=False) for name in self.scales}
        )
        self.threshold = nn.Linear(channels[CLASS_SCORES], 1)

    def project(self, features: Features) -> Features:
        """The 1×1 reduction of every scale, and the threshold (B, 1) of every image."""
        maps = {name: self.reduce[name](features[name]) for name in self.scales}
        return Features(maps | {THRESHOLD: self.threshold(features[CLASS_SCORES])})

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
        thresholds = query[THRESHOLD]
        prototypes = self._prototypes(support, support_masks)
        if self.training:
            log_probs = self._log_probs(query, prototypes, thresholds, size)
            align = self._role_swap(support, support_masks, query, hard_masks(log_probs))
            return Prediction(log_probs, {"align": align})
        steps, rate = self.options.refine_steps, self.options.refine_rate
        refined = {
            name: refine_prototypes(query[name], prototype, thresholds, steps, rate)
            for name, prototype in prototypes.items()
        }
        return Prediction(self._log_probs(query, refined, thresholds, size))

    def _prototypes(self, features: Features, masks: Tensor) -> dict[str, Tensor]:
        """The mean prototype (1, C) of the shots at every scale."""
        return {name: mean_prototype(features[name], masks) for name in self.scales}

    def _log_probs(
        self,
        features: Features,
        prototypes: dict[str, Tensor],
        thresholds: Tensor,
        size: tuple[int, int],
    ) -> Tensor:
        """Σ α P / Σ α over the scales, as log-probabilities (N, 2, *size)."""
        weights = self.options.scale_weights
        total = torch.zeros((), device=thresholds.device)
        for name, weight in zip(self.scales, weights, strict=True):
            cells = foreground_probability(features[name], prototypes[name], thresholds)
            total = total + weight * enlarge(cells[:, None], size, align_corners=True)[:, 0]
        return two_class_log_probs(total / sum(weights))

    def _role_swap(
        self, support: Features, support_masks: Tensor, query: Features, predicted: Tensor
    ) -> Tensor:
        """Loss of the supports, each query with its predicted mask (N, H, W) in their place."""
        size = size_of(support_masks)
        own = self.options.swap_threshold == "own"

        def segment(index: int) -> Tensor:
            thresholds = support[THRESHOLD] if own else query[THRESHOLD][index]
            prototypes = self._prototypes(query.rows([index]), predicted[[index]])
            return self._log_probs(support, prototypes, thresholds, size)

        return role_swap_loss(segment, predicted, support_masks)


def refine_prototypes(
    features: Tensor, prototypes: Tensor, thresholds: Tensor, steps: int, rate: float
) -> Tensor:
    """Move each query's prototype so that pasting it in changes the query's features least.

    Where a cell is predicted foreground its feature is replaced by the prototype. Both maps are
    scaled to 0…1 by their own extremes and passed through a sigmoid; Adam lowers the cross-entropy
    of the original map with the changed one as target. The cells are predicted again before each
    step.

    Args:
        features: (N, C, h, w) of the queries; no gradient goes back into them.
        prototypes: (1, C) or (N, C), the start.
        thresholds: N elements.
        steps: of Adam.
        rate: its learning rate.

    Returns:
        (N, C), without gradient. The queries do not influence each other.
    """
    features, thresholds = features.detach(), thresholds.detach()
    refined = prototypes.detach().expand(len(features), -1).clone().requires_grad_()
    adam = torch.optim.Adam([refined], lr=rate)
    logits = _unit_range(features)
    with torch.enable_grad():  # evaluation runs under no_grad
        for _ in range(steps):
            cells = hard_cells(foreground_probability(features, refined.detach(), thresholds))
            mask = cells[:, None]
            pasted = features * (1 - mask) + refined[:, :, None, None] * mask
            target = _unit_range(pasted).sigmoid()
            loss = F.binary_cross_entropy_with_logits(logits, target) * len(features)
            adam.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            adam.step()
    return refined.detach()


def _unit_range(maps: Tensor) -> Tensor:
    """Each map of (N, C, h, w) scaled by its own extremes to 0…1; a constant map becomes 0."""
    low, high = maps.amin((1, 2, 3), keepdim=True), maps.amax((1, 2, 3), keepdim=True)
    return (maps - low) / (high - low).clamp_min(torch.finfo(maps.dtype).eps)
