"""The commands `task create` and `task show`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dpcenet.cli.app import Device, GroupedOptions, app, parse_label_name
from dpcenet.cli.checks import check_task
from dpcenet.cli.scan_options import (
    Echo,
    Kind,
    Labels,
    Names,
    OneSeries,
    PackageMethod,
    Resample,
    RunFolder,
    Spacing,
    SupportImage,
    SupportMask,
)
from dpcenet.errors import one_line
from dpcenet.segmentation.check_input import labelled_scans
from dpcenet.system.words import counted

task_app = typer.Typer(help="Task files: labelled scans in one file.")
app.add_typer(task_app, name="task")


@task_app.command(cls=GroupedOptions)
def create(
    support_image: SupportImage = None,
    support_mask: SupportMask = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="The task file.")] = Path("my.task"),
    label: Labels = None,
    name: Names = None,
    note: Annotated[str, typer.Option(help="Free text; do not name the patient.")] = "",
    with_images: Annotated[
        bool,
        typer.Option(
            "--with-images", help="Store the slices: a smaller file, and masks as from the scans."
        ),
    ] = False,
    run: RunFolder = None,
    method: PackageMethod = "incontext",
    echo: Echo = None,
    series: OneSeries = None,
    spacing: Spacing = None,
    resample: Resample = False,
    modality: Kind = None,
    device: Device = "auto",
) -> None:
    """Write labelled scans into one file: labels, and features or images of the slices."""
    images, masks = labelled_scans(support_image or (), support_mask or ())
    from dpcenet.segmentation.labelled_input import LabelledInput
    from dpcenet.segmentation.task_file import task_facts, write_task
    from dpcenet.volumes.scan_file import parse_options

    labelled = LabelledInput(
        images=images,
        masks=masks,
        labels=tuple(label or ()),
        names=dict(parse_label_name(text) for text in name or []),
        run=run,
        method=method,
        modality=modality,
        device=device,
        options=parse_options(echo, series, spacing, resample),
    )
    if out.exists():
        task_facts(out)  # raises where it is something else
    segmenter, support = labelled.open()
    for text in support.notes:
        typer.echo(f"note: {text}")
    write_task(out, segmenter.predictor, support, note, with_images)
    holds = (
        "holds the slices"
        if with_images
        else "holds no scan, but pictures like the slices can be computed from it"
    )
    typer.echo(
        f"{out}: {out.stat().st_size / 1e6:.0f} MB. It names no patient and {holds}: share it as "
        "you may share the scan."
    )


@task_app.command()
def show(file: Annotated[Path, typer.Argument(help="A task file.")]) -> None:
    """Show what a task file contains."""
    check_task(file)
    from dpcenet.segmentation.task_file import task_facts

    facts = task_facts(file)
    network, rules = facts["network"], facts["preprocessing"]
    lines = [f"{file}: made by dpcenet {facts['dpcenet']} on {facts['created']}"]
    lines += [f"note      {facts['note']}"] if facts["note"] else []
    lines += [f"network   {network['method']}, weights {network['sha256'][:12]}…"]
    lines += [f"labels    {', '.join(f'{v} = {name}' for v, name in facts['labels'].items())}"]
    lines += [f"scans     {rules['modality'].upper()}, pixels of {rules['spacing_mm']:.2f} mm"]
    for scan in facts["scans"]:
        z, windows = scan["spacing"][0], scan["closeups"]
        held = "their images" if windows is None else counted(len(windows), "window")
        lines += [f"          {counted(scan['slices'], 'slice')}, {z:.2f} mm apart; {held}"]
    typer.echo("\n".join(map(one_line, lines)))  # a file of others may hold signs for a terminal
