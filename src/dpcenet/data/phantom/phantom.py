"""Made abdominal MR volumes with four labelled organs, for the demo and the tests.

A patient is a list of organs in patient space: liver at the right, spine behind. A scan is a grid
laid obliquely through it. Storage order, orientation and spacing of the grid change what is
stored, never where an organ lies in the patient, so an axis slip cannot hide.

The contrast is that of a fat-suppressed T2 image: fat dark, liver and muscle alike, kidneys,
spleen and bowel alike, fluid bright. No threshold finds an organ; place, shape and texture do.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial.transform import Rotation

from dpcenet.data.phantom.anatomy import BODY, IN_THE_BELLY, Organ, Part, Vector
from dpcenet.system.files import write_atomically
from dpcenet.types import Volume

PHANTOM_LABELS = {1: "liver", 2: "right kidney", 3: "left kidney", 4: "spleen"}

Shape = tuple[int, int, int]
Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

# Letter → patient axis (of right, anterior, superior) and sign.
_DIRECTIONS = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}

# How much patients differ, as standard deviations.
_SHIFT = np.array([0.035, 0.035, 0.07])  # of half the field of view
_SCALE = 0.10  # of the logarithm
_TILT_DEGREES = 8.0
_CONTRAST = 0.10  # of the logarithm
_NOISE = np.float32(18)  # in units of the intensities below
_WAVES, _WAVE_HEIGHT = 4, 0.018  # the smooth deformation, in half fields of view


def phantom(
    seed: int | Sequence[int],
    shape: Shape = (24, 160, 160),
    spacing: Vector = (6.0, 1.5, 1.5),
    *,
    oblique: bool = True,
    axes: str = "SPL",
) -> tuple[Volume, Volume]:
    """One made patient, scanned.

    Args:
        seed: one seed, one patient and one scan.
        shape: (Z, Y, X) voxels as stored. The patient is made to fill the field of view.
        spacing: (z, y, x) in mm.
        oblique: lay the grid some degrees off the patient's axes.
        axes: towards which side of the patient z, y and x grow: one of RL, AP and SI each.

    Returns:
        the image (Z, Y, X) int16 and its labels (Z, Y, X) uint8, keys of PHANTOM_LABELS or 0.

    Raises:
        ValueError: `axes` does not name three different axes.
    """
    of_grid, of_patient, of_signal = map(
        np.random.default_rng, np.random.SeedSequence(seed).spawn(3)
    )
    affine, to_patient = _grids(of_grid, shape, spacing, axes, oblique)
    organs = (BODY, _bowel(of_patient), *IN_THE_BELLY)
    tissues = _paint(of_patient, organs, shape, to_patient)
    labels = [organ.label * part.labelled for organ in organs for part in organ.parts]
    image = _signal(of_signal, tissues, [part for o in organs for part in o.parts], spacing)
    return Volume(image, affine), Volume(np.array([0, *labels], np.uint8)[tissues], affine)


def write_phantoms(
    folder: Path,
    count: int,
    seed: int = 0,
    shape: Shape = (24, 160, 160),
    spacing: Vector = (6.0, 1.5, 1.5),
) -> list[tuple[Path, Path]]:
    """Write phantoms as image_01.nii.gz, label_01.nii.gz, …; the paths are returned in pairs."""
    folder.mkdir(parents=True, exist_ok=True)
    pairs = []
    for number in range(1, count + 1):
        pair = folder / f"image_{number:02d}.nii.gz", folder / f"label_{number:02d}.nii.gz"
        for path, volume in zip(pair, phantom((seed, number), shape, spacing), strict=True):
            # NIfTI counts x, y, z where a Volume counts z, y, x.
            affine = volume.affine[:, [2, 1, 0, 3]]
            nifti = nib.Nifti1Image(volume.data.T, affine)  # type: ignore[no-untyped-call]
            nifti.header.set_xyzt_units("mm")  # type: ignore[no-untyped-call]
            write_atomically(path, partial(nib.save, nifti))
        pairs.append(pair)
    return pairs


def _grids(
    rng: np.random.Generator, shape: Shape, spacing: Vector, axes: str, oblique: bool
) -> tuple[Float64Array, Float64Array]:
    """Two (4, 4) affines of an index: to RAS+ mm, and to half fields of view of the patient."""
    if sorted(_DIRECTIONS.get(letter, (-1, 0))[0] for letter in axes) != [0, 1, 2]:
        raise ValueError(f"axes must name one of RL, AP and SI each, such as 'SPL'; got {axes!r}")
    grid = np.zeros((3, 3))
    for column, letter in enumerate(axes):
        row, sign = _DIRECTIONS[letter]
        grid[row, column] = sign * spacing[column]
    half = np.abs(grid) @ shape / 2
    middle = (np.array(shape) - 1) / 2
    tilt, isocentre, table = rng.uniform(-7, 7, 3), rng.normal(0, 0.03, 3), rng.normal(0, 30, 3)
    if oblique:
        grid = Rotation.from_euler("xyz", tilt, degrees=True).as_matrix() @ grid

    affine, to_patient = np.eye(4), np.eye(4)
    affine[:3, :3], affine[:3, 3] = grid, table - grid @ middle
    to_patient[:3, :3] = grid / half[:, None]
    to_patient[:3, 3] = isocentre - to_patient[:3, :3] @ middle
    return affine, to_patient


def _bowel(rng: np.random.Generator) -> Organ:
    """Loops in the front of the belly, as bright as kidney and spleen but anywhere."""
    loops = []
    for _ in range(rng.integers(9, 14)):
        offset = rng.uniform((-0.5, -0.25, -0.9), (0.5, 0.15, 0.4))
        radii = rng.uniform((0.08, 0.06, 0.1), (0.2, 0.14, 0.3))
        loops.append(Part(tuple(offset), tuple(radii), rng.uniform(200, 850), 0.25))
    return Organ((-0.05, 0.22, 0), tuple(loops))


def _paint(
    rng: np.random.Generator, organs: Sequence[Organ], shape: Shape, to_patient: Float64Array
) -> npt.NDArray[np.uint8]:
    """A (Z, Y, X) map of tissues: 0 is air, n the n-th part of all organs."""
    points, margin = _deformed_points(rng, shape, to_patient)
    tissues = np.zeros(shape, np.uint8)
    tissue = 0
    for organ in organs:
        centre = organ.centre + rng.normal(0, organ.mobility * _SHIFT)
        tilt = rng.normal(0, organ.mobility * _TILT_DEGREES, 3)
        scale = np.exp(rng.normal(0, organ.mobility * _SCALE, 3))
        pose = Rotation.from_euler("xyz", tilt, degrees=True).as_matrix() * scale
        for part in organ.parts:
            tissue += 1
            middle = centre + pose @ part.offset
            from_ball = pose * part.radii  # takes the unit ball to the part, less its middle
            reach = np.linalg.norm(from_ball, axis=1) + margin
            box = _index_box(middle, reach, shape, to_patient)
            beside = points[:, *box] - middle.astype(np.float32).reshape(3, 1, 1, 1)
            ball = np.tensordot(np.linalg.inv(from_ball).astype(np.float32), beside, 1)
            tissues[box][(ball**2).sum(axis=0) < 1] = tissue
    return tissues


def _deformed_points(
    rng: np.random.Generator, shape: Shape, to_patient: Float64Array
) -> tuple[Float32Array, Float64Array]:
    """Where voxels lie in the undeformed patient (3, Z, Y, X), and how far they moved at most."""
    z, y, x = np.ogrid[: shape[0], : shape[1], : shape[2]]
    still = np.empty((3, *shape), np.float32)
    for axis, row in enumerate(to_patient[:3]):
        still[axis] = row[0] * z + row[1] * y + (row[2] * x + row[3])
    points = still.copy()
    margin = np.zeros(3)
    for _ in range(_WAVES):
        frequency = rng.normal(0, 2.5, 3).astype(np.float32)
        height = rng.normal(0, _WAVE_HEIGHT, 3)
        phase = np.float32(rng.uniform(0, 2 * np.pi))
        wave = np.sin(np.tensordot(frequency, still, 1) + phase)
        for axis in range(3):
            points[axis] += np.float32(height[axis]) * wave
        margin += np.abs(height)
    return points, margin


def _index_box(
    centre: Float64Array, reach: Float64Array, shape: Shape, to_patient: Float64Array
) -> tuple[slice, slice, slice]:
    """The voxels that can lie within `reach` of `centre`; painting is slow, boxes are small."""
    to_index = np.linalg.inv(to_patient)
    middle = to_index[:3, :3] @ centre + to_index[:3, 3]
    extent = np.abs(to_index[:3, :3]) @ reach
    low = np.clip(np.floor(middle - extent), 0, shape).astype(int)
    high = np.clip(np.ceil(middle + extent) + 1, 0, shape).astype(int)
    z, y, x = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return z, y, x


def _signal(
    rng: np.random.Generator, tissues: npt.NDArray[np.uint8], parts: list[Part], spacing: Vector
) -> npt.NDArray[np.int16]:
    """What the scanner makes of the tissues: texture, blur, uneven coils and noise."""
    contrast = np.exp(rng.normal(0, _CONTRAST, len(parts)))
    intensity = np.array([0, *(c * p.intensity for c, p in zip(contrast, parts, strict=True))])
    spread = np.array([0, *(part.texture for part in parts)])
    texture = rng.standard_normal(tissues.shape, np.float32)
    texture = ndimage.gaussian_filter(texture, [2.5 / step for step in spacing], truncate=3)
    texture *= (intensity * spread).astype(np.float32)[tissues] / texture.std()
    signal = intensity.astype(np.float32)[tissues] + texture
    signal = ndimage.gaussian_filter(signal, 0.55, truncate=3)  # voxels at a border mix tissues

    bias = rng.uniform(-0.35, 0.35, 3).astype(np.float32)
    for axis, size in enumerate(tissues.shape):
        ramp = np.exp(bias[axis] * np.linspace(-1, 1, size, dtype=np.float32))
        signal *= np.expand_dims(ramp, [other for other in range(3) if other != axis])
    real, imaginary = _NOISE * rng.standard_normal((2, *tissues.shape), np.float32)
    magnitude = np.hypot(signal + real, imaginary)  # hence Rician noise, never negative
    return np.asarray(rng.uniform(0.7, 1.4) * magnitude, np.int16)
