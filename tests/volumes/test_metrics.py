"""Two oracles: the `surface-distance` package, and all pairs of a scikit-image surface."""

from __future__ import annotations

import itertools
import math
import time
import warnings

import numpy as np
import numpy.typing as npt
import pytest
import surface_distance
from scipy import ndimage
from skimage.measure import marching_cubes, mesh_surface_area

from dpcenet.volumes.boxes_and_values import Mask
from dpcenet.volumes.metrics import MaskScores, Spacing, dice, hd95_mm, iou, nsd, score_mask

SPACINGS: list[Spacing] = [(1.0, 1.0, 1.0), (7.7, 1.25, 1.25), (0.8, 3.1, 1.9)]


def blob(seed: int, shape: tuple[int, int, int] = (9, 14, 17), sigma: float = 1.5) -> Mask:
    """A random mask of smooth lumps, which touches the border of the volume."""
    noise = np.random.default_rng(seed).standard_normal(shape)
    smooth = ndimage.gaussian_filter(noise, sigma) if sigma else noise
    return smooth > np.quantile(smooth, 0.7 if sigma else 0.5)


def box(*corners: tuple[int, int], shape: tuple[int, int, int] = (8, 10, 12)) -> Mask:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*corner) for corner in corners)] = True
    return mask


def pairs() -> list[tuple[Mask, Mask]]:
    lumps = [(blob(seed), blob(seed + 100)) for seed in range(3)]
    near = [(blob(seed), ndimage.binary_dilation(blob(seed))) for seed in (3, 4)]
    noise = [(blob(5, sigma=0.0), blob(6, sigma=0.0))]
    return lumps + near + noise


def package_scores(
    prediction: Mask, truth: Mask, spacing: Spacing, tolerance_mm: float
) -> tuple[float, float]:
    """HD95 and NSD of the `surface-distance` package."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it uses old names of SciPy
        distances = surface_distance.compute_surface_distances(truth, prediction, spacing)
    return (
        surface_distance.compute_robust_hausdorff(distances, 95),
        surface_distance.compute_surface_dice_at_tolerance(distances, tolerance_mm),
    )


def corners_and_areas(
    mask: Mask, spacing: Spacing
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(P, 3) positions in mm and (P,) areas, a cell of eight voxels at a time."""
    padded, corners, areas = np.pad(mask, 1), [], []
    for corner in itertools.product(*(range(size + 1) for size in mask.shape)):
        cell = padded[tuple(slice(i, i + 2) for i in corner)].astype(float)
        if 0 < cell.sum() < 8:
            if cell.sum() > 4:  # ambiguous cells: the minority is what is inside
                cell = 1 - cell
            vertices, faces, _, _ = marching_cubes(cell, 0.5, spacing=spacing, method="lorensen")
            corners.append(corner)
            areas.append(mesh_surface_area(vertices, faces))
    return np.array(corners) * spacing, np.array(areas)


def brute_force_scores(
    prediction: Mask, truth: Mask, spacing: Spacing, tolerance_mm: float
) -> tuple[float, float]:
    """HD95 and NSD from the distances of all pairs of patches."""
    (p, p_areas), (t, t_areas) = (corners_and_areas(m, spacing) for m in (prediction, truth))
    pairs_mm = np.sqrt(((p[:, None] - t[None]) ** 2).sum(-1))
    directed, close = [], 0.0
    for distances, areas in ((pairs_mm.min(1), p_areas), (pairs_mm.min(0), t_areas)):
        candidates = np.unique(distances)
        inside = np.array([areas[distances <= limit].sum() for limit in candidates])
        directed.append(candidates[inside >= 0.95 * areas.sum()][0])
        close += areas[distances <= tolerance_mm].sum()
    return max(directed), close / (p_areas.sum() + t_areas.sum())


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("pair", pairs())
def test_surface_scores_equal_the_surface_distance_package(
    pair: tuple[Mask, Mask], spacing: Spacing
) -> None:
    for tolerance_mm in (0.0, 2.0, 5.0):
        scores = score_mask(*pair, spacing, tolerance_mm)
        expected_hd95, expected_nsd = package_scores(*pair, spacing, tolerance_mm)
        assert scores.hd95_mm == pytest.approx(expected_hd95, rel=1e-12)
        assert scores.nsd == pytest.approx(expected_nsd, rel=1e-12)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize(("sigma", "tolerance_mm"), [(0.0, 0.0), (1.5, 2.0)])
def test_surface_scores_equal_brute_force(
    sigma: float, tolerance_mm: float, spacing: Spacing
) -> None:
    prediction, truth = (blob(seed, (9, 12, 14), sigma) for seed in (7, 8))
    scores = score_mask(prediction, truth, spacing, tolerance_mm)
    expected_hd95, expected_nsd = brute_force_scores(prediction, truth, spacing, tolerance_mm)
    assert 0 < expected_nsd < 1
    assert scores.hd95_mm == pytest.approx(expected_hd95, rel=1e-6)  # scikit-image is float32
    assert scores.nsd == pytest.approx(expected_nsd, rel=1e-6)


def test_noise_has_every_surface_that_eight_voxels_can_have() -> None:
    """So the brute force above leaves no area of the table unseen."""
    noise = np.stack([np.pad(blob(seed, (9, 12, 14), 0.0), 1) for seed in (7, 8)])
    cells = np.lib.stride_tricks.sliding_window_view(noise, (2, 2, 2), axis=(1, 2, 3))
    assert len(np.unique(cells.reshape(-1, 8), axis=0)) == 256


