"""The application, and the choices that several commands offer."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from dpcenet import __version__
from dpcenet.errors import ConfigError

app = typer.Typer(
    help="Few-shot medical image segmentation: label one scan, segment the rest. "
    "For research only; not a medical device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class Modality(StrEnum):
    """What kind of scans."""

    mr = "mr"
    ct = "ct"


class ProtocolName(StrEnum):
    """What an evaluation is told of the query."""

    paper = "paper"
    ep2 = "ep2"
    blind = "blind"


class BoundsName(StrEnum):
    """How the organ slices of protocol "paper" are cut into chunks."""

    number = "number"
    range = "range"


class ExclusionName(StrEnum):
    """Which slices Setting 2 removes."""

    any = "any"
    all = "all"


class Overflow(StrEnum):
    """What happens to a field of view beyond the slice."""

    fit = "fit"
    crop = "crop"


class SchemeName(StrEnum):
    """The written form of the folds."""

    disjoint = "disjoint"
    lineage = "lineage"
    official = "official"


class PrecisionName(StrEnum):
    """What a network computes in."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"


class EngineName(StrEnum):
    """Where work is done."""

    local = "local"
    ray = "ray"


DATASET_HELP = (
    "chaost2, sabs, cmr, acdc, nnunet, msd, lineage, chaost2-lineage, sabs-lineage, cmr-lineage, "
    "or folder."
)
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, …")]
InPrecision = Annotated[
    PrecisionName, typer.Option("--precision", help="auto: the faster one here, measured.")
]
Address = Annotated[
    str | None, typer.Option(help="Of the Ray cluster; default: one on this machine.")
]
Out = Annotated[Path, typer.Option(help="Folder to write into.")]


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"dpcenet {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Common options."""


def name_of(text: str, flag: str = "--label") -> tuple[int, str]:
    """(1, "liver") from "1=liver".

    Raises:
        ConfigError: it is written otherwise; the message names the flag.
    """
    value, separator, name = text.partition("=")
    if not separator or not value.isdecimal() or not name:
        raise ConfigError(f"{flag} {text}: write it as VALUE=NAME, such as 1=liver")
    return int(value), name
