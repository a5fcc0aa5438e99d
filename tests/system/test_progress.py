"""Bars go to standard error, and a quiet one writes nothing."""

from __future__ import annotations

import pytest

from dpcenet.system.progress import progress_bar


def test_the_bar_shows_how_many_are_done(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("segment", 7, start=2) as advance:
        advance(5, "scan_03")
    shown = capsys.readouterr()
    assert not shown.out
    for part in ("segment", "5/7", "scan_03"):
        assert part in shown.err


def test_a_quiet_bar_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("segment", 7, quiet=True) as advance:
        advance(7, "scan")
    assert capsys.readouterr() == ("", "")
