"""The options of every command as one page of Markdown, read from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from dpcenet.cli import app


def commands(group: Any = None, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every command with its full name, such as "task create"."""
    group = group or typer.main.get_command(app)
    for name, command in group.commands.items():
        full = f"{path} {name}".strip()
        if hasattr(command, "commands"):
            yield from commands(command, full)
        else:
            yield full, command


def options_page() -> str:
    """The page."""
    parts = [
        "# Options of the commands\n\nWhat `dpcenet COMMAND --help` says. For research only.\n"
    ]
    for name, command in commands():
        rows = [_row(parameter) for parameter in command.params if not parameter.hidden]
        table = "\n".join(["| | | default |", "|---|---|---|", *rows])
        parts.append(f"## {name}\n\n{(command.help or '').strip()}\n\n{table}\n")
    return "\n".join(parts)


def _row(parameter: Any) -> str:
    """A line of a table: how it is written, what it means, what it is by default."""
    argument = parameter.param_type_name == "argument"
    written = (parameter.name or "").upper() if argument else ", ".join(parameter.opts)
    if parameter.secondary_opts:
        written += " / " + ", ".join(parameter.secondary_opts)
    default = "required" if parameter.required else parameter.default
    shown = "" if callable(default) or default in (None, False, "", ()) else str(default)
    return "| " + " | ".join(_cell(x) for x in (f"`{written}`", parameter.help or "", shown)) + " |"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
