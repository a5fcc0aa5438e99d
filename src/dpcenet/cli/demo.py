"""The command `dpcenet demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dpcenet.cli.app import app


@app.command("demo")
def demo_command(
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Output folder; default: demo, or demo-NAME of --data."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Your own folder of image_* and label_* files; default: made-up scans."),
    ] = None,
    train: Annotated[
        bool, typer.Option("--train", help="Train a DPCENet instead, and compare it.")
    ] = False,
    jobs: Annotated[
        int, typer.Option(min=1, help="With --train: processes that prepare the scans.")
    ] = 2,
    steps: Annotated[int, typer.Option(min=1, help="With --train: training steps.")] = 150,
) -> None:
    """Try it in a minute: one labelled scan, the others segmented, and a review of the masks."""
    typer.echo("For research only; not a medical device.")
    place = out or default_folder(data, train)
    if train:
        from dpcenet.cli.demo_train import demo_train

        demo_train(place, data, jobs, steps, typer.echo)
        return
    from dpcenet.cli.demo_segment import demo_segment

    demo_segment(place, data, typer.echo)


def default_folder(data: Path | None, train: bool) -> Path:
    """One for each kind of demo and each folder of scans, so that none meets another's results."""
    name = "demo-train" if train else "demo"
    return Path(name if data is None else f"{name}-{data.resolve().name}")
