"""Losses that more than one method uses."""

from __future__ import annotations

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
    """(N, H, W) float in {0, 1}: where the foreground is the likelier class; no gradient."""
    return (log_probs[:, 1] > log_probs[:, 0]).to(log_probs.dtype).detach()
