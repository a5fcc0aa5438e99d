"""Commands that hand over to other software: export onnx, export monai-bundle."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from dpcenet.cli.app import app
from dpcenet.cli.scan_options import RunFolder
from dpcenet.errors import ConfigError

export_app = typer.Typer(
    help="Export masks, or the network, for other software.", no_args_is_help=True
)
app.add_typer(export_app, name="export")

OutFolder = Annotated[Path, typer.Argument(help="Output folder.")]


@export_app.command("onnx")
def onnx_command(
    out: OutFolder,
    run: RunFolder = None,
    size: Annotated[int, typer.Option(min=32, help="Pixels of a slice's side.")] = 256,
) -> None:
    """Write the in-context network as ONNX: encoder.onnx, matcher.onnx, network.json."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        if find_spec(package) is None:
            raise ConfigError(f"dpcenet export onnx: pip install 'dpcenet[onnx]' ({package})")
    from dpcenet.inference.onnx_export import as_incontext, write_onnx
    from dpcenet.segmentation.labelled_input import LabelledInput

    labelled = LabelledInput(run=run, device="cpu", precision="float32")
    network = as_incontext(labelled.segmenter().predictor.method)
    worst = write_onnx(network, out, size)
    typer.echo(f"{out}: encoder.onnx and matcher.onnx, within {worst:.0e} of torch.")
    typer.echo("Research use only, not a medical device.")


@export_app.command("monai-bundle")
def monai_bundle_command(out: OutFolder, run: RunFolder = None) -> None:
    """Write the in-context network as a MONAI bundle: configs, weights, a page about them."""
    from dpcenet.inference.onnx_export import as_incontext
    from dpcenet.segmentation.labelled_input import LabelledInput
    from dpcenet.segmentation.monai_bundle import write_bundle

    labelled = LabelledInput(run=run, device="cpu", precision="float32")
    write_bundle(as_incontext(labelled.segmenter().predictor.method), out)
    typer.echo(f"{out}: a MONAI bundle; docs/README.md in it says how to run it.")
    typer.echo("Research use only, not a medical device.")
