"""Cohorts and their episodes: reproducible, aligned, connected through the slices, and fast."""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt
import pytest
import torch

from dpcenet.data.synthetic.acquisition import HOUNSFIELD, acquire, draw_contrast
from dpcenet.data.synthetic.body_plan import draw_anatomy
from dpcenet.data.synthetic.cohort import Cohort, CohortOptions, make_cohort
from dpcenet.data.synthetic.episodes import CohortEpisodeOptions, EpisodeGenerator, Episodes
from dpcenet.data.synthetic.patients import smooth_noise
from dpcenet.data.synthetic.solid_draws import as_solids
from dpcenet.data.synthetic.volume_shapes import (
    AIR,
    BONE,
    FAT,
    FIRST_SOLID,
    MUSCLE,
    Solids,
    Trunk,
    paint,
)
from dpcenet.errors import ConfigError

SMALL = CohortOptions(size=48, slices=16, patients=3)
EPISODES = CohortEpisodeOptions(window=4)


@pytest.fixture(scope="module")
def cohorts() -> list[Cohort]:
    return [make_cohort(0, number, SMALL) for number in range(12)]


@pytest.fixture(scope="module")
def batches() -> list[Episodes]:
    generator = EpisodeGenerator(3, 4, SMALL, EPISODES)
    return [generator(number) for number in range(24)]


def one_solid(**changes: float | list[float]) -> Solids:
    """An ellipsoid of 40, 30 and 20 mm in the middle, turned a little, with `changes`."""
    angle = 0.4
    turn = [[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    usual: dict[str, object] = {"centre": [5, -10, 15], "turn": turn, "radii": [40, 30, 20]}
    usual |= {"bend": 0, "taper": 0, "wave": [0, 1], "box": 0, "rough": 0, "noise": 0, "host": -1}
    columns = usual | changes
    return as_solids({name: [value] for name, value in columns.items()})


def painted(solids: Solids, step: float = 4.0, warp: float = 0.0) -> npt.NDArray[np.uint8]:
    """Painted into a large trunk of one tissue; voxel (i, j, k) lies at (i, j, k) · step − 100."""
    fields = np.zeros((4, 8, 8, 8), np.float32)
    size = round(200 / step) + 1
    grid = np.concatenate([np.eye(3) * step, np.full((3, 1), -100)], 1).astype(np.float32)
    trunk = Trunk(np.full(2, 1e4, np.float32), np.ones(3, np.float32), np.zeros(3, np.float32), 0)
    return paint(solids, trunk, fields, fields[:3] + np.float32(warp), grid, (size,) * 3)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"bend": 0.5},
        {"taper": -0.4},
        {"wave": [0.4, 3.0]},
        {"box": 0.6},
        {"bend": -0.3, "box": 1},
    ],
)
def test_a_solid_is_what_its_formula_says(changes: dict[str, float | list[float]]) -> None:
    solids = one_solid(**changes)
    found = painted(solids) == FIRST_SOLID
    axis = np.arange(51) * 4.0 - 100
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    places = np.stack([x, y, z], -1) - solids.centre[0]
    a, b, c = np.moveaxis(places @ solids.turn[0].T / solids.radii[0], -1, 0)
    high, often = solids.wave[0]
    b = b - high * np.sin(often * a) - solids.bend[0] * (a**2 - 0.5)
    c = c - high * np.cos(0.7 * often * a + 1) * (high > 0)
    narrow = np.maximum(1 + solids.taper[0] * a, 0.2)
    b, c = b / narrow, c / narrow
    box = solids.box[0]
    level = (1 - box) * (a**2 + b**2 + c**2) + box * np.sqrt(a**4 + b**4 + c**4)
    assert found.sum() > 500
    assert ((level < 1) != found).sum() <= 0.002 * found.sum()  # rounding at the surface


def test_displacement_moves_what_is_seen() -> None:
    assert (painted(one_solid())[2:, 2:, 2:] == painted(one_solid(), warp=8)[:-2, :-2, :-2]).all()


def test_what_lies_inside_is_seen_inside_only() -> None:
    outer, inner, top = (
        one_solid(),
        one_solid(centre=[35, -10, 15], host=0),
        one_solid(radii=[9, 9, 9]),
    )
    both = {k: np.concatenate([getattr(s, k) for s in (outer, inner, top)]) for k in vars(outer)}
    parts, alone = painted(Solids(**both)), painted(outer)
    assert ((parts >= FIRST_SOLID) == (alone == FIRST_SOLID)).all()
    assert (parts == FIRST_SOLID + 1).any()
    assert (parts[painted(top) == FIRST_SOLID] == FIRST_SOLID + 2).all()


def test_a_cohort_depends_on_seed_and_number_only(cohorts: list[Cohort]) -> None:
    again = make_cohort(0, 3, SMALL)
    for name, values in vars(cohorts[3]).items():
        assert np.array_equal(values, vars(again)[name]), name
    assert not np.array_equal(again.parts, cohorts[4].parts)
    assert not np.array_equal(again.parts, make_cohort(1, 3, SMALL).parts)


def test_a_batch_depends_on_seed_and_number_only(batches: list[Episodes]) -> None:
    fresh = EpisodeGenerator(3, 4, SMALL, EPISODES)(9)  # without the batches before it
    for name, tensor in vars(batches[9]).items():
        assert torch.equal(tensor, vars(fresh)[name]), name
    assert not torch.equal(batches[9].query_images, batches[10].query_images[:4])


def test_images_show_the_parts(cohorts: list[Cohort]) -> None:
    """Within a slice most of what varies is told by the part: image and labels lie on each other;
    moved by four pixels they no longer do."""
    told, moved = [], []
    for cohort in cohorts:
        for image, parts in zip(cohort.images[:, 8], cohort.parts[:, 8], strict=True):
            if len(np.unique(parts)) > 3:
                told.append(share_told(image, parts))
                moved.append(share_told(image, np.roll(parts, 4, 1)))
    assert np.mean(told) > 0.6
    assert np.mean(told) > np.mean(moved) + 0.2


