"""`copy` pastes the mask, whatever the images show."""

from __future__ import annotations

import numpy as np
import torch

from dpcenet.methods.copy import Copy, Options
from dpcenet.types import Episode


def test_the_mask_is_pasted_whatever_the_images_show() -> None:
    masks = torch.zeros(1, 6, 5)
    masks[0, 1:3, 2:] = 1
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(4, 1, 6, 5, generator=generator)
    found = Copy(Options())(Episode(images[:1], masks, images[1:])).log_probs
    assert found.shape == (3, 2, 6, 5)
    assert all(torch.equal(one.argmax(dim=0), masks[0].long()) for one in found)


def test_several_shots_vote_with_their_share() -> None:
    masks = torch.zeros(4, 2, 2)
    masks[:3, 0, 0], masks[:1, 1, 1] = 1, 1
    images = torch.zeros(5, 1, 2, 2)
    found = Copy(Options())(Episode(images[:4], masks, images[4:])).log_probs.exp()
    np.testing.assert_allclose(found[0, 1], [[0.75, 0], [0, 0.25]], atol=1e-6)
