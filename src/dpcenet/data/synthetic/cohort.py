"""Cohorts: the scans of several made-up patients of one anatomy, as small volumes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dpcenet.data.synthetic.acquisition import acquire, draw_contrast, in_field, vary_contrast
from dpcenet.data.synthetic.body_plan import draw_anatomy
from dpcenet.data.synthetic.patients import draw_grid, draw_patient, draw_view, smooth_noise
from dpcenet.data.synthetic.volume_shapes import paint


@dataclass(frozen=True)
class CohortOptions:
    """What the cohorts are like.

    Attributes:
        size: pixels per side of a slice.
        slices: slices of each scan.
        patients: scans of a cohort.
        textbook: share of cohorts that are laid out like a trunk; others have any organs anywhere.
        missing: chance that a patient lacks an organ.
        ground: weight of bone, muscle and fat as structures, relative to an organ.
        variation: lowest and highest amount by which the patients of a cohort differ; 1 is usual.
    """

    size: int = 96
    slices: int = 24
    patients: int = 4
    textbook: float = 0.6
    missing: float = 0.05
    ground: float = 0.1
    variation: tuple[float, float] = (0.3, 1.1)


@dataclass(frozen=True)
class Cohort:
    """Scans of one anatomy; n patients, Z slices, P parts, S structures.

    Attributes:
        images: (n, Z, H, W) float32, z-scored over each scan.
        parts: (n, Z, H, W) uint8, what lies where.
        heights: (n, Z) mm, how high each slice lies in what all the scans show.
        structures: (S, P) bool, the parts of what may be asked for.
        weights: (S,) float32, how often each is asked for.
        areas: (n, S, Z) int64, pixels of each structure in each slice.
    """

    images: npt.NDArray[np.float32]
    parts: npt.NDArray[np.uint8]
    heights: npt.NDArray[np.float64]
    structures: npt.NDArray[np.bool_]
    weights: npt.NDArray[np.float32]
    areas: npt.NDArray[np.int64]


def make_cohort(seed: int, number: int, options: CohortOptions) -> Cohort:
    """Cohort `number` of a seed: a pure function of both and of the options."""
    rng = np.random.default_rng([seed, number])
    anatomy = draw_anatomy(rng, options.textbook, options.ground)
    contrast, view = draw_contrast(rng, anatomy), draw_view(rng, anatomy)
    amount = np.exp(rng.uniform(*np.log(options.variation)))
    noise = smooth_noise(rng, 4, 14)
    scans = []
    for _ in range(options.patients):
        patient = draw_patient(rng, anatomy, amount, options.missing)
        grid, heights = draw_grid(rng, view, options.size, options.slices, amount)
        shape = (options.slices, options.size, options.size)
        parts = paint(patient.solids, patient.trunk, noise, patient.warp, grid, shape)
        parts = in_field(rng, parts)
        scans.append((acquire(rng, parts, vary_contrast(rng, contrast, anatomy)), parts, heights))
    images, parts, heights = (np.stack(each) for each in zip(*scans, strict=True))
    areas = _part_areas(parts, len(anatomy.kinds)) @ anatomy.structures.T.astype(np.int64)
    return Cohort(
        images, parts, heights, anatomy.structures, anatomy.weights, areas.transpose(0, 2, 1)
    )


def _part_areas(parts: npt.NDArray[np.uint8], count: int) -> npt.NDArray[np.int64]:
    """Pixels (n, Z, count) of each part in each slice of (n, Z, H, W)."""
    rows = parts.reshape(-1, parts[0, 0].size)
    return np.stack([np.bincount(row, minlength=count) for row in rows]).reshape(
        *parts.shape[:2], count
    )
