"""The command `dpcenet demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dpcenet.cli.app import Out, app


@app.command("demo")
def demo_command(
    out: Out = Path("demo"),
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
    if train:
        from dpcenet.cli.demo_train import demo_train

        demo_train(out, data, jobs, steps, typer.echo)
        return
    from dpcenet.cli.demo_segment import demo_segment

    demo_segment(out, data, typer.echo)
