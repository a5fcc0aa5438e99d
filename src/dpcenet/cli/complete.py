"""The command `complete`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dpcenet.cli.app import Device, InPrecision, app
from dpcenet.cli.checks import check_there
from dpcenet.cli.scan_options import (
    Echo,
    Kind,
    Labels,
    MaskFormat,
    OneSeries,
    PackageMethod,
    Resample,
    RunFolder,
    Spacing,
)
from dpcenet.system.words import counted
from dpcenet.volumes.mask_files import parse_masks, paths_of


@app.command("complete")
def complete_command(
    scan: Annotated[Path, typer.Argument(help="The scan.")],
    mask: Annotated[
        list[str],
        typer.Argument(
            help="Its labels, drawn on some slices: a file, a folder, or one PATH=NAME for each "
            "organ."
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="The completed mask.")],
    label: Labels = None,
    open_ended: Annotated[
        bool,
        typer.Option(
            "--open-ended", help="Also go on beyond each organ's first and last labelled slice."
        ),
    ] = False,
    form: MaskFormat = None,
    echo: Echo = None,
    series: OneSeries = None,
    spacing: Spacing = None,
    resample: Resample = False,
    run: RunFolder = None,
    method: PackageMethod = "incontext",
    modality: Kind = None,
    device: Device = "auto",
    precision: InPrecision = "auto",
) -> None:
    """Fill the slices that nobody drew, from the labelled slices of the same scan.

    What was drawn stays as it is; OUT.json says which slices a person drew.
    """
    (masks,) = parse_masks(mask, 1, "MASK")
    check_there([scan, *paths_of(masks)])
    from dpcenet.segmentation.complete_scan import complete_file
    from dpcenet.segmentation.labelled_input import LabelledInput
    from dpcenet.volumes.scan_file import parse_options

    labelled = LabelledInput(
        run=run, method=method, modality=modality, device=device, precision=precision
    )
    options = parse_options(echo, series, spacing, resample)
    done = complete_file(
        labelled.segmenter(), scan, masks, out, tuple(label or ()), open_ended, form, options
    )
    for value, drawn in done.drawn.items():
        filled = done.filled[value]
        typer.echo(f"label {value}: {counted(len(drawn), 'slice')} drawn, {len(filled)} filled")
    if not any(done.filled.values()):
        typer.echo("Nothing was filled: the labelled slices follow each other without a gap.")
    if done.note:
        typer.echo(f"note: {done.note}")
    typer.echo(f"{done.path}: look at the filled slices before you use them. For research only.")
