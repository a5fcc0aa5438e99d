"""Label maps to images: tissues of CT- and MR-like contrast, texture, and what scanners add."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dpcenet.data.synthetic.deform import smooth_field
from dpcenet.data.synthetic.draws import Draws
from dpcenet.data.synthetic.labels import FIRST_ORGAN, LABELS, LAYERS
from dpcenet.data.synthetic.organs import CORES, FREE, TWINS

TISSUES = 6
SCALES = (2, 4, 8)  # pixels per control point of the texture, beside white noise


@dataclass(frozen=True)
class Contrast:
    """How bright and how textured each label is, air near 0 and the brightest near 1.

    Attributes:
        mean: (B, LABELS).
        texture: (B, LABELS, S), amplitude of the texture at white noise and at each of SCALES.
        coarse: (B,), amplitude of the bias field.
    """

    mean: Tensor
    texture: Tensor
    coarse: Tensor


def draw_contrast(draws: Draws, batch: int, textured: float = 1.0) -> Contrast:
    """Draws the contrast of `batch` data sets, a third of them CT-like.

    `textured` is a factor of the texture's amplitude.
    """
    is_ct = draws.chance(batch, 1, p=0.35)
    amount = draws.log_uniform(batch, 1, 1, low=0.005, high=0.06)
    texture = amount * draws.normal(batch, LABELS, 1 + len(SCALES)).abs()
    grained = draws.chance(batch, LABELS, 1, p=0.15) * draws.uniform(batch, LABELS, 1, high=0.2)
    texture = texture + grained * draws.uniform(batch, LABELS, 1 + len(SCALES))
    texture[:, 0] = 0
    coarse = draws.uniform(batch, high=0.3) * ~is_ct[:, 0]
    return Contrast(_draw_means(draws, is_ct), textured * texture, coarse)


def _draw_means(draws: Draws, is_ct: Tensor) -> Tensor:
    """Brightness of each label (B, LABELS): few tissues, so that many labels look alike."""
    batch = len(is_ct)
    soft = draws.log_uniform(batch, 1, low=0.02, high=0.12)
    ct = 0.5 + soft * draws.normal(batch, TISSUES)
    ct[:, -1] = torch.where(draws.chance(batch, p=0.6), 0.95, 0.05)  # bone, or gas
    tissue = torch.where(is_ct, ct, draws.uniform(batch, TISSUES, low=0.05))
    mean = tissue.gather(1, draws.integers(batch, LABELS, high=TISSUES))
    mean = _filled(draws, mean)
    twins = slice(FIRST_ORGAN + FREE, FIRST_ORGAN + FREE + TWINS)
    mean[:, twins] = mean[:, FIRST_ORGAN : FIRST_ORGAN + TWINS]
    spread = draws.log_uniform(batch, 1, low=0.01, high=0.1)
    mean = (mean + spread * draws.normal(batch, LABELS)).clamp(0, 1.1)
    skew = draws.log_uniform(batch, 1, low=0.7, high=2.5)  # few scans use their range evenly
    mean = torch.where(is_ct, mean, mean**skew)
    bright = torch.where(draws.chance(batch, 1, p=0.5), 0.85, 0.2)
    bright = bright + draws.normal(batch, 1, std=0.08)
    fat = torch.where(is_ct, draws.uniform(batch, 1, low=0.15, high=0.35), bright)
    fillers = mean[:, LAYERS : LAYERS + 3]
    mean[:, LAYERS : LAYERS + 3] = torch.where(draws.chance(batch, 3, p=0.6), fat, fillers)
    mean[:, 2:3] = fat
    mean[:, 0] = 0
    return mean.clamp_min(0)


def _filled(draws: Draws, mean: Tensor) -> Tensor:
    """In half of the data sets cavities hold one fluid, as do some organs that may touch them."""
    batch = len(mean)
    first = FIRST_ORGAN + FREE + TWINS
    label = torch.arange(LABELS, device=mean.device)
    cavity = (label >= first) & (label < first + CORES)
    beside = (label >= FIRST_ORGAN) & (label < FIRST_ORGAN + FREE) & (label % 2 == 0)
    holds = cavity | (beside & draws.chance(batch, LABELS, p=0.3))
    return torch.where(holds & draws.chance(batch, 1, p=0.5), mean[:, first, None], mean)


def vary(draws: Draws, contrast: Contrast, changed: Tensor) -> Contrast:
    """The contrast of another scan: nearly the same, or partly drawn anew where `changed` (B,)."""
    batch = len(changed)
    mean = contrast.mean + draws.normal(batch, LABELS, std=0.02) * (contrast.mean > 0)
    other = draw_contrast(draws, batch).mean
    share = (0.6 * draws.uniform(batch) * changed)[:, None]
    mean = (1 - share) * mean + share * other
    return replace(contrast, mean=mean * draws.log_uniform(batch, 1, low=0.9, high=1.1))


def render(draws: Draws, labels: Tensor, contrast: Contrast, artefacts: bool = True) -> Tensor:
    """Images (B, H, H), unnormalised, of the label maps (B, H, H)."""
    batch, size = labels.shape[:2]
    flat = labels.flatten(1)
    image = contrast.mean.gather(1, flat).view_as(labels)
    noise = [draws.normal(batch, size, size)]
    noise += [smooth_field(draws, batch, 1, size // scale, size)[:, 0] for scale in SCALES]
    for scale, field in enumerate(noise):
        image = image + contrast.texture[..., scale].gather(1, flat).view_as(labels) * field
    if not artefacts:
        return _noisy(draws, _blurred(draws, image))
    bias = smooth_field(draws, batch, 1, 5, size)[:, 0] * contrast.coarse.view(-1, 1, 1)
    image = _blurred(draws, image * bias.exp())
    return _scanned(draws, image)


def _blurred(draws: Draws, image: Tensor) -> Tensor:
    """The scanner's point spread: partial volume at every boundary."""
    batch, size = image.shape[:2]
    sigma = draws.log_uniform(batch, 2, 1, 1, low=0.35, high=1.3)
    axis = torch.arange(size, device=image.device, dtype=image.dtype)
    distance = (-0.5 * ((axis[:, None] - axis) / sigma) ** 2).clamp_min(-50)
    weights = torch.exp(distance)  # numbers too small for float32 would take fifty times as long
    weights = weights / weights.sum(-1, keepdim=True)
    return weights[:, 0] @ image @ weights[:, 1].mT


