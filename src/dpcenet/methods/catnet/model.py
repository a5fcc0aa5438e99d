"""CAT-Net: cross attention of support and query, with a mask that is refined block by block.

Source: Lin et al., "Few Shot Medical Image Segmentation with Cross Attention Transformer", MICCAI
2023. The public repository holds another network than the paper: `Options.head` chooses.
docs/methods/catnet.md has the equations, the presets and the known defects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from dpcenet.methods.catnet.cascade import CascadeHead, MaskSide
from dpcenet.methods.catnet.repository import RepositoryHead
from dpcenet.methods.trunk_method import SingleScale, SingleScaleOptions
from dpcenet.nn.losses import role_swap_loss, segmentation_loss
from dpcenet.nn.pooling import size_of
from dpcenet.nn.similarity import (
    enlarged_log_probs,
    hard_cells,
    prototype_log_probs,
    prototype_probability,
)
from dpcenet.types import Features, Prediction


@dataclass(frozen=True)
class Options(SingleScaleOptions):
    """What the presets set.

    Attributes:
        threshold: where T starts; foreground is where cos > −T/20.
        head: the paper's "cascade", or what the "repository" computes.
        blocks: of the cascade, how many.
        mask_on: of the cascade, which side of the cross-attention is masked.
        supervise_start: of the cascade, whether the mask before the first block has a loss too.
        class_weights: of the cascade, of background and foreground in the loss of every block but
            the last, whose loss belongs to the training loop.
        cells: of the repository's head, the grid of its norms.
    """

    threshold: float = -10.0
    head: Literal["cascade", "repository"] = "cascade"
    blocks: int = 4
    mask_on: MaskSide = "keys"
    supervise_start: bool = True
    class_weights: tuple[float, float] = (0.1, 1.0)
    cells: tuple[int, int] = (32, 32)


class CATNet(SingleScale):
    """The paper's cascade or the repository's head. See `Options` for what can be switched."""

    head: CascadeHead | RepositoryHead

    def __init__(self, options: Options) -> None:
        super().__init__(options.encoder, options.width)
        self.options = options
        (channels,) = self.encoder.channels.values()
        width = options.width or channels
        if options.head == "cascade":
            self.head = CascadeHead(width, options.blocks, options.mask_on)
        else:
            self.head = RepositoryHead(width, options.cells)
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
        maps = support["features"], support_masks, query["features"]
        if isinstance(self.head, CascadeHead):
            return self._cascade(self.head, *maps, query_masks)
        return self._repository(self.head, *maps)

    def _cascade(
        self,
        head: CascadeHead,
        support: Tensor,
        masks: Tensor,
        query: Tensor,
        query_masks: Tensor | None,
    ) -> Prediction:
        """The last block's prediction; the others add their losses (deep supervision)."""
        size = size_of(masks)
        *earlier, last = head(support, masks, query, self.threshold)
        losses = {}
        if self.training and query_masks is not None:
            first = 0 if self.options.supervise_start else 1
            losses = {
                f"block_{index}": segmentation_loss(
                    enlarged_log_probs(cells, size), query_masks, self.options.class_weights
                )
                for index, cells in enumerate(earlier[first:], first)
            }
        return Prediction(enlarged_log_probs(last, size), losses)

    def _repository(
        self, head: RepositoryHead, support: Tensor, masks: Tensor, query: Tensor
    ) -> Prediction:
        """ADNet's prediction with raw support and fused query features, and its role swap."""
        size = size_of(masks)
        fused = head(support, masks, query)
        cells = prototype_probability(support, masks, fused, self.threshold)
        log_probs = enlarged_log_probs(cells, size)
        if not self.training:
            return Prediction(log_probs)
        predicted = hard_cells(cells)

        def segment(i: int) -> Tensor:
            return prototype_log_probs(fused[[i]], predicted[[i]], support, self.threshold, size)

        return Prediction(log_probs, {"align": role_swap_loss(segment, predicted, masks)})
