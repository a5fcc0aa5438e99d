"""Losses that more than one method uses, and the role swap of query and support."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def segmentation_loss(
    log_probs: Tensor, masks: Tensor, class_weights: tuple[float, float] = (1.0, 1.0)
) -> Tensor:
    """Negative log-likelihood of masks.

    −(1/HW) Σ [m log p_fg + (1−m) log p_bg] for equal weights (DPCENet, equation 1.11); with
    other class weights the weighted mean over pixels, as the ADNet lineage has it.

    Args:
        log_probs: (N, 2, H, W), background and foreground.
        masks: (N, H, W) in {0, 1}.
        class_weights: of background and foreground.
    """
    weights = log_probs.new_tensor(class_weights)
    return F.nll_loss(log_probs, masks.long(), weight=weights)


def hard_masks(log_probs: Tensor) -> Tensor:
    """(N, H, W) float in {0, 1}: where the foreground is more probable; no gradient."""
    return (log_probs[:, 1] > log_probs[:, 0]).to(log_probs.dtype).detach()


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
