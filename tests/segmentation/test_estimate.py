"""What segmenting will take, said before it begins."""

from __future__ import annotations

from pathlib import Path

import pytest

from dpcenet.segmentation import estimate as module
from dpcenet.segmentation.estimate import Estimate, estimate
from made_scans import quick_segmenter, write_scans


def test_it_grows_with_scans_and_shrinks_with_processes() -> None:
    one = str(Estimate(20, 12.0, 1, 1_600_000_000))
    assert one.startswith("20 scans, about 12 s each: about 4 min at most")
    assert one.endswith("1.6 GB")
    four = str(Estimate(20, 12.0, 4, 1_600_000_000))
    assert "about 60 s at most" in four and four.endswith("1.6 GB for each process")


def test_a_check_and_more_labels_take_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter(range(100))
    monkeypatch.setattr(module.time, "perf_counter", lambda: float(next(ticks)))  # 1 s a sample
    segmenter = quick_segmenter()
    image, label = write_scans(tmp_path, 1)[0]
    support = segmenter.support(image, label)
    slices, labels = len(support.scans[0].label), len(support.values)
    of_slice = 1.0 / min(8, slices)
    plain = estimate(segmenter, support, 3, check=False, jobs=1)
    assert plain.each == pytest.approx(slices * of_slice * (13 + 4.6 * labels))
    checked = estimate(segmenter, support, 3, check=True, jobs=1)
    assert checked.each == pytest.approx(plain.each + slices * of_slice * (2.6 + 0.9 * labels))
    judged = checked.each - plain.each
    learns = estimate(segmenter, support, 3, check=True, jobs=1, learns=True)
    assert learns.each == pytest.approx(4 * plain.each + 5 * judged)
    assert learns.ahead == pytest.approx(3 * 2 * (plain.each + judged))
    one = estimate(segmenter, support, 1, check=True, jobs=1, learns=True)
    assert one.each == pytest.approx(2 * plain.each + 3 * judged)
    fewer = estimate(segmenter, support.only(support.values[:1]), 3, check=False, jobs=1)
    assert fewer.each < plain.each
