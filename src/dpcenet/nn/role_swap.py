"""The role swap: each query, with the mask predicted for it, segments the support.

Source: PANet's alignment regularisation (Wang et al., ICCV 2019), as ADNet and its lineage have it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dpcenet.nn.losses import segmentation_loss


def role_swap_loss(
    segment: Callable[[int], Tensor],
    predicted: Tensor,
    support_masks: Tensor,
    class_weights: tuple[float, float] = (1.0, 1.0),
    skip_empty: bool = True,
) -> Tensor:
    """Mean loss of the support masks over the queries.

    Args:
        segment: gives the log-probabilities (Sh, 2, H, W) of the supports when query i takes
            the support's place.
        predicted: (N, ...) masks predicted for the queries, hard and without gradient.
        support_masks: (Sh, H, W) in {0, 1}.
        class_weights: of background and foreground.
        skip_empty: a query in which nothing is predicted counts as zero and is not swapped.

    Returns:
        Scalar; N queries at once give the mean of N episodes of one query each.
    """
    losses = [
        segmentation_loss(segment(i), support_masks, class_weights)
        for i, mask in enumerate(predicted)
        if not skip_empty or bool(mask.any())
    ]
    return torch.stack(losses).sum() / len(predicted) if losses else predicted.new_zeros(())
