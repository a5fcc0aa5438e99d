"""How a scan is read where a file or folder leaves a choice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dpcenet.errors import ConfigError, VolumeError


@dataclass(frozen=True)
class ReadOptions:
    """What a person chose.

    Attributes:
        part: which of several volumes in one file or series (echo, phase, time point, b-value): a
            number from 1, or what it is called; None where there is one.
        series: which of several DICOM series in one folder: a number from 1, or its name; None
            where there is one.
        spacing: mm from slice to slice, row to row and column to column, of pictures, which do not
            say it.
        resample: bring slices that are sheared (a tilted gantry) or unevenly spaced to a regular
            grid, which is noted; without it they are refused.
    """

    part: int | str | None = None
    series: int | str | None = None
    spacing: tuple[float, float, float] | None = None
    resample: bool = False


AS_IT_IS = ReadOptions()
"""No choice was made: what leaves one is refused, with what there is to choose from."""


SPLIT = (
    "Choose one with --echo, or segment each of them with --split-time (in Python: "
    "ReadOptions(part=NUMBER))."
)
"""What to do with a file of several volumes."""
ECHO = "Choose one with --echo, or segment each of them with --split-time."
"""What to do with a DICOM series of several volumes."""


def parse_options(
    part: str | None, series: str | None, spacing: str | None, resample: bool
) -> ReadOptions:
    """The choices as words of the command line.

    Args:
        part, series: a number, or a name.
        spacing: "Z,Y,X" in mm.
        resample: as it is.

    Raises:
        ConfigError: the spacing is not three numbers above 0.
    """
    if spacing is None:
        return ReadOptions(part, series, None, resample)
    try:
        z, y, x = (float(word) for word in spacing.split(","))
    except ValueError as error:
        raise ConfigError(f"--spacing {spacing}: write Z,Y,X in mm, such as 5,0.7,0.7") from error
    if not all(0 < mm < float("inf") for mm in (z, y, x)):
        raise ConfigError(f"--spacing {spacing}: write three lengths above 0 in mm")
    return ReadOptions(part, series, (z, y, x), resample)


def choose(wanted: int | str | None, names: list[str], path: Path, remedy: str) -> int:
    """Which of several things in one place a person means.

    Args:
        wanted: a number from 1, or a part of one name; None where there is one.
        names: of the things, in their order.
        path: where they are.
        remedy: how to choose.

    Returns:
        an index of `names`.

    Raises:
        VolumeError: there are several and none was chosen, or the choice fits none or several.
    """
    if len(names) == 1:
        return 0  # a choice is for the scans that leave one
    shown = "; ".join(f"{number} {name}" for number, name in enumerate(names[:20], start=1))
    more = f"; and {len(names) - 20} more" if len(names) > 20 else ""
    if wanted is None:
        raise VolumeError(path, f"{len(names)} volumes: {shown}{more}", "one volume", remedy)
    text = str(wanted).strip()
    if text.isdigit() and 1 <= int(text) <= len(names):
        return int(text) - 1
    fitting = [at for at, name in enumerate(names) if name == text]
    fitting = fitting or [at for at, name in enumerate(names) if text.lower() in name.lower()]
    if len(fitting) == 1:
        return fitting[0]
    found = f"{text!r} fits {len(fitting)} of {len(names)} volumes: {shown}{more}"
    raise VolumeError(path, found, "one of them", "Choose by a number or a name of the list.")
