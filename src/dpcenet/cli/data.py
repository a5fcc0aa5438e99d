"""Commands about data: prepare, doctor, inspect, download."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from dpcenet.cli.app import DATASET_HELP, Out, Progress, app, parse_label_name
from dpcenet.cli.checks import check_folder, check_prepared, check_there, stopped
from dpcenet.cli.scan_options import Echo, OneSeries, Resample, Spacing
from dpcenet.segmentation.check_input import labelled_scans
from dpcenet.system.words import counted
from dpcenet.volumes.mask_files import MaskFile, parse_masks, paths_of


@app.command("prepare")
def prepare_command(
    source: Annotated[
        Path, typer.Argument(help="A downloaded data set, or any folder of scans and masks.")
    ],
    out: Annotated[Path, typer.Argument(help="Folder of the prepared data set.")],
    dataset: Annotated[str, typer.Option(help=DATASET_HELP)] = "folder",
    modality: Annotated[
        Literal["mr", "ct"] | None,
        typer.Option(help="Default: what the data set or the scans say."),
    ] = None,
    spacing: Annotated[
        float | None,
        typer.Option(min=0.01, help="Pixel size in mm; default: the field of view fits."),
    ] = None,
    slice_spacing: Annotated[
        float | None,
        typer.Option(min=0.01, help="Slice distance in mm; default: that of the data set."),
    ] = None,
    overflow: Annotated[
        Literal["fit", "crop"] | None,
        typer.Option(help="Too large a field of view: fit with coarser pixels, or crop."),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(min=32, help="Pixels per side; 257 repeats the CT defect of the lineage."),
    ] = None,
    supervoxel_size: Annotated[
        int | None, typer.Option(min=1, help="Voxels of the smallest supervoxel; 1000 for hearts.")
    ] = None,
    name: Annotated[
        list[str] | None, typer.Option(help="VALUE=NAME of a label, such as 1=liver; repeat.")
    ] = None,
    echo: Echo = None,
    resample: Resample = False,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    progress: Progress = "bar",
) -> None:
    """Prepare scans: slices of 256x256, supervoxels, a manifest. Call it again to continue."""
    check_folder("", source)
    from dpcenet.data.prepare import prepare
    from dpcenet.volumes.scan_file import ReadOptions

    names = dict(parse_label_name(text) for text in name or []) or None
    changes = {
        "slice_spacing_mm": slice_spacing,
        "overflow": overflow,
        "size": size,
    }
    with stopped("run the same command again: what is prepared is kept"):
        prepared = prepare(
            source,
            out,
            dataset=dataset,
            modality=modality,
            spacing_mm=spacing,
            supervoxel_size=supervoxel_size,
            labels=names,
            changes={name: value for name, value in changes.items() if value is not None},
            options=ReadOptions(part=echo, resample=resample),
            jobs=jobs,
        )
    cases = counted(len(prepared.cases), "case")
    typer.echo(f"{cases} in {out}, labels: {prepared.labels or 'none'}")
    if prepared.origin.licence:
        typer.echo(f"terms: {prepared.origin.licence}; cite {prepared.origin.citation}")


@app.command("doctor")
def doctor_command(
    paths: Annotated[list[Path], typer.Argument(help="Scans, or folders of scans.")],
    mask: Annotated[
        list[str] | None,
        typer.Option(
            help="Labels, if one scan is given: a file, a folder, or PATH=NAME for each organ."
        ),
    ] = None,
    support_image: Annotated[
        Path | None,
        typer.Option(help="The labelled scan that the others are to be segmented from."),
    ] = None,
    support_mask: Annotated[
        list[str] | None, typer.Option(help="Its labels, as for segment.")
    ] = None,
    dataset: Annotated[str, typer.Option(help=DATASET_HELP)] = "folder",
    echo: Echo = None,
    series: OneSeries = None,
    spacing: Spacing = None,
    resample: Resample = False,
    fix: Annotated[
        Path | None, typer.Option(help="Write corrected copies into this folder.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
    progress: Progress = "bar",
) -> None:
    """Check scans before the work: faults, and the series and volumes to choose from.

    Scans are compared with the labelled one. Exit code 1 if something is wrong.
    """
    labels: MaskFile | None = parse_masks(mask, 1, "--mask")[0] if mask else None
    check_there([*paths, *(paths_of(labels) if labels else ())])
    masks: tuple[MaskFile, ...] = ()
    if support_image is not None or support_mask:
        images = () if support_image is None else (support_image,)
        _, masks = labelled_scans(images, support_mask or ())
    from dpcenet.data.datasets.spec import SourceCase
    from dpcenet.data.doctor.doctor import diagnose
    from dpcenet.data.doctor.findings import as_table, to_json
    from dpcenet.data.doctor.repair import write_fixed
    from dpcenet.volumes.scan_file import parse_options

    labelled = None
    if support_image is not None:
        labelled = SourceCase(f"{support_image.name} (labelled)", support_image, masks[0])
    options = parse_options(echo, series, spacing, resample)
    diagnosis = diagnose(paths, label=labels, labelled=labelled, dataset=dataset, options=options)
    fixed = write_fixed(diagnosis, fix) if fix is not None else []
    typer.echo(to_json(diagnosis) if as_json else as_table(diagnosis))
    for line in fixed:
        typer.echo(line, err=True)
    if diagnosis.wrong:
        raise typer.Exit(1)


@app.command("inspect")
def inspect_command(
    data: Annotated[Path, typer.Argument(help="Data set made by `dpcenet prepare`.")],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Folder of the sheet; default: in the data set."),
    ] = None,
    slices: Annotated[int, typer.Option(min=1, help="Slices of each case.")] = 5,
) -> None:
    """Contact sheet of a prepared data set: slices, labels, supervoxels, and counts."""
    check_prepared("", data)
    from dpcenet.data.contact_sheet import write_contact_sheet
    from dpcenet.data.store import open_dataset

    typer.echo(str(write_contact_sheet(open_dataset(data), out or data / "inspect", slices)))


@app.command("download")
def download_command(
    name: Annotated[
        str, typer.Argument(help="File of official weights; an unknown name lists all.")
    ],
    out: Out,
) -> None:
    """Download official weights of a trunk and verify their hash. No other command goes online."""
    from dpcenet.nn.weights import OFFICIAL, download

    typer.echo(str(download(name, out)))
    typer.echo(OFFICIAL[name].licence)
