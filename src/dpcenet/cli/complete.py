"""The command `complete`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dpcenet.cli.app import Device, InPrecision, app
from dpcenet.cli.segment import Kind, Labels, RunFolder
from dpcenet.segmentation.check_input import check_labelled


@app.command("complete")
def complete_command(
    scan: Annotated[Path, typer.Argument(help="The scan.")],
    mask: Annotated[Path, typer.Argument(help="Its labels, drawn on some slices.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The completed mask.")],
    label: Labels = None,
    open_ended: Annotated[
        bool,
        typer.Option(
            "--open-ended", help="Also go on beyond each organ's first and last labelled slice."
        ),
    ] = False,
    run: RunFolder = None,
    modality: Kind = None,
    device: Device = "auto",
    precision: InPrecision = "auto",
) -> None:
    """Fill the slices that nobody drew, from the labelled slices of the same scan.

    What was drawn stays as it is; OUT.json says which slices a person drew.
    """
    check_labelled([scan], [mask], None)
    from dpcenet.segmentation.complete_scan import complete_file
    from dpcenet.segmentation.labelled_input import LabelledInput

    labelled = LabelledInput(run=run, modality=modality, device=device, precision=precision)
    done = complete_file(labelled.segmenter(), scan, mask, out, tuple(label or ()), open_ended)
    for value, drawn in done.drawn.items():
        filled = done.filled[value]
        typer.echo(f"label {value}: {len(drawn)} slices drawn, {len(filled)} filled")
    if not any(done.filled.values()):
        typer.echo("Nothing was filled: the labelled slices follow each other without a gap.")
    typer.echo(f"{out}: look at the filled slices before you use them. For research only.")
