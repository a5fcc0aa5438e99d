"""The command `dpcenet export nnunet`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dpcenet.cli.app import Progress
from dpcenet.cli.export import export_app
from dpcenet.cli.scan_options import SupportImage, SupportMask
from dpcenet.errors import ConfigError
from dpcenet.segmentation.check_input import labelled_scans
from dpcenet.system.words import counted
from dpcenet.volumes.mask_files import MaskFile


@export_app.command("nnunet")
def nnunet_command(
    reviewed: Annotated[
        Path, typer.Argument(help="The --out of `dpcenet segment`, or masks/ of an app's project.")
    ],
    dataset: Annotated[int, typer.Option(min=1, max=999, help="Number of the data set.")],
    out: Annotated[
        Path, typer.Option("-o", "--out", envvar="nnUNet_raw", help="Folder of raw data sets.")
    ] = Path("nnUNet_raw"),
    title: Annotated[str, typer.Option(help="Name behind the number of the folder.")] = "dpcenet",
    support_image: SupportImage = None,
    support_mask: SupportMask = None,
    also_look: Annotated[
        bool, typer.Option("--also-look", help="Also take masks with the flag look.")
    ] = False,
    progress: Progress = "bar",
) -> None:
    """Make a raw data set for nnU-Net from the accepted masks.

    Accepted masks are those with the flag accept, and those that a person corrected or
    accepted in `dpcenet app`. Labelled scans are included if they are given.
    """
    if not reviewed.is_dir():
        raise ConfigError(f"{reviewed}: no such folder; name the --out of `dpcenet segment`")
    if not title.replace("_", "").isalnum():
        raise ConfigError(f"--title {title}: use letters, digits and _ only")
    pairs: tuple[tuple[Path, MaskFile], ...] = ()
    if support_image or support_mask:
        images, masks = labelled_scans(support_image or (), support_mask or ())
        pairs = tuple(zip(images, masks, strict=True))
    from dpcenet.segmentation.nnunet_export import export_nnunet

    done = export_nnunet(reviewed, out, dataset, title, pairs, also_look)
    for name, reason in done.left_out.items():
        typer.echo(f"left out: {name}: {reason}")
    typer.echo(
        f"{counted(done.cases, 'case')} with {', '.join(done.labels)} in {done.folder}; go on with "
        f"nnUNetv2_plan_and_preprocess -d {dataset} --verify_dataset_integrity. For research only."
    )
