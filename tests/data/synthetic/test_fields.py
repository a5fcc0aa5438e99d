"""The parts of the generator against plain NumPy and geometry."""

from __future__ import annotations

import numpy as np
import torch
from scipy.interpolate import BSpline

from dpcenet.data.synthetic.deform import (
    patient_coordinates,
    pixel_grid,
    smooth_field,
    spline_basis,
)
from dpcenet.data.synthetic.draws import Draws
from dpcenet.data.synthetic.labels import FIRST_ORGAN, LAYERS, cut, draw_anatomy, draw_patient
from dpcenet.data.synthetic.render import draw_contrast, field_of_view, render, vary

CPU = torch.device("cpu")


def test_spline_basis_is_the_cubic_b_spline() -> None:
    basis = spline_basis(17, 7, CPU).numpy()
    places = np.linspace(1, 5, 17)
    for knot in range(7):
        bump = BSpline.basis_element(np.arange(-2.0, 3.0), extrapolate=False)
        np.testing.assert_allclose(basis[:, knot], np.nan_to_num(bump(places - knot)), atol=1e-6)
    np.testing.assert_allclose(basis.sum(1), 1, atol=1e-6)


def test_smooth_fields_have_unit_deviation_and_neighbours_alike() -> None:
    field = smooth_field(Draws(0, 0, CPU), 200, 1, 8, 64)
    assert abs(field.std().item() - 1) < 0.05
    step = (field[..., 1:] - field[..., :-1]).std()
    assert step < 0.2


def test_without_variation_a_patient_is_the_anatomy() -> None:
    draws, still = Draws(1, 0, CPU), torch.zeros(3)
    anatomy = draw_anatomy(draws, 3, chambers=0.5)
    patient = draw_patient(draws, anatomy, still, missing=0.0)
    identity = torch.eye(2).expand(3, 2, 2)
    places = patient_coordinates(draws, identity, torch.zeros(3, 2), still, 64)
    torch.testing.assert_close(places, pixel_grid(64, CPU).expand(3, -1, -1, -1))
    assert torch.equal(cut(patient, places, still, 128), cut(anatomy, places, still, 128))


def test_missing_organs_are_not_cut() -> None:
    draws, still = Draws(2, 0, CPU), torch.zeros(4)
    anatomy = draw_anatomy(draws, 4, chambers=0.5)
    patient = draw_patient(draws, anatomy, still, missing=1.0)
    labels = cut(patient, pixel_grid(64, CPU).expand(4, -1, -1, -1), still, 128)
    assert labels.max() < FIRST_ORGAN


def test_cores_lie_in_their_hosts() -> None:
    """A core keeps its host's shape up to size and shift, and is smaller."""
    organs = draw_anatomy(Draws(3, 0, CPU), 8, chambers=0.0).organs
    hosts = organs.rows(organs.leader)
    cores = organs.leader != torch.arange(organs.leader.shape[1])
    assert cores.any()
    assert (organs.radii[cores] < hosts.radii[cores]).all()
    assert torch.equal(organs.angle[cores], hosts.angle[cores])
    assert (organs.order[cores] > hosts.order[cores]).all()


def test_rendering_shows_the_labels() -> None:
    """Mean brightness of a label in the image follows its mean of the contrast."""
    draws = Draws(4, 0, CPU)
    contrast = draw_contrast(draws, 1)
    labels = torch.zeros(1, 64, 64, dtype=torch.int64)
    labels[:, 16:48, 16:48] = LAYERS + 4
    image = render(draws, labels, contrast)
    brighter = contrast.mean[0, LAYERS + 4] > contrast.mean[0, 0]
    assert (image[0, 24:40, 24:40].mean() > image[0, :8].mean()) == brighter


def test_unchanged_contrast_stays_close_and_changed_does_not() -> None:
    draws = Draws(5, 0, CPU)
    contrast = draw_contrast(draws, 64)
    same = vary(draws, contrast, torch.zeros(64, dtype=torch.bool)).mean - contrast.mean
    other = vary(draws, contrast, torch.ones(64, dtype=torch.bool)).mean - contrast.mean
    assert same.abs().mean() < 0.06
    assert other.abs().mean() > 1.5 * same.abs().mean()


def test_one_field_of_view_in_four_is_padded() -> None:
    inside = field_of_view(Draws(6, 0, CPU), 400, 32)
    padded = (~inside).flatten(1).any(1).float().mean()
    assert 0.15 < padded < 0.3