def test_dice_and_iou_of_known_boxes() -> None:
    truth = box((2, 4), (2, 6), (2, 6))  # 32 voxels
    prediction = box((2, 4), (4, 8), (2, 6))  # 32 voxels, 16 of them shared
    assert dice(prediction, truth) == 0.5
    assert iou(prediction, truth) == 16 / 48


@pytest.mark.parametrize("axis", range(3))
def test_a_shift_along_an_axis_costs_the_spacing_of_that_axis(axis: int) -> None:
    spacing = (6.0, 2.5, 1.5)
    truth = box((2, 5), (3, 7), (4, 9))
    prediction = np.roll(truth, 1, axis)
    assert hd95_mm(prediction, truth, spacing) == spacing[axis]
    assert nsd(prediction, truth, spacing, spacing[axis]) == 1.0
    assert nsd(prediction, truth, spacing, spacing[axis] - 0.01) < 1.0


def test_the_worse_direction_decides_hd95() -> None:
    truth = box((2, 5), (2, 5), (1, 4))
    prediction = truth | box((2, 5), (2, 5), (8, 11))  # everything, and as much that is wrong
    assert hd95_mm(prediction, truth, (1.0, 1.0, 1.0)) == 7.0
    assert hd95_mm(truth, prediction, (1.0, 1.0, 1.0)) == 7.0


def test_hd95_forgives_a_speck_that_is_a_small_part_of_the_surface() -> None:
    truth = box((2, 7), (1, 8), (1, 7))
    speck = truth.copy()
    speck[0, 9, 11] = True
    assert hd95_mm(speck, truth, (1.0, 1.0, 1.0)) == 0.0
    assert nsd(speck, truth, (1.0, 1.0, 1.0)) < 1.0


@pytest.mark.parametrize("spacing", SPACINGS)
def test_policy_for_empty_masks(spacing: Spacing) -> None:
    empty, organ = np.zeros((8, 10, 12), bool), box((2, 4), (2, 6), (2, 6))
    diagonal = math.sqrt((8 * spacing[0]) ** 2 + (10 * spacing[1]) ** 2 + (12 * spacing[2]) ** 2)
    assert score_mask(empty, empty, spacing) == MaskScores(1.0, 1.0, 0.0, 1.0)
    for pair in ((empty, organ), (organ, empty)):
        assert score_mask(*pair, spacing) == MaskScores(0.0, 0.0, pytest.approx(diagonal), 0.0)


def test_no_wrong_mask_is_worse_than_a_missed_one() -> None:
    truth, prediction, empty = (np.zeros((8, 10, 12), bool) for _ in range(3))
    truth[0, 0, 0] = prediction[-1, -1, -1] = True
    spacing = (6.0, 1.5, 1.2)
    assert hd95_mm(prediction, truth, spacing) < hd95_mm(empty, truth, spacing)


def test_scores_are_symmetric_and_perfect_for_the_truth() -> None:
    truth, prediction = blob(1), blob(2)
    spacing = (7.7, 1.25, 1.25)
    assert score_mask(truth, truth, spacing) == MaskScores(1.0, 1.0, 0.0, 1.0)
    assert score_mask(prediction, truth, spacing) == pytest.approx(
        score_mask(truth, prediction, spacing), rel=1e-12
    )


def test_single_functions_agree_with_score_mask() -> None:
    prediction, truth, spacing = blob(1), blob(2), (7.7, 1.25, 1.5)
    assert score_mask(prediction, truth, spacing, 3.0) == (
        dice(prediction, truth),
        iou(prediction, truth),
        hd95_mm(prediction, truth, spacing),
        nsd(prediction, truth, spacing, 3.0),
    )


def test_scores_do_not_depend_on_the_empty_space_around() -> None:
    prediction, truth, spacing = blob(1), blob(2), (7.7, 1.25, 1.5)
    wide = [np.pad(mask, ((5, 2), (30, 4), (0, 50))) for mask in (prediction, truth)]
    assert score_mask(*wide, spacing) == score_mask(prediction, truth, spacing)


def test_wrong_arguments_are_refused() -> None:
    mask, spacing = blob(1), (1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="truth must be 3-D bool, got 3-D uint8"):
        score_mask(mask, mask.astype(np.uint8), spacing)
    with pytest.raises(ValueError, match="prediction must be 3-D bool, got 2-D"):
        dice(mask[0], mask[0])
    with pytest.raises(ValueError, match=r"prediction is .* but truth is"):
        iou(mask, mask[1:])
    with pytest.raises(ValueError, match="spacing"):
        hd95_mm(mask, mask, (1.0, 0.0, 1.0))
    with pytest.raises(ValueError, match="spacing"):
        hd95_mm(mask, mask, (1.0, math.nan, 1.0))
    with pytest.raises(ValueError, match="tolerance_mm"):
        nsd(mask, mask, spacing, math.nan)


def test_a_liver_in_a_whole_scan_is_scored_quickly() -> None:
    z, y, x = np.ogrid[:36, :256, :256]
    truth = ((z - 18) / 13) ** 2 + ((y - 128) / 60) ** 2 + ((x - 90) / 65) ** 2 < 1
    prediction = np.roll(truth, (1, 4, -5), (0, 1, 2))
    seconds = []
    for _ in range(3):
        start = time.process_time()
        score_mask(prediction, truth, (7.7, 1.25, 1.25))
        seconds.append(time.process_time() - start)
    # About 0.1 s on one core; only a scan-wide distance transform or a loop would reach this.
    assert min(seconds) < 1.0
