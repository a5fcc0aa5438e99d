"""Options that several commands have: labelled scans, and how scans are read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

SupportImage = Annotated[
    list[Path] | None, typer.Option(help="A labelled scan; repeat for several.")
]
SupportMask = Annotated[
    list[str] | None,
    typer.Option(
        help="Its labels: a file, a folder with a file for each organ, or PATH=NAME for one organ. "
        "One for each --support-image; any number for a single one."
    ),
]
RunFolder = Annotated[
    Path | None,
    typer.Option(help="Folder of a network that you trained; default: that of the package."),
]
PackageMethod = Annotated[
    Literal["incontext", "dpcenet"],
    typer.Option(help="Which network of the package."),
]
Labels = Annotated[
    list[int] | None, typer.Option(help="Label value to segment; repeat; default: all.")
]
Names = Annotated[list[str] | None, typer.Option(help="VALUE=NAME of a label; repeat.")]
Kind = Annotated[
    Literal["mr", "ct"] | None,
    typer.Option(help="What the scans are, without --run; default: as the labelled scan looks."),
]
Echo = Annotated[
    str | None,
    typer.Option(
        help="Which echo, phase or time point of a series: its number, or part of a name."
    ),
]
OneSeries = Annotated[
    str | None, typer.Option("--series", help="Which DICOM series of a folder: number or name.")
]
Spacing = Annotated[str | None, typer.Option(help="Z,Y,X in mm, for pictures (PNG, JPEG, TIFF).")]
MaskFormat = Annotated[
    Literal["nifti", "dicom-seg", "seg.nrrd", "mha"] | None,
    typer.Option("--format", help="Format of the masks; default: that of the scan."),
]
Resample = Annotated[
    bool, typer.Option("--resample", help="Resample tilted or unevenly spaced DICOM slices.")
]
