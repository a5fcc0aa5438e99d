"""Scans of made-up patients: CT-like in HU through a window, or MR-like of any contrast."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from dpcenet.data.synthetic.body_plan import Anatomy
from dpcenet.data.synthetic.volume_shapes import AIR, Floats, Parts

HOUNSFIELD = {
    "air": (-1000.0, -1000.0),
    "skin": (-20.0, 60.0),
    "fat": (-120.0, -70.0),
    "muscle": (35.0, 70.0),
    "bone": (150.0, 900.0),
    "soft": (20.0, 75.0),
    "fluid": (-10.0, 30.0),
    "vessel": (30.0, 60.0),
    "content": (-60.0, 180.0),
    "gas": (-1000.0, -700.0),
    "lung": (-900.0, -650.0),
}
"""Lowest and highest mean of each kind in HU, without contrast medium; from textbooks."""
CLEAREST = {"air": 0.0, "gas": 0.03, "lung": 0.12, "bone": 0.35}
"""The highest MR signal of what gives little, as a share of the brightest."""


@dataclass(frozen=True)
class Contrast:
    """How the parts look.

    Attributes:
        is_ct: whether `mean` is in HU; else air is 0 and the brightest near 1.
        mean: (P,).
        texture: (P, 3), amplitude of fine, middle and coarse texture.
        window: HU, lowest and highest that are told apart.
        bias: amplitude of the bias field.
    """

    is_ct: bool
    mean: Floats
    texture: Floats
    window: tuple[float, float]
    bias: float


def draw_contrast(rng: np.random.Generator, anatomy: Anatomy) -> Contrast:
    """The contrast of a cohort's scans, four in ten of them CT-like."""
    is_ct = bool(rng.random() < 0.4)
    mean = _hounsfield(rng, anatomy) if is_ct else _signal(rng, anatomy)
    scale = 100.0 if is_ct else 1.0
    parts = len(mean)
    amount = scale * np.exp(rng.uniform(np.log(0.005), np.log(0.06)))
    texture = amount * np.abs(rng.normal(size=(parts, 3)))
    grained = rng.random((parts, 1)) < 0.12
    texture += scale * grained * rng.uniform(0, 0.2, (parts, 1)) * rng.random((parts, 3))
    texture[AIR] = 0
    low, high = (-125.0, 275.0)
    if rng.random() < 0.5:
        low, high = rng.uniform(-250, -80), rng.uniform(150, 400)
    return Contrast(is_ct, mean, texture[anatomy.tissue].astype(np.float32), (low, high),
                    0.0 if is_ct else rng.uniform(0, 0.25))  # fmt: skip


def _hounsfield(rng: np.random.Generator, anatomy: Anatomy) -> Floats:
    """HU of each part; contrast medium brightens vessels and organs, each by its own share."""
    low, high = np.array([HOUNSFIELD[kind] for kind in anatomy.kinds]).T
    mean = rng.uniform(low, high)
    medium = rng.uniform(0, 1) * (rng.random() < 0.8)
    vessel, soft = (np.array([k == kind for k in anatomy.kinds]) for kind in ("vessel", "soft"))
    mean += medium * (vessel * rng.uniform(60, 220) + soft * rng.uniform(0, 110, len(mean)))
    varied: Floats = (mean[anatomy.tissue] + rng.normal(0, 4, len(mean))).astype(np.float32)
    varied[AIR] = mean[AIR]
    return varied


def _signal(rng: np.random.Generator, anatomy: Anatomy) -> Floats:
    """MR signal of each part: few levels, so that many organs look alike, some of them free."""
    parts = len(anatomy.kinds)
    levels = rng.uniform(0.08, 1.0, 6)
    by_kind = {kind: levels[rng.integers(6)] for kind in ("fat", "fluid", "muscle", "vessel")}
    by_kind["fat"] = rng.choice([0.15, 0.85]) + rng.normal(0, 0.07)
    soft = levels[rng.integers(0, 6, parts)]
    mean = np.array([by_kind.get(k, s) for k, s in zip(anatomy.kinds, soft, strict=True)])
    free = rng.random(parts) < rng.uniform(0, 0.5)
    mean = np.where(free, soft, mean)
    mean += np.exp(rng.uniform(np.log(0.01), np.log(0.1))) * rng.normal(size=parts)
    mean = np.clip(mean, 0.02, 1.1) ** np.exp(rng.uniform(np.log(0.7), np.log(2.2)))
    for kind, most in CLEAREST.items():
        dark = np.array([k == kind for k in anatomy.kinds])
        mean = np.where(dark, most * rng.random(parts), mean)
    return mean[anatomy.tissue].astype(np.float32)


