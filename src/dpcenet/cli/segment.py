"""The command `segment`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dpcenet.cli.app import (
    Address,
    Device,
    GroupedOptions,
    InPrecision,
    OnEngine,
    Out,
    Progress,
    app,
    parse_label_name,
)
from dpcenet.cli.scan_options import (
    Echo,
    Kind,
    Labels,
    MaskFormat,
    Names,
    OneSeries,
    PackageMethod,
    Resample,
    RunFolder,
    Spacing,
    SupportImage,
    SupportMask,
)
from dpcenet.errors import ConfigError, DatasetError
from dpcenet.segmentation.check_input import labelled_scans
from dpcenet.system.words import counted

if TYPE_CHECKING:
    from dpcenet.segmentation.segment_folder import SegmentSummary


@app.command("segment", cls=GroupedOptions)
def segment_command(
    out: Out,
    queries: Annotated[
        list[str] | None,
        typer.Argument(help="Scans, folders, globs in quotes, DICOM folders."),
    ] = None,
    input_: Annotated[
        list[str] | None,
        typer.Option("-i", "--input", help="Scans, in place of the argument; repeat."),
    ] = None,
    support_image: SupportImage = None,
    support_mask: SupportMask = None,
    task: Annotated[
        Path | None, typer.Option(help="Task file, in place of labelled scans.")
    ] = None,
    run: RunFolder = None,
    method: PackageMethod = "incontext",
    label: Labels = None,
    name: Names = None,
    pattern: Annotated[
        str | None, typer.Option(help="Names to take from folders, such as '*T2*'.")
    ] = None,
    probability: Annotated[
        bool, typer.Option("--probability", help="Also write each label's probability.")
    ] = False,
    mesh: Annotated[
        bool, typer.Option("--mesh", help="Also write each label's surface: STL, LPS, mm.")
    ] = False,
    form: MaskFormat = None,
    smooth: Annotated[
        float, typer.Option(min=0, max=100, help="Smooth across slices: Gaussian sigma in mm.")
    ] = 0.0,
    largest: Annotated[
        bool, typer.Option("--largest", help="Keep only the largest part of each label.")
    ] = False,
    all_parts: Annotated[
        bool,
        typer.Option("--all-parts", help="Keep all parts, even where the labelled scan has one."),
    ] = False,
    min_volume: Annotated[
        float, typer.Option(min=0, help="Drop parts below this volume in mm³.")
    ] = 0.0,
    check: Annotated[
        bool,
        typer.Option("--check/--no-check", help="Estimate how good each mask is, for the review."),
    ] = True,
    accept_dice: Annotated[
        float,
        typer.Option(min=0.5, max=1, help="Dice that a mask needs for the flag accept."),
    ] = 0.7,
    fast: Annotated[
        bool,
        typer.Option("--fast", help="Quicker and less accurate (docs/commands.md)."),
    ] = False,
    learn: Annotated[
        float | None,
        typer.Option(
            min=0.01, help="First learn from the labelled scans, for so many minutes at most."
        ),
    ] = None,
    layout: Annotated[
        Literal["default", "bids", "totalsegmentator", "nnunet"],
        typer.Option(help="Names and folders of the results (docs/commands.md)."),
    ] = "default",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Segment again what is finished.")
    ] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    memory_cap: Annotated[
        str | None,
        typer.Option("--memory", help="Most memory of all processes together, such as 4GB."),
    ] = None,
    echo: Echo = None,
    series: OneSeries = None,
    spacing: Spacing = None,
    resample: Resample = False,
    split_time: Annotated[
        bool, typer.Option("--split-time", help="Segment each volume of a 4-D scan by itself.")
    ] = False,
    labelled_too: Annotated[
        bool,
        typer.Option("--labelled-too", help="Also segment a labelled scan that lies in a folder."),
    ] = False,
    no_links_out: Annotated[
        bool,
        typer.Option("--no-links-out", help="Skip links that lead out of a folder."),
    ] = False,
    engine: OnEngine = "local",
    address: Address = None,
    modality: Kind = None,
    device: Device = "auto",
    precision: InPrecision = "auto",
    progress: Progress = "bar",
) -> None:
    """Segment scans from one or several labelled scans; masks lie in each scan's own geometry.

    Name the labelled scan by --support-image and --support-mask, or by --task. If you run it
    again, scans that are finished and have not changed are skipped.
    """
    scans = [*(queries or ()), *(input_ or ())]
    if not scans:
        raise ConfigError("no scan to segment: name scans or folders, or give -i FOLDER")
    if layout != "default" and form not in (None, "nifti"):
        raise ConfigError(f"--format {form}: --layout {layout} is NIfTI; leave one of them out")
    images, masks = labelled_scans(support_image or (), support_mask or (), task)
    from dpcenet.segmentation.labelled_input import LabelledInput
    from dpcenet.segmentation.memory_cap import parse_size
    from dpcenet.segmentation.outputs import OutputOptions
    from dpcenet.segmentation.postprocess import Consistency
    from dpcenet.segmentation.segment_folder import SegmentLocation, segment_folder
    from dpcenet.segmentation.segment_options import SegmentOptions
    from dpcenet.system.parallel import on_ray
    from dpcenet.volumes.scan_file import parse_options

    labelled = LabelledInput(
        images=images,
        masks=masks,
        task=task,
        labels=tuple(label or ()),
        names=dict(parse_label_name(text) for text in name or []),
        run=run,
        method=method,
        modality=modality,
        device=device,
        precision=precision,
        options=parse_options(echo, series, spacing, resample),
        fast=fast,
        all_parts=all_parts,
    )
    options = SegmentOptions(
        out=out,
        outputs=OutputOptions(probability, mesh, form, layout),
        consistency=Consistency(smooth, largest, min_volume),
        check=check,
        accept_dice=accept_dice,
        overwrite=overwrite,
        memory=None if memory_cap is None else parse_size(memory_cap),
        learn=learn,
    )
    location = None
    if engine == "ray":
        if options.memory is not None or jobs > 1:
            raise ConfigError(
                "--engine ray: --jobs and --memory are for one machine; leave them out"
            )
        location = SegmentLocation(on_ray(address, cpus=1, gpus=0))
    summary = segment_folder(
        scans,
        labelled,
        options,
        pattern,
        jobs,
        split_time,
        location,
        labelled_too,
        links_out=not no_links_out,
    )
    _tell(summary, out)


def _tell(summary: SegmentSummary, out: Path) -> None:
    """Print what was done.

    Raises:
        DatasetError: a query was not segmented; the message names each.
    """
    masks = [outcome for outcome in summary.outcomes if outcome.mask is not None]
    before = sum(outcome.skipped for outcome in masks)
    earlier = f", {before} of them from before" if before else ""
    corrected = [str(outcome.mask) for outcome in masks if outcome.corrected]
    for note in summary.notes:
        typer.echo(f"note: {note}")
    typer.echo(f"{counted(len(masks), 'mask')} in {out}{earlier}. For research only.")
    for outcome in masks:
        for note in outcome.facts.get("notes", ()):
            typer.echo(f"{outcome.query}: note: {note}")
    if corrected:
        typer.echo(f"kept as a person left them: {', '.join(corrected)}")
    if summary.review is not None:
        typer.echo(f"accepted: {summary.accepted} ({summary.accept_means})")
        typer.echo(f"to look at, or rejected: {summary.doubtful} ({summary.review})")
    for line in _left_aside(summary):
        typer.echo(line, err=True)
    aside = sum(outcome.aside for outcome in summary.outcomes)
    if full := [each.error for each in summary.outcomes if each.final]:
        raise DatasetError(full[0])
    failed = [each.error for each in summary.outcomes if each.mask is None and not each.aside]
    if unreached := summary.asked - len(summary.outcomes):
        failed.append(f"{unreached} more were not reached: run the same command again to go on")
    if failed:
        lines = "\n".join(f"  {line}" for line in failed)
        asked = summary.asked - aside
        missing = asked - len(masks)
        raise DatasetError(f"not segmented: {missing} of {counted(asked, 'scan')}:\n{lines}")


SHOWN = 5
"""Names of files of one kind that are left aside."""


def _left_aside(summary: SegmentSummary) -> list[str]:
    """A line for each kind of what was found and not segmented."""
    from dpcenet.volumes.walk_folders import by_reason

    lines = []
    for why, names in by_reason(summary.aside).items():
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        lines.append(f"left aside, {why}: {', '.join(names[:SHOWN])}{more}")
    return lines + [f"left aside: {each.error}" for each in summary.outcomes if each.aside]
