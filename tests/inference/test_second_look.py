"""Windows: what is cut comes back where it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from dpcenet.inference.looks import Windows, centre_and_spread, windows_around
from dpcenet.methods.base import SecondLook

LOOK = SecondLook(size=32, gain=4.0, min_half=8.0)


def blob(cy: float, cx: float, radius: float, size: int = 64) -> torch.Tensor:
    y, x = np.mgrid[:size, :size]
    return torch.from_numpy(((y - cy) ** 2 + (x - cx) ** 2 < radius**2).astype(np.float32))


def test_a_window_of_whole_pixels_shows_these_pixels() -> None:
    image = torch.arange(64 * 64, dtype=torch.float32).reshape(1, 1, 64, 64)
    window = Windows(torch.tensor([[19.5, 29.5]]), half=10.0)
    assert_allclose(window.cut(image, 20)[0, 0], image[0, 0, 10:30, 20:40], rtol=1e-5)


def test_what_is_cut_comes_back_where_it_was() -> None:
    masks = torch.stack([blob(20, 30, 6), blob(44, 22, 6)])
    windows = Windows(torch.tensor([[20.0, 30.0], [44.0, 22.0]]), half=12.0)
    back, inside = windows.paste(windows.cut(masks[:, None], 96)[:, 0], (64, 64))
    assert bool(((back > 0.5).float() == masks).all())
    assert not back[~inside].any()
    assert inside.sum(dim=(1, 2)).tolist() == [25 * 25, 25 * 25]


def test_centre_and_spread_are_those_of_the_mask() -> None:
    mask = blob(20, 30, 6)
    centre, spread = centre_and_spread(mask[None])
    y, x = np.nonzero(mask.numpy())
    assert_allclose(centre[0], [y.mean(), x.mean()], rtol=1e-5)
    assert float(spread[0]) == pytest.approx(max(y.std(), x.std()), rel=1e-4)


def test_windows_follow_what_was_found_and_else_the_support() -> None:
    masks = blob(20, 30, 5)[None]
    first = torch.stack([blob(40, 10, 5), torch.zeros(64, 64)])
    found = windows_around(masks, first, LOOK)
    assert found is not None
    theirs, ours = found.support, found.query
    assert_allclose(theirs.centres, [[20, 30]], atol=1e-4)
    assert_allclose(ours.centres, [[40, 10], [20, 30]], atol=1e-4)
    assert theirs.half == ours.half


def test_no_windows_where_they_show_everything_or_nothing_is_known() -> None:
    assert windows_around(blob(32, 32, 28)[None], blob(32, 32, 28)[None], LOOK) is None
    empty = torch.zeros(1, 64, 64)
    assert windows_around(empty, empty, LOOK) is None
