"""SSL-ALPNet: local prototypes of windows, for the background and for organs large enough.

Source: Ouyang et al., "Self-supervision with Superpixels: Training Few-shot Medical Image
Segmentation without Annotation", ECCV 2020.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dpcenet.methods.trunk_method import SingleScale, SingleScaleOptions
from dpcenet.nn.losses import hard_masks, role_swap_loss
from dpcenet.nn.pooling import enlarge, masked_average, mean_prototype, shrink, size_of
from dpcenet.nn.similarity import COSINE_SCALE, cosine_maps
from dpcenet.types import Features, Prediction

EPS = 1e-4  # smallest norm of a cosine


@dataclass(frozen=True)
class Options(SingleScaleOptions):
    """The windows and the trunk.

    Attributes:
        window: side of a window in cells, in training. A foreground that covers no such window
            is matched by its global prototype only, in testing too.
        test_window: side of a window in cells, in testing.
        coverage: share of a window that a mask must cover.
    """

    window: int = 4
    test_window: int = 2
    coverage: float = 0.95


class SSLALPNet(SingleScale):
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
        logits = self._logits(support["features"], support_masks, query["features"])
        log_probs = enlarge(logits, size).log_softmax(dim=1)
        if not self.training:
            return Prediction(log_probs)
        predicted = hard_masks(logits)

        def segment_support(i: int) -> Tensor:
            swapped = self._logits(query["features"][[i]], predicted[[i]], support["features"])
            return enlarge(swapped, size).log_softmax(dim=1)

        align = role_swap_loss(segment_support, predicted, support_masks, skip_empty=False)
        return Prediction(log_probs, {"align": align})

    def _logits(self, support: Tensor, masks: Tensor, query: Tensor) -> Tensor:
        """Scores (N, 2, h, w) of background and foreground.

        Args:
            support: (Sh, C, h, w); masks: (Sh, H, W) or (Sh, h, w); query: (N, C, h, w).
        """
        cells = size_of(support)
        foreground, background = shrink(masks, cells), shrink(1 - masks, cells)
        pair = [self._background(support, background), self._foreground(support, foreground)]
        return torch.stack([assigned_score(query, prototypes) for prototypes in pair], dim=1)

    def _background(self, support: Tensor, masks: Tensor) -> Tensor:
        """Prototypes (K, C) of the covered windows.

        Deviates: the published code fails where no window is covered, and its training loop skips
        such an episode; here the global prototype is used.
        """
        local = self._local(support, masks)
        return local if len(local) else mean_prototype(support, masks)

    def _foreground(self, support: Tensor, masks: Tensor) -> Tensor:
        """Prototypes (K, C): local and global ones, or the global one alone for a small organ."""
        options = self.options
        if window_means(masks[:, None], options.window).max() >= options.coverage:
            return torch.cat([self._local(support, masks), masked_average(support, masks)])
        return mean_prototype(support, masks)

    def _local(self, support: Tensor, masks: Tensor) -> Tensor:
        window = self.options.window if self.training else self.options.test_window
        return local_prototypes(support, masks, window, self.options.coverage)


def window_means(maps: Tensor, window: int) -> Tensor:
    """Means of adjoining windows of cells: (B, C, h, w) → (B·windows, C).

    Cells at the edge that fill no window are left out; a map smaller than a window is one window.
    """
    size = min(window, maps.shape[-2], maps.shape[-1])
    return F.avg_pool2d(maps, size).flatten(2).transpose(1, 2).flatten(0, 1)


def local_prototypes(features: Tensor, masks: Tensor, window: int, coverage: float) -> Tensor:
    """Mean features of the windows that a mask covers.

    Args:
        features: (Sh, C, h, w).
        masks: (Sh, h, w) in 0…1, soft at the border.
        window: side of a window in cells.
        coverage: a window counts where the mask's mean is greater.

    Returns:
        (K, C), windows of all shots; K may be 0.
    """
    covered = window_means(masks[:, None], window)[:, 0] > coverage
    return window_means(features, window)[covered]


def assigned_score(query: Tensor, prototypes: Tensor) -> Tensor:
    """Σ_k softmax_k(d) d_k with d_k = 20 cos(query, p_k): close to the best prototype's score.

    Args:
        query: (N, C, h, w).
        prototypes: (K, C), at least one.

    Returns:
        (N, h, w).
    """
    similarity = COSINE_SCALE * cosine_maps(query, prototypes, eps=EPS)
    return (similarity.softmax(dim=1) * similarity).sum(dim=1)
