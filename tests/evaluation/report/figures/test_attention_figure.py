"""The figure of DPCENet's attention: which pixel is asked, and what the panels show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from dpcenet.evaluation.report.figures.attention import Attention, attention_of, draw_attention
from dpcenet.methods.dpcenet.model import DPCENet
from dpcenet.methods.registry import build_method
from made import made_scan, tiny_config


def network(dpce: bool = True) -> DPCENet:
    """An untrained DPCENet, ready to predict."""
    torch.manual_seed(0)
    options = replace(tiny_config().options, dpce=dpce)
    method = build_method("dpcenet", options).eval()
    assert isinstance(method, DPCENet)
    return method


def look(method: DPCENet, **changes: tuple[int, int]) -> Attention | None:
    (support, label, _), (query, _, _) = made_scan(0), made_scan(1)
    return attention_of(method, "liver", support[4], label[4] == 1, query[4], **changes)


def test_attention_is_a_distribution_from_the_organs_middle() -> None:
    found = look(network())
    assert found is not None
    places = np.argwhere(made_scan(0)[1][4] == 1)
    distances = np.linalg.norm(places - places.mean(axis=0), axis=1)
    assert tuple(places[distances.argmin()]) == found.pixel
    for weights in (found.spatial, found.channels):
        assert (weights >= 0).all() and weights.sum() == pytest.approx(1, abs=1e-4)
    assert found.spatial.ndim == 2 and set(found.gates) == {"background", "foreground"}
    assert all(0 <= share <= 1 for share in found.gates.values())


def test_another_pixel_attends_to_other_places() -> None:
    middle, corner = look(network()), look(network(), pixel=(0, 0))
    assert middle is not None and corner is not None and corner.pixel == (0, 0)
    assert not np.allclose(middle.spatial, corner.spatial)
    np.testing.assert_array_equal(middle.channels, corner.channels)


def test_without_the_dual_perspective_there_is_nothing_to_show() -> None:
    assert look(network(dpce=False)) is None


def test_the_panels_show_the_numbers() -> None:
    image, mask = np.random.default_rng(0).random((8, 8)).astype(np.float32), np.eye(8, dtype=bool)
    spatial = np.full((4, 4), 1 / 16, np.float32)
    channels = np.array([0.2, 0.5, 0.3], np.float32)
    gates = {"background": 0.25, "foreground": 0.75}
    one = Attention("liver", image, mask, (3, 5), spatial, channels, gates)
    figure = draw_attention([one, one])
    assert len(figure.axes) == 8
    support, places, by_channel, bars = figure.axes[:4]
    assert support.get_title() == "support: liver"
    assert [line.get_xydata().tolist() for line in support.lines] == [[[5, 3]]]
    assert "16 of 16 cells" in places.get_title()  # even attention counts every cell
    np.testing.assert_allclose(by_channel.lines[0].get_ydata(), [1.5, 0.9, 0.6], rtol=1e-6)
    widths = [bar.get_width() for bar in bars.patches]
    assert sorted(widths) == [0.25, 0.25, 0.75, 0.75]