def _scanned(draws: Draws, image: Tensor) -> Tensor:
    """Ghosts, stripes, noise, clipped highlights and a gamma: some of each."""
    batch, size = image.shape[:2]

    def sometimes(p: float, high: float) -> Tensor:
        return (draws.uniform(batch, high=high) * draws.chance(batch, p=p)).view(-1, 1, 1)

    ghost = image.roll(size // 4, 1) + image.roll(-size // 4, 1)
    image = image + sometimes(0.15, 0.08) * ghost
    axis = torch.arange(size, device=image.device)
    wave = draws.uniform(batch, 2, 1, 1, low=-1.5, high=1.5)
    stripes = torch.sin(wave[:, 0] * axis + wave[:, 1] * axis[:, None])
    image = image + sometimes(0.06, 0.05) * stripes
    image = _noisy(draws, image)
    image = image.clamp_max(1.2).minimum(draws.uniform(batch, 1, 1, low=0.7, high=1.3))
    return (image + 1e-4) ** draws.log_uniform(batch, 1, 1, low=0.8, high=1.25)


def _noisy(draws: Draws, image: Tensor) -> Tensor:
    level = draws.log_uniform(len(image), 1, 1, low=0.003, high=0.07)
    return (image + level * draws.normal(*image.shape)).abs()


def field_of_view(draws: Draws, batch: int, size: int) -> Tensor:
    """True inside the scanned rectangle (B, H, H), false in the padding of one image in four."""
    axis = torch.linspace(-1, 1, size, device=draws.device).abs()
    padded = draws.chance(batch, 1, p=0.25)
    half = torch.where(padded, draws.uniform(batch, 2, low=0.6, high=1.1), 2.0)
    return (axis < half[:, :1])[:, :, None] & (axis < half[:, 1:])[:, None]


def normalised(draws: Draws, image: Tensor) -> Tensor:
    """(B, 1, H, W), z-scored by numbers that are off as those of a whole volume are for a slice."""
    image = image - image.mean((1, 2), keepdim=True)
    std = image.square().mean((1, 2), keepdim=True).sqrt().clamp_min(1e-3)  # faster than `std`
    image = image / std * draws.log_uniform(len(image), 1, 1, low=0.75, high=1.35)
    return (image + draws.normal(len(image), 1, 1, std=0.15))[:, None]
