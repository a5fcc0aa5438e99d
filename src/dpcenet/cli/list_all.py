"""The command `list`: which methods, presets and data sets are installed."""

from __future__ import annotations

from collections.abc import Container

import typer

from dpcenet.cli.app import app


@app.command("list")
def list_command() -> None:
    """List the methods with their presets, and the data sets; also those of other packages."""
    from dpcenet.data.datasets import registry as datasets
    from dpcenet.data.datasets.spec import DatasetSpec
    from dpcenet.methods import registry as methods
    from dpcenet.system import plugins

    def source(group: str, name: str, ours: Container[str]) -> str:
        entry = plugins.offered(group).get(name)
        return "" if name in ours or entry is None else f"  ({plugins.package_of(entry)})"

    presets: dict[str, list[str]] = {}
    for name in methods.preset_names():
        method, _, preset = name.partition("/")
        presets.setdefault(method, []).append(preset)
    lines = ["methods and their presets, as METHOD/PRESET"]
    for method, of_method in presets.items():
        where = source(plugins.METHODS, method, methods.METHODS)
        lines.append(f"  {method:16}{', '.join(of_method)}{where}")
    lines.append("data sets, for --dataset")
    others = plugins.load_all(plugins.DATASETS, DatasetSpec)
    for name, spec in {**others, **datasets.DATASETS}.items():
        where = source(plugins.DATASETS, name, datasets.DATASETS)
        lines.append(f"  {name:16}{spec.title}{where}")
    typer.echo("\n".join(lines))
