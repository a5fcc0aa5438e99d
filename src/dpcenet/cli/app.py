"""The application, and the options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand, TyperGroup

from dpcenet.errors import ConfigError, one_line
from dpcenet.system.progress import Kind, progress_as

GROUPS = {
    "Segment": ("segment", "complete", "task", "app", "export"),
    "Look at data": ("doctor", "prepare", "inspect"),
    "Train and compare": ("adapt", "train", "evaluate", "report", "benchmark", "pretrain", "list"),
    "Other": ("demo", "cite", "download"),
}
"""The commands as `--help` lists them; one that is not here stands under the last heading."""
OPTION_GROUPS = {
    "Labelled scans": (
        *("support_image", "support_mask", "task", "run", "method", "label", "name", "modality"),
        "learn",
    ),
    "Reading": (
        *("pattern", "echo", "series", "spacing", "resample", "split_time", "labelled_too"),
        "no_links_out",
    ),
    "Results": (
        *("probability", "mesh", "form", "layout", "smooth", "largest", "all_parts", "min_volume"),
        *("check", "accept_dice", "fast", "overwrite"),
    ),
    "Computing": (*("jobs", "memory_cap", "engine", "address", "device", "precision", "progress"),),
}
"""Parameters of a command with many options, as its `--help` lists them."""


class GroupedCommands(TyperGroup):
    """Commands under headings, in the order of `GROUPS`."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        headings = {name: title for title, names in GROUPS.items() for name in names}
        for name, command in self.commands.items():
            command.rich_help_panel = headings.get(name, [*GROUPS][-1])  # type: ignore[attr-defined, unused-ignore]

    def list_commands(self, ctx: Any) -> list[str]:
        """All names, in the order in which they are listed."""
        order = [name for names in GROUPS.values() for name in names]
        known = [name for name in order if name in self.commands]
        return known + [name for name in self.commands if name not in order]


class GroupedOptions(TyperCommand):
    """A command whose options stand under the headings of `OPTION_GROUPS`."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        headings = {name: title for title, names in OPTION_GROUPS.items() for name in names}
        for option in self.params:
            if option.name in headings:
                option.rich_help_panel = headings[option.name]  # type: ignore[attr-defined, unused-ignore]


SHORT_HELP = {"help_option_names": ["-h", "--help"]}
app = typer.Typer(
    cls=GroupedCommands,
    help="Few-shot medical image segmentation: label one scan, segment the rest. "
    "For research only; not a medical device.",
    context_settings=SHORT_HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


DATASET_HELP = (
    "chaost2, sabs, cmr, acdc, nnunet, msd, lineage, chaost2-lineage, sabs-lineage, cmr-lineage, "
    "folder, or one of another package; see `dpcenet list`."
)
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, …")]
InPrecision = Annotated[
    Literal["auto", "float32", "bfloat16"],
    typer.Option("--precision", help="auto: bfloat16 where the device has it."),
]
OnEngine = Annotated[
    Literal["local", "ray"], typer.Option(help="local: this machine; ray: a Ray cluster.")
]
Address = Annotated[
    str | None, typer.Option(help="Address of the Ray cluster; default: one on this machine.")
]
Out = Annotated[Path, typer.Option("-o", "--out", help="Output folder.")]


def _choose_progress(ctx: typer.Context, kind: Kind) -> Kind:
    """Show progress in this form until the command ends."""
    ctx.with_resource(progress_as(kind))
    return kind


Progress = Annotated[
    Kind,
    typer.Option(
        "--progress",
        callback=_choose_progress,
        help="bar; json: a line of JSON for each step on standard error, for programs; none.",
    ),
]


def _version(asked: bool) -> None:
    if asked:
        from dpcenet.system.about import versions_text

        typer.echo(versions_text())
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_version,
            is_eager=True,
            help="Versions, device, hash of the weights.",
        ),
    ] = False,
) -> None:
    """Common options."""


def parse_label_name(text: str, flag: str = "--name") -> tuple[int, str]:
    """(1, "liver") from "1=liver".

    Raises:
        ConfigError: it is not of this form; the message names the flag.
    """
    value, _, name = text.partition("=")
    name = one_line(name).strip()
    if not (value.isascii() and value.isdecimal()) or not name:
        raise ConfigError(one_line(f"{flag} {text}: write it as VALUE=NAME, such as 1=liver"))
    return int(value), name