def share_told(image: npt.NDArray[np.float32], parts: npt.NDArray[np.uint8]) -> float:
    """Share of an image's variance that lies between its parts."""
    left = sum(
        ((image[parts == p] - image[parts == p].mean()) ** 2).sum() for p in np.unique(parts)
    )
    return 1 - float(left) / float(((image - image.mean()) ** 2).sum())


def test_images_are_normalised_and_patients_differ(cohorts: list[Cohort]) -> None:
    for cohort in cohorts:
        assert cohort.images.dtype == np.float32
        assert np.isfinite(cohort.images).all()
        assert (np.abs(cohort.images.mean((1, 2, 3))) < 0.5).all()
        assert (np.abs(np.log(cohort.images.std((1, 2, 3)))) < 0.6).all()
        assert (cohort.parts[0] != cohort.parts[1]).mean() > 0.02


def test_neighbouring_slices_overlap(cohorts: list[Cohort]) -> None:
    """An organ continues from slice to slice: volumes, not stacks of unrelated slices."""

    def same(parts: npt.NDArray[np.uint8], apart: int) -> float:
        one, other = parts[:, :-apart], parts[:, apart:]
        return float((one == other)[one >= FIRST_SOLID].mean())

    seen = [c.parts for c in cohorts if (c.parts >= FIRST_SOLID).mean() > 0.05]
    near, far = (np.mean([same(parts, apart) for parts in seen]) for apart in (1, 8))
    assert near > 0.6
    assert near > far + 0.2


def test_heights_match_slices_of_patients(cohorts: list[Cohort]) -> None:
    for cohort in cohorts:
        assert (np.diff(cohort.heights, axis=1) > 0).all()
        low, high = cohort.heights[:, 0].max(), cohort.heights[:, -1].min()
        assert high > low  # all scans share a range


def test_areas_count_the_pixels_of_structures(cohorts: list[Cohort]) -> None:
    cohort = cohorts[0]
    for s in range(0, len(cohort.weights), 7):
        wanted = np.isin(cohort.parts, np.flatnonzero(cohort.structures[s])).sum((2, 3))
        assert np.array_equal(cohort.areas[:, s], wanted)


def test_hounsfield_units_are_those_of_textbooks() -> None:
    rng = np.random.default_rng(0)
    anatomy = draw_anatomy(rng, textbook=1.0, ground=0.1)
    contrasts = [c for c in (draw_contrast(rng, anatomy) for _ in range(80)) if c.is_ct]
    assert 10 < len(contrasts) < 60
    means = np.stack([contrast.mean for contrast in contrasts])
    assert (np.abs(means[:, AIR] + 1000) < 30).all()
    assert ((means[:, FAT] > -150) & (means[:, FAT] < -40)).all()
    assert ((means[:, MUSCLE] > 10) & (means[:, MUSCLE] < 95)).all()
    assert (means[:, BONE] > 120).all()
    lungs = [k == "lung" for k in anatomy.kinds]
    assert means[:, lungs].max() < HOUNSFIELD["lung"][1] + 30
    for contrast in contrasts[:3]:  # beyond the window nothing is told apart
        parts = np.full((4, 32, 32), AIR, np.uint8)
        parts[:, 8:24] = MUSCLE
        image = acquire(rng, parts, contrast)
        assert np.ptp(image[:, :5]) < 1e-3 * np.ptp(image)


def test_episodes_are_what_they_promise(batches: list[Episodes]) -> None:
    shots = [batch.support_images.shape[1] for batch in batches]
    assert {1, 3} <= set(shots) <= {1, 2, 3, 5}
    absent = []
    for batch in batches:
        count = batch.support_images.shape[1]
        assert batch.support_masks.shape == (4, 3, count, 48, 48)
        assert batch.query_masks.shape == (4, 3, 48, 48)
        assert (batch.support_masks[:, :, 0].flatten(2).sum(-1) > 0).all()
        for labels, masks in (
            (batch.support_labels[:, None].expand(-1, 3, -1, -1, -1), batch.support_masks),
            (batch.query_labels[:, None].expand(-1, 3, -1, -1), batch.query_masks),
        ):
            assert set(masks.unique().tolist()) <= {0.0, 1.0}
            assert (labels[masks > 0] > AIR).all()
        for episode in range(4):  # a structure is made of whole parts, the same in both scans
            for target in range(3):
                shown, asked = (
                    batch.support_labels[episode][batch.support_masks[episode, target] > 0],
                    batch.query_labels[episode][batch.query_masks[episode, target] == 0],
                )
                assert not set(shown.tolist()) & set(asked.tolist())
        absent += (batch.query_masks.flatten(2).sum(-1) == 0).flatten().tolist()
    assert 0.08 < np.mean(absent) < 0.4  # negative slices exist


def test_a_lonely_patient_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"cohorts\.patients is 1"):
        EpisodeGenerator(0, 2, CohortOptions(patients=1), EPISODES)


def test_smooth_noise_is_smooth_and_of_unit_variance() -> None:
    noise = smooth_noise(np.random.default_rng(0), 8, 10)
    assert noise.std() == pytest.approx(1, abs=0.1)
    assert np.abs(np.diff(noise, axis=1)).mean() < 0.4


def test_a_cohort_takes_no_longer_than_a_few_steps() -> None:
    make_cohort(0, 0, CohortOptions())  # compiled
    start = time.process_time()
    make_cohort(0, 1, CohortOptions())
    assert time.process_time() - start < 3  # 0.3 s on a quiet core