def vary_contrast(rng: np.random.Generator, contrast: Contrast, anatomy: Anatomy) -> Contrast:
    """That of one patient's scan: nearly the cohort's, in one of eight partly another."""
    std = 6.0 if contrast.is_ct else 0.03
    own = std * np.exp(rng.uniform(-1, 0.7)) * rng.normal(size=len(contrast.mean))
    mean = contrast.mean + own.astype(np.float32)[anatomy.tissue]
    if rng.random() < 0.12:
        other = (_hounsfield if contrast.is_ct else _signal)(rng, anatomy)
        share = np.float32(rng.uniform(0, 0.6))
        mean = (1 - share) * mean + share * other
    mean[AIR] = contrast.mean[AIR]
    return replace(contrast, mean=mean)


def acquire(rng: np.random.Generator, parts: Parts, contrast: Contrast) -> Floats:
    """The scan (Z, H, W) of painted parts, z-scored as a prepared scan is.

    Args:
        rng: source of noise, blur and bias.
        parts: (Z, H, W), from `volume_shapes.paint`.
        contrast: how the parts look.
    """
    planes, size, _ = parts.shape
    image = contrast.mean[parts]
    for scale, texture in zip((1, 3, 8), contrast.texture.T, strict=True):
        image += texture[parts] * _noise(rng, planes, size, scale)
    image *= np.exp(contrast.bias * _noise(rng, planes, size, size // 3))
    image = _blurred(rng, image)
    if contrast.is_ct:
        level = np.exp(rng.uniform(np.log(3), np.log(30)))
        image += level * _noise(rng, planes, size, int(rng.integers(1, 3)))
        image = image.clip(*contrast.window)
    else:
        level = np.exp(rng.uniform(np.log(0.004), np.log(0.07)))
        image = np.abs(image + level * _noise(rng, planes, size, 1))
        image = np.minimum(image, np.quantile(image[::2, ::3, ::3], rng.uniform(0.985, 1)))
        image = (image + 1e-4) ** np.exp(rng.normal(0, 0.1))
    return _normalised(rng, image)


def _noise(rng: np.random.Generator, planes: int, size: int, scale: int) -> Floats:
    """Noise (planes, size, size) of standard deviation near 1, smooth over `scale` pixels."""
    if scale == 1:
        return rng.standard_normal((planes, size, size), np.float32)
    knots = max(4, size // scale + 3)
    layers = max(2, min(planes, 2 + planes * 2 // scale))
    field = rng.standard_normal((layers, knots, knots), np.float32)
    inside, deep = _linear(size, knots), _linear(planes, layers)
    smooth = inside @ field @ inside.T
    return np.tensordot(deep, smooth, 1).astype(np.float32)


def _linear(size: int, knots: int) -> Floats:
    """Weights (size, knots) of linear interpolation, of unit variance everywhere."""
    place = np.linspace(0, knots - 1, size)
    weight = np.clip(1 - np.abs(place[:, None] - np.arange(knots)), 0, None)
    weights: Floats = (weight / np.sqrt((weight**2).sum(1, keepdims=True))).astype(np.float32)
    return weights


def _blurred(rng: np.random.Generator, image: Floats) -> Floats:
    """The scanner's point spread in the plane, and slices that are thicker than their distance."""
    planes, size, _ = image.shape
    first, second = (_gaussian(size, np.exp(rng.uniform(-1.1, 0.3))) for _ in range(2))
    through = _gaussian(planes, rng.uniform(0.15, 0.6))
    return np.tensordot(through, first @ image @ second.T, 1).astype(np.float32)


def _gaussian(size: int, sigma: float) -> Floats:
    axis = np.arange(size)
    weight = np.exp(np.maximum(-0.5 * ((axis[:, None] - axis) / sigma) ** 2, -50))
    weights: Floats = (weight / weight.sum(1, keepdims=True)).astype(np.float32)
    return weights


def _normalised(rng: np.random.Generator, image: Floats) -> Floats:
    """Of mean 0 and standard deviation 1, a little off: what surrounds the body differs."""
    image = (image - image.mean()) / max(float(image.std()), 1e-3)
    return (
        image * np.float32(np.exp(rng.normal(0, 0.12))) + np.float32(rng.normal(0, 0.1))
    ).astype(np.float32)


def in_field(rng: np.random.Generator, parts: Parts) -> npt.NDArray[np.uint8]:
    """Parts (Z, H, W) with air outside what one scan in five shows: a rectangle or a circle."""
    if rng.random() >= 0.2:
        return parts
    axis = np.linspace(-1, 1, parts.shape[1])
    width, height = rng.uniform(0.65, 1.1, 2)
    inside = (np.abs(axis) < width)[None, :] & (np.abs(axis) < height)[:, None]
    if rng.random() < 0.4:
        inside = axis[None, :] ** 2 + axis[:, None] ** 2 < width**2
    return np.where(inside, parts, np.uint8(AIR))
