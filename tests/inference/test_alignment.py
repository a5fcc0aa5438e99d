"""Made volumes of smooth random features, in which it is known where everything lies."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy import ndimage

from dpcenet.inference.alignment import (
    Alignment,
    AlignmentSearch,
    ZLine,
    align_volumes,
    line_scores,
)
from dpcenet.inference.feature_volume import (
    FeatureVolume,
    feature_volume,
    pair_likeness,
    slice_blend,
    whitened,
)
from dpcenet.inference.start_choice import served_slices

STEP, CELL, CHANNELS = 8.0, 25.0, 24
ORGAN = 3


class Body:
    """Smooth random features of every place in mm: (z along the body; y, x from its axis)."""

    def __init__(self, seed: int, length: float = 800.0) -> None:
        rng = np.random.default_rng(seed)
        grid = rng.normal(size=(CHANNELS, int(length / 10), 40, 40))
        self.grid = ndimage.gaussian_filter(grid, (0, 4, 2, 2))
        self.grid /= self.grid.std()

    def volume(
        self,
        first: float,
        slices: int,
        cells: int = 12,
        scale: float = 1.0,
        plane_scale: float = 1.0,
        turn: float = 0.0,
        shift: tuple[float, float] = (0.0, 0.0),
    ) -> FeatureVolume:
        """What a scan that begins `first` mm down the body sees of it, if the body is larger by
        these factors, turned (degrees, from y towards x), and then moved in the plane."""
        z = first + (np.arange(slices) + 0.5) * STEP / scale
        axis = (np.arange(cells) - (cells - 1) / 2) * CELL
        y, x = np.meshgrid(axis - shift[0], axis - shift[1], indexing="ij")
        angle = np.deg2rad(turn)
        down = (np.cos(angle) * y + np.sin(angle) * x) / plane_scale
        across = (np.cos(angle) * x - np.sin(angle) * y) / plane_scale
        shape = (slices, cells, cells)
        places = np.stack(
            [
                np.broadcast_to(z[:, None, None] / 10, shape),
                np.broadcast_to(down / 10 + 20, shape),
                np.broadcast_to(across / 10 + 20, shape),
            ]
        )
        maps = [ndimage.map_coordinates(one, places, order=1, mode="nearest") for one in self.grid]
        inside = np.broadcast_to(np.hypot(down, across) < 140, shape).astype(np.float32)
        values = np.stack(maps, 1).astype(np.float32)
        return FeatureVolume(torch.from_numpy(values), torch.from_numpy(inside.copy()), STEP, CELL)


def organ(slices: int, first: int, last: int, pixels: int = 48) -> npt.NDArray[np.uint8]:
    """A labelled scan of slices 8 mm apart, with an organ in slices first … last − 1."""
    label = np.zeros((slices, pixels, pixels), np.uint8)
    label[first:last, 18:30, 14:26] = ORGAN
    return label


def best_way(
    support: FeatureVolume,
    label: npt.NDArray[np.uint8],
    values: list[int],
    query: FeatureVolume,
    search: AlignmentSearch | None = None,
) -> Alignment:
    return align_volumes(support, label, values, query, search)[0]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("scale", [0.84, 1.0, 1.18])
def test_a_known_shift_and_scale_along_z_is_recovered(seed: int, scale: float) -> None:
    body = Body(seed)
    found = best_way(
        body.volume(200, 30), organ(30, 10, 20), [ORGAN], body.volume(160, 45, scale=scale)
    )
    # 10 … 20 slices of the support are 280 … 360 mm of the body.
    for place in (280.0, 320.0, 360.0):
        truth = (place - 160) * scale
        line = found.organs[ORGAN]
        support = line.in_support(np.array([truth]))[0] + 200
        assert abs(support - place) < STEP
    assert found.confidence > 0.4


def test_a_known_shift_in_the_plane_is_recovered() -> None:
    body = Body(2)
    query = body.volume(200, 30, shift=(25.0, -50.0))
    found = best_way(body.volume(200, 30), organ(30, 10, 20), [ORGAN], query)
    assert found.plane.shift == (25.0, -50.0)
    assert found.plane.scale == 1.0


def test_a_known_scale_and_turn_in_the_plane_are_recovered() -> None:
    body = Body(3)
    query = body.volume(200, 30, plane_scale=1.18, turn=20.0)
    search = AlignmentSearch(turns=(-20.0, 0.0, 20.0))
    found = best_way(body.volume(200, 30), organ(30, 10, 20), [ORGAN], query, search)
    assert (found.plane.scale, found.plane.turn) == (1.18, 20.0)


def test_a_field_of_view_twice_as_large_in_all_directions() -> None:
    body = Body(4)
    query = body.volume(40, 80, cells=24)
    found = best_way(body.volume(300, 35), organ(35, 12, 22), [ORGAN], query)
    assert abs(found.organs[ORGAN].in_support(np.array([260.0 + 17 * STEP]))[0] - 17 * STEP) < STEP


def test_an_organ_that_lies_lower_than_the_rest_gets_its_own_line() -> None:
    body = Body(5)
    support, query = body.volume(200, 30), body.volume(200, 30)
    lower = body.volume(200 - 24, 30)  # the same 24 mm further along the scan
    # The organ's columns and the cells around them, in cells of 4 pixels.
    query.maps[:, :, 3:9, 2:8] = lower.maps[:, :, 3:9, 2:8]
    found = best_way(support, organ(30, 10, 20), [ORGAN], query)
    middle = 15 * STEP
    assert abs(found.organs[ORGAN].in_support(np.array([middle + 24]))[0] - middle) < STEP


def test_a_reversed_or_a_strange_query_is_not_accepted() -> None:
    body = Body(6)
    support, label = body.volume(200, 30), organ(30, 10, 20)
    query = body.volume(200, 30)
    right = best_way(support, label, [ORGAN], query)
    turned = FeatureVolume(query.maps.flip(0), query.body, STEP, CELL)
    reversed_one = best_way(support, label, [ORGAN], turned)
    strange = best_way(support, label, [ORGAN], Body(99).volume(200, 30))
    elsewhere = best_way(support, label, [ORGAN], body.volume(520, 30))
    assert right.whole.scale > 0
    for other in (reversed_one, strange, elsewhere):
        assert other.confidence < 0.5 * right.confidence


def test_a_label_map_without_the_labels_is_refused() -> None:
    volume = Body(0).volume(200, 10)
    with pytest.raises(ValueError, match="none of"):
        best_way(volume, organ(10, 2, 4), [7], volume)


def test_several_ways_lie_apart_and_the_most_similar_one_comes_first() -> None:
    body = Body(8)
    search = AlignmentSearch(starts=4, apart=40.0)
    ways = align_volumes(
        body.volume(200, 30), organ(30, 10, 20), [ORGAN], body.volume(160, 45), search
    )
    places = [way.whole.in_query(15 * STEP) for way in ways]
    assert len(ways) == 4
    assert np.diff(sorted(places)).min() >= 39.9
    assert abs(places[0] - (15 * STEP + 40)) < STEP
    assert ways[0].similarity > max(way.similarity for way in ways[1:])


def test_there_are_no_more_ways_than_room_for_them() -> None:
    volume = Body(0).volume(200, 5)
    search = AlignmentSearch(starts=5, apart=1000.0)
    assert len(align_volumes(volume, organ(5, 1, 4), [ORGAN], volume, search)) == 1


def test_labels_that_are_absent_get_no_line() -> None:
    volume = Body(0).volume(200, 10)
    assert set(best_way(volume, organ(10, 2, 4), [ORGAN, 7], volume).organs) == {ORGAN}


def test_the_likeness_of_slices_is_the_weighted_sum_of_cosines() -> None:
    body = Body(7)
    support, query = whitened(body.volume(200, 4, cells=6), body.volume(190, 5, cells=6))
    weight = torch.from_numpy(np.random.default_rng(0).random((4, 6, 6)).astype(np.float32))
    weight[0], weight[:, :1], weight[:, :, 5:] = 0, 0, 0
    alike = pair_likeness(support, weight, query, (1.0, 0.0), reach=1)
    assert not alike[:, 0].any()
    shown, seen, mass = support.maps.numpy(), query.maps.numpy(), weight.numpy()
    inside = np.sqrt(query.body.numpy())
    expected = 0.0
    for y in range(6):
        for x in range(6):
            if 0 <= y + 1 < 6 and 0 <= x - 1 < 6:  # shifted by a cell down and a cell left
                cosine = shown[2, :, y, x] @ seen[3, :, y + 1, x - 1]
                expected += mass[2, y, x] * cosine * inside[3, y + 1, x - 1]
    expected /= mass.sum()
    assert float(alike[2 * 3 + 0, 2, 3]) == pytest.approx(expected, rel=1e-3)
    about = pair_likeness(support, weight, query, (1.0, 0.0), reach=0, about=(1, -1))
    assert float(about[0, 2, 3]) == pytest.approx(expected, rel=1e-3)


def test_scores_of_lines_are_interpolated_sums_over_the_pairs() -> None:
    rng = np.random.default_rng(1)
    table = rng.random((1, 3, 6)).astype(np.float32)
    query = Body(0).volume(0, 6, cells=4)
    places = np.array([4.0, 12.0, 20.0], np.float32)
    got = line_scores(
        torch.from_numpy(table),
        torch.from_numpy(places),
        query,
        12.0,
        (1.25,),
        torch.tensor([20.0, 46.0]),
    )
    padded = np.pad(table[0], ((0, 0), (1, 1)))
    for column, step in enumerate((20.0, 46.0)):
        index = (1.25 * (places - 12.0) + step) / STEP - 0.5 + 1
        expected = sum(np.interp(index[row], np.arange(8), padded[row]) for row in range(3))
        assert float(got[0, 0, column]) == pytest.approx(expected, abs=2e-3)


def test_slices_are_served_within_the_margin_and_no_further() -> None:
    label = organ(20, 5, 9)
    line = ZLine(support_mm=56.0, query_mm=100.0, scale=2.0)  # of 40 … 72 mm in the support
    served = served_slices(line, label, ORGAN, 8.0, 40, 5.0, margin=8.0)
    z = (np.arange(40) + 0.5) * 5.0
    place = (z - 100) / 2 + 56
    assert np.array_equal(served >= 0, (place >= 32) & (place <= 80))
    expected = np.clip(np.floor(place / 8).astype(int), 5, 8)
    inside = served >= 0
    assert np.all(np.abs(served[inside] - expected[inside]) <= 1)
    assert set(served[inside]) == {5, 6, 7, 8}
    assert np.all(served_slices(line, label, 9, 8.0, 40, 5.0) == -1)


@pytest.mark.parametrize(("count", "distance"), [(40, 3.0), (10, 8.0), (7, 12.0), (1, 5.0)])
def test_slices_are_blended_to_a_common_distance(count: int, distance: float) -> None:
    blend = slice_blend(count, distance, 8.0).numpy()
    assert blend.sum(1) == pytest.approx(1.0, abs=1e-5)
    middles = blend @ ((np.arange(count) + 0.5) * distance)
    wide = count * distance / len(blend)
    inner = slice(1, -1)
    assert middles[inner] == pytest.approx(
        ((np.arange(len(blend)) + 0.5) * wide)[inner], abs=distance / 2
    )


def test_the_volume_of_a_scan_keeps_lengths_and_finds_air() -> None:
    images = torch.zeros(30, 1, 64, 64)
    images[:, :, 16:48, 16:48] = 1.0
    maps = torch.rand(30, 5, 8, 8, generator=torch.Generator().manual_seed(0))
    volume = feature_volume(maps, images, (3.0, 1.5, 1.5), step=9.0)
    assert volume.length == pytest.approx(90.0)
    assert volume.cell == pytest.approx(12.0)
    assert volume.body[5].numpy() == pytest.approx(np.pad(np.ones((4, 4)), 2))


def test_a_single_slice_is_aligned_too() -> None:
    volume = Body(0).volume(200, 1)
    found = best_way(volume, organ(1, 0, 1), [ORGAN], volume)
    assert np.isfinite(found.similarity)
