"""What DPCENet attends to: a figure that explains the method on one support and query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure

from dpcenet.evaluation.report.figures.lettering import Say, in_english
from dpcenet.evaluation.report.figures.plots import WIDTH
from dpcenet.inference.encoded import extract
from dpcenet.methods.dpcenet.attention import PATHS
from dpcenet.methods.dpcenet.model import DPCENet

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Attention:
    """DPCENet's attention on one support slice.

    Attributes:
        label: the organ.
        image: (H, W) of the support; mask: (H, W) of the organ.
        pixel: (row, column) in the image whose row of the spatial attention is shown.
        spatial: (h, w), the attention of that pixel to every cell; sums to 1.
        channels: (D,), what each channel is attended to, mean over the channels; sums to 1.
        gates: path → the share of the spatial perspective, 0…1; the rest is the channels'.
    """

    label: str
    image: Floats
    mask: npt.NDArray[np.bool_]
    pixel: tuple[int, int]
    spatial: Floats
    channels: Floats
    gates: dict[str, float]


@torch.no_grad()
def attention_of(
    method: DPCENet,
    label: str,
    support: Floats,
    mask: npt.NDArray[np.bool_],
    query: Floats,
    pixel: tuple[int, int] | None = None,
) -> Attention | None:
    """Look into a trained DPCENet, at its finest scale.

    Args:
        method: in evaluation mode, on the CPU.
        label: name of the organ.
        support: (H, W) a slice; mask: (H, W) the organ on it, not empty.
        query: (H, W) a slice, which takes part in the alignment.
        pixel: (row, column) to ask for; by default the organ's pixel nearest to its centre.

    Returns:
        None where the preset leaves the dual perspective out.
    """
    images = torch.from_numpy(np.stack([support, query]).astype(np.float32))[:, None]
    features = method.project(extract(method, images, "float32"))
    masks = torch.from_numpy(mask.astype(np.float32))[None]
    place = pixel or _centre(mask)
    maps = method.attention_maps(features.rows([0]), masks, features.rows([1]), place)
    if maps is None:
        return None
    spatial, channels = maps.spatial.numpy(), maps.channels.numpy()
    return Attention(label, support, mask, place, spatial, channels, maps.gates)


def _centre(mask: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """The pixel of a mask nearest to its centre."""
    places = np.argwhere(mask)
    nearest = ((places - places.mean(axis=0)) ** 2).sum(axis=1).argmin()
    return int(places[nearest][0]), int(places[nearest][1])


def draw_attention(found: Sequence[Attention], say: Say = in_english) -> Figure:
    """A row for each organ: the support, one pixel's attention, the channels, the gates."""
    figure = Figure(figsize=(WIDTH, 2.6 * len(found)), layout="constrained")
    grid = figure.subplots(len(found), 4, squeeze=False)
    for (left, map_axes, channel_axes, gate_axes), one in zip(grid, found, strict=True):
        low, high = np.percentile(one.image, (1, 99.5))
        for axes in (left, map_axes):
            axes.imshow(one.image, cmap="gray", vmin=low, vmax=high)
            axes.plot(one.pixel[1], one.pixel[0], "+", color="#ff3b30", markersize=9)
            axes.set_axis_off()
        left.contour(one.mask, levels=[0.5], colors=["#ffb000"], linewidths=1)
        left.set_title(say("panel.support_label", label=one.label), fontsize=9)
        extent = (-0.5, one.image.shape[1] - 0.5, one.image.shape[0] - 0.5, -0.5)
        map_axes.imshow(one.spatial, cmap="inferno", alpha=0.65, extent=extent)
        keys = float(np.exp(-(one.spatial * np.log(one.spatial + 1e-12)).sum()))
        cells = say("panel.cells", count=f"{keys:.0f}", of=one.spatial.size)
        map_axes.set_title(cells, fontsize=9)
        channel_axes.plot(np.sort(one.channels)[::-1] * len(one.channels), color="#1f5f8b")
        channel_axes.set_title(say("panel.channels"), fontsize=9)
        channel_axes.set_xlabel(say("axis.channel"), fontsize=8)
        spatial = [one.gates[path] for path in PATHS]
        paths = [say(f"axis.{path}") for path in PATHS]
        gate_axes.barh(paths, spatial, color="#1f5f8b")
        gate_axes.barh(paths, [1 - s for s in spatial], left=spatial, color="#c9d3dc")
        gate_axes.set_title(say("panel.gates"), fontsize=9)
        gate_axes.set_xlim(0, 1)
    return figure
