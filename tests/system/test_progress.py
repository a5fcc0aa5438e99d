"""Progress goes to standard error: a bar, lines, JSON, or nothing."""

from __future__ import annotations

import builtins
import json

import pytest

from dpcenet.system import progress
from dpcenet.system.progress import in_words, progress_as, progress_bar, say


def test_without_a_terminal_lines_show_how_many_are_done(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with progress_bar("segment", 7, start=2) as advance:
        advance(2, "")
        advance(5, "scan_03")  # too soon after the line before, but the last one is always shown
    shown = capsys.readouterr()
    assert not shown.out
    assert shown.err.splitlines()[0] == "segment 2/7"
    assert shown.err.splitlines()[1].startswith("segment 5/7 scan_03, about 1 s left")


def test_a_terminal_shows_a_bar(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as rich asks whether this is a terminal
    with progress_bar("segment", 7, start=2) as advance:
        advance(5, "scan_03")
    shown = capsys.readouterr().err
    assert "\x1b[" in shown and "scan_03" in shown and "━" in shown


def test_a_quiet_bar_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("segment", 7, quiet=True) as advance:
        advance(7, "scan")
    say("nothing", quiet=True)
    with progress_as("none"), progress_bar("segment", 7) as advance:
        advance(7, "scan")
        say("nothing")
    assert capsys.readouterr() == ("", "")


def test_programs_read_json(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_as("json"):
        say("about to begin")
        with progress_bar("segment", 3) as advance:
            for done, name in enumerate(["", "a", "b", "c"]):
                advance(done, name)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert lines[0] == {"event": "state", "text": "about to begin"}
    assert [line["done"] for line in (lines[1], lines[-1])] == [0, 3]
    assert lines[1]["seconds_left"] is None and lines[-1]["seconds_left"] == 0
    assert lines[-1].keys() == {
        *("event", "what", "done", "total", "note", "seconds", "seconds_left")
    }
    assert lines[-1]["note"] == "c"


def test_after_a_choice_the_bar_is_as_before(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_as("json"):
        pass
    say("as text")
    assert capsys.readouterr().err == "as text\n"


def test_a_notebook_overwrites_its_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without ipywidgets, which rich would need, and which few have."""

    class ZMQInteractiveShell:
        """By this name of its class a notebook's shell is known."""

    monkeypatch.setattr(builtins, "get_ipython", ZMQInteractiveShell, raising=False)
    monkeypatch.setattr(progress, "FAST_EVERY_S", 0.0)
    with progress_bar("segment", 2) as advance:
        advance(1, "image_01")
        advance(2, "image_02")
    shown = capsys.readouterr().err
    assert shown.count("\r") == 2 and shown.count("\n") == 1
    assert shown.rpartition("\r")[2].rstrip() == "segment 2/2 image_02"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.1, "about 1 s"), (40, "about 40 s"), (200, "about 3 min"), (9000, "about 2.5 h")],
)
def test_times_are_said_as_people_say_them(seconds: float, text: str) -> None:
    assert in_words(seconds) == text
