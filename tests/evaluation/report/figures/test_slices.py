"""Which cases, slices and masks a figure shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dpcenet.data.store import PreparedDataset, open_dataset
from dpcenet.evaluation.report.figures.plots import WIDTH
from dpcenet.evaluation.report.figures.slices import (
    Panel,
    case_panels,
    draw,
    label_value,
    predicted,
    ranked,
)
from made import write_prepared
from reports import score, write_run


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    """Nine slices each, of which 2…7 show the organs."""
    return open_dataset(write_prepared(tmp_path_factory.mktemp("data"), count=3))


def test_best_median_and_worst() -> None:
    scores = [score("m", f"c{n}", "liver", dice) for n, dice in enumerate((0.2, 0.9, 0.5))]
    found = [(rank, one.case) for rank, one in ranked(scores)]
    assert found == [("best", "c1"), ("median", "c2"), ("worst", "c0")]
    assert [rank for rank, _ in ranked(scores[:1])] == ["best-median-worst"]
    assert [rank for rank, _ in ranked(scores[:2])] == ["best", "median-worst"]
    assert ranked([]) == []


def test_masks_are_read_where_they_were_kept(tmp_path: Path) -> None:
    run = write_run(tmp_path, [])
    one = score("m", "q", "liver", 0.5, support="a+b")
    assert predicted(run, one) is None
    mask, served = np.eye(3, dtype=bool)[None], np.array([4], np.int16)
    folder = tmp_path / "predictions-paper"
    folder.mkdir()
    np.savez(folder / "q-by-a+b.npz", **{"mask liver": mask, "support slice liver": served})
    found = predicted(run, one)
    assert found is not None and (found[0] == mask).all() and (found[1] == served).all()
    assert predicted(run, score("m", "q", "spleen", 0.5, support="a+b")) is None


def test_a_case_is_shown_on_its_largest_slice(dataset: PreparedDataset, tmp_path: Path) -> None:
    value = label_value(dataset, "liver")
    query, second = dataset.case("case0"), dataset.case("case2")
    z = int((query.label == value).sum(axis=(1, 2)).argmax())
    mask = np.roll(query.label == value, 3, axis=2)
    served = np.full(9, 9 + 4, np.int16)  # slice 4 of the second support scan
    run = write_run(tmp_path, [])
    (tmp_path / "predictions-paper").mkdir()
    np.savez(
        tmp_path / "predictions-paper" / "case0-by-case1+case2.npz",
        **{"mask liver": mask, "support slice liver": served},
    )
    one = score("m", "case0", "liver", 0.5, support="case1+case2")
    support, truth, found, absent = case_panels(dataset, one, {"m": [run], "other": []})
    assert support.title == "support case2" and support.truth and truth.truth
    np.testing.assert_array_equal(support.mask, second.label[4] == value)
    np.testing.assert_array_equal(truth.mask, query.label[z] == value)
    np.testing.assert_array_equal(found.mask, mask[z])
    assert not found.truth and absent.title == "other: not run" and absent.mask is None


def test_a_slice_that_nothing_served_shows_the_first_supports_largest(
    dataset: PreparedDataset,
) -> None:
    one = score("m", "case0", "liver", 0.5, support="case1+case2")
    support, *_ = case_panels(dataset, one, {"m": []})
    sizes = (dataset.case("case1").label == 1).sum(axis=(1, 2))
    assert support.title == "support case1" and support.mask is not None
    assert support.mask.sum() == sizes.max()


@pytest.mark.parametrize(("count", "rows", "columns"), [(3, 1, 3), (6, 1, 6), (8, 2, 6)])
def test_panels_have_one_size(count: int, rows: int, columns: int) -> None:
    image = np.random.default_rng(0).random((8, 8))
    figure = draw([("best", [Panel(str(n), image, image > 0.5) for n in range(count)])])
    width, height = figure.get_size_inches()
    assert width == pytest.approx(WIDTH / 6 * columns)
    assert height == pytest.approx((WIDTH / 6 + 0.25) * rows)
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == [str(n) for n in range(count)] and len(figure.axes) == rows * columns
