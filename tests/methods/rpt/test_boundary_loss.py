"""The boundary loss against its counts on hard masks, and where it goes down."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import torch

from dpcenet.methods.rpt.boundary_loss import boundary_f1_loss


def disc(y: float, x: float, radius: float) -> torch.Tensor:
    rows, columns = np.mgrid[:40, :44]
    return torch.tensor((rows - y) ** 2 + (columns - x) ** 2 < radius**2).float()[None]


def log_probs(foreground: torch.Tensor) -> torch.Tensor:
    return torch.stack([1 - foreground, foreground], dim=1).clamp(1e-7, 1).log()


def counted(found: np.ndarray, wanted: np.ndarray) -> float:
    """1 − F1 of the 1-pixel rims that lie in their own class, met within 2 pixels."""
    square = np.ones((3, 3))
    rims = [m & scipy.ndimage.binary_dilation(~m, square) for m in (found, wanted)]
    wide = [scipy.ndimage.binary_dilation(rim, np.ones((5, 5))) for rim in rims]
    precision = (rims[0] & wide[1]).sum() / rims[0].sum()
    recall = (rims[1] & wide[0]).sum() / rims[1].sum()
    return 1 - 2 * precision * recall / (precision + recall)


def test_hard_masks_score_as_counted() -> None:
    found, wanted = disc(20, 20, 9), disc(21, 24, 8)
    f, w = found[0].numpy().astype(bool), wanted[0].numpy().astype(bool)
    expected = (counted(f, w) + counted(~f, ~w)) / 2
    assert boundary_f1_loss(log_probs(found), wanted).item() == pytest.approx(expected, rel=1e-4)


def test_it_vanishes_on_the_truth_and_grows_with_distance() -> None:
    wanted = disc(20, 20, 8)
    losses = [boundary_f1_loss(log_probs(disc(20, 20 + d, 8)), wanted).item() for d in (0, 4, 12)]
    assert losses[0] == pytest.approx(0, abs=1e-4)
    assert losses[0] < losses[1] < losses[2]


def test_an_empty_mask_gives_a_finite_gradient() -> None:
    logits = torch.randn(2, 2, 16, 16, generator=torch.Generator().manual_seed(0)).requires_grad_()
    boundary_f1_loss(logits.log_softmax(dim=1), torch.zeros(2, 16, 16)).backward()
    assert logits.grad is not None and torch.isfinite(logits.grad).all()
