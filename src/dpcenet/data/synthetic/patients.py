"""Patients of one anatomy: organs of other sizes, elsewhere, bent; and how scans lie in them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from dpcenet.data.synthetic.body_plan import Anatomy
from dpcenet.data.synthetic.deform import spline_basis
from dpcenet.data.synthetic.solid_draws import rotation
from dpcenet.data.synthetic.volume_shapes import Floats, Solids, Trunk

KNOTS = 33  # samples per side of the fields, about 20 mm apart
Double = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Patient:
    """One patient.

    Attributes:
        solids, trunk: as of the anatomy, varied.
        warp: (3, G, G, G) mm, see `volume_shapes.paint`.
    """

    solids: Solids
    trunk: Trunk
    warp: Floats


@dataclass(frozen=True)
class View:
    """How the scans of a cohort lie in the anatomy.

    Attributes:
        axes: (3, 3), directions of columns, rows and slices as columns of a matrix.
        centre: (3,) mm, the middle of the scan.
        field: mm, side of the square that a slice shows.
        height: mm, from the first slice to the last.
    """

    axes: Double
    centre: Double
    field: float
    height: float


def smooth_noise(rng: np.random.Generator, fields: int, knots: int) -> Floats:
    """(fields, G, G, G), standard deviation near 1; the fewer knots, the smoother."""
    basis = spline_basis(KNOTS, knots, torch.device("cpu")).numpy()
    basis = basis / np.sqrt((basis**2).sum(1, keepdims=True))
    noise = rng.standard_normal((fields, knots, knots, knots), np.float32)
    for _ in range(3):  # each axis in turn: the last one becomes the first
        noise = np.moveaxis(noise @ basis.T, -1, 1)
    return np.ascontiguousarray(noise, np.float32)


def draw_patient(
    rng: np.random.Generator, anatomy: Anatomy, amount: float, missing: float
) -> Patient:
    """One patient of an anatomy.

    Args:
        rng: source of everything.
        anatomy: what patients have in common.
        amount: how much they differ; 1 is usual.
        missing: chance that an organ is absent.
    """
    thick = np.exp(amount * rng.normal(0, [0.2, 0.35, 0.2])).astype(np.float32)
    warp = 7 * amount * smooth_noise(rng, 3, 8) + 2 * amount * smooth_noise(rng, 3, 18)
    return Patient(
        solids=_varied(rng, anatomy, amount, missing),
        trunk=replace(anatomy.trunk, layers=anatomy.trunk.layers * thick),
        warp=warp.astype(np.float32),
    )


def _varied(rng: np.random.Generator, anatomy: Anatomy, amount: float, missing: float) -> Solids:
    """Organs moved, turned and stretched, what is inside them along with them."""
    solids, group = anatomy.solids, anatomy.group
    count, host = len(solids), solids.centre[group]
    step = amount * (5 + 0.12 * solids.radii.clip(max=80).mean(1, keepdims=True))
    moved = step * rng.normal(size=(count, 3))
    turns = np.stack([rotation(amount * angles) for angles in rng.normal(0, 0.12, (count, 3))])
    stretch = np.exp(amount * rng.normal(0, 0.09, (count, 3)) + amount * rng.normal(0, 0.09))
    inside = np.einsum("kij,kj->ki", turns[group], solids.centre - host)
    inside *= stretch[group].mean(1, keepdims=True)
    there = rng.random(count) >= missing
    own = np.exp(amount * rng.normal(0, 0.06, (count, 3)))
    varied = replace(
        solids,
        centre=(host + inside + moved[group] + 0.2 * moved).astype(np.float32),
        turn=np.einsum("kij,klj->kil", solids.turn, turns[group]).astype(np.float32),
        radii=(solids.radii * stretch[group] * own).astype(np.float32),
        bend=(solids.bend + amount * rng.normal(0, 0.1, count)).astype(np.float32),
    )
    return varied.kept(there[group] & there)


def draw_view(rng: np.random.Generator, anatomy: Anatomy) -> View:
    """Axial in most cohorts, else coronal, sagittal or oblique; of the body or of a part of it."""
    width = 2 * float(anatomy.trunk.half[0])
    focus = anatomy.focus[rng.integers(len(anatomy.focus))] + rng.normal(0, 12, 3)
    chance, zoomed = rng.random(), rng.random() < 0.4
    if chance < 0.65:
        axes = rotation(rng.normal(0, 0.06, 3))
    elif chance < 0.75:
        axes = rotation([np.pi / 2, 0, rng.choice([0, np.pi / 2])])
    else:
        axes, zoomed = rotation(rng.uniform(-np.pi, np.pi, 3)), rng.random() < 0.75
    if rng.random() < 0.4:  # stored in any orientation
        quarter = rotation([0, 0, rng.integers(4) * np.pi / 2])
        axes = axes @ quarter @ np.diag([rng.choice([-1, 1]), 1, 1])
    if not zoomed:
        focus[:2] *= 0.15
    field = width * (np.exp(rng.uniform(-0.9, 0)) if zoomed else rng.uniform(0.9, 1.35))
    return View(axes, focus.astype(np.float64), field, float(np.exp(rng.uniform(3.9, 5.7))))


def draw_grid(
    rng: np.random.Generator, view: View, size: int, slices: int, amount: float
) -> tuple[Floats, Double]:
    """Where the voxels of one patient's scan lie.

    Fields of view differ, some by up to twice; some patients lie quite otherwise.

    Returns:
        (3, 4) mm, see `volume_shapes.paint`, and (slices,) mm, how high each slice lies in what
        the cohort's scans show.
    """
    chance, far = rng.random(), rng.random() < 0.08
    wider = rng.normal(0, 0.05 if chance < 0.7 else 0.15)
    if chance > 0.9:
        wider = rng.uniform(-0.2, 0.7)
    pixel = view.field * np.exp(wider) / size
    step = view.height * np.exp(rng.normal(0, 0.2)) / slices
    turn = rotation(rng.normal(0, 1, 3) * [0.06, 0.06, 0.35 if far else 0.1] * max(0.3, amount))
    scale = np.exp(amount * (rng.normal(0, 0.07) + rng.normal(0, [0.03, 0.03, 0.06])))
    wide = (0.12 if far else 0.035) * view.field
    spread = np.array([wide, wide, min(wide, 0.12 * view.height)]) * max(0.3, amount)
    shift = rng.normal(0, 1, 3) * spread
    matrix = (turn @ view.axes) * scale * [pixel, pixel, step]
    middle = (np.array([size, size, slices]) - 1) / 2
    origin = view.centre + view.axes @ shift - matrix @ middle
    heights = shift[2] + step * scale[2] * (np.arange(slices) - middle[2])
    return np.concatenate([matrix, origin[:, None]], 1).astype(np.float32), heights
