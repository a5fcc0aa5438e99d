"""Checks of what a person names, before torch is loaded; and what Ctrl-C says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dpcenet.errors import ConfigError, DatasetError, DpcenetError, RunError, TaskError
from dpcenet.system import plugins
from dpcenet.system.assets import asset


def check_words(words: Sequence[str]) -> None:
    """Refuse a word of the command line that is empty: as a path it means the current folder.

    A variable of the shell that was never set leaves one, and all that lies there would be taken.

    Raises:
        ConfigError: the message says behind which word it stands.
    """
    for before, word in zip(("dpcenet", *words), words, strict=False):
        if not word.strip() or (word.startswith("--") and word.endswith("=")):
            where = word if word.strip() else f"behind {before}"
            raise ConfigError(f"{where}: an empty word; is a variable of the shell not set?")


def check_folder(flag: str, folder: Path | None) -> None:
    """Refuse what is no folder; None is none that was asked for.

    Raises:
        ConfigError: the message names the flag.
    """
    if folder is not None and not folder.is_dir():
        raise ConfigError(f"{flag} {folder}: there is no such folder".lstrip())


def check_files(flag: str, paths: Sequence[Path | None]) -> None:
    """Refuse a path where there is no file.

    Raises:
        ConfigError: the message names the flag.
    """
    for path in paths:
        if path is not None and not path.is_file():
            raise ConfigError(f"{flag} {path}: there is no such file".lstrip())


def check_there(paths: Sequence[Path]) -> None:
    """Refuse a path where there is neither a file nor a folder.

    Raises:
        DatasetError: the message names it.
    """
    for path in paths:
        if not path.exists():
            raise DatasetError(f"{path}: there is no such file or folder")


def check_prepared(flag: str, folder: Path | None) -> None:
    """Refuse a folder that `dpcenet prepare` did not finish.

    Raises:
        DatasetError: the message names the flag.
    """
    if folder is not None and not (folder / "manifest.json").is_file():
        found = f"{flag} {folder}: not a prepared data set (no manifest.json)".lstrip()
        raise DatasetError(f"{found}; make one with `dpcenet prepare`")


def check_run(flag: str, folder: Path | None) -> None:
    """Refuse a folder that is no run.

    Raises:
        RunError: the message names the flag.
    """
    if folder is not None and not (folder / "run.json").is_file():
        found = f"{flag} {folder}: not a run (no run.json)".lstrip()
        raise RunError(f"{found}; make one with `dpcenet train`")


def check_runs(folders: Sequence[Path]) -> None:
    """Refuse folders that are neither runs nor benchmarks.

    Raises:
        RunError: the message names the folder.
    """
    for folder in folders:
        if not (folder / "plans").is_dir():
            check_run("", folder)


def check_task(file: Path) -> None:
    """Refuse a task file that is not there.

    Raises:
        TaskError: the message names it.
    """
    if not file.is_file():
        raise TaskError(f"{file}: there is no such file; make one with `dpcenet task create`")


def check_named(kind: str, name: str) -> None:
    """Refuse a preset or a plan that is neither a YAML file nor one of the package.

    Args:
        kind: "preset" or "plan"; presets of the package lie in folders of their methods.
        name: as a person wrote it.

    Raises:
        ConfigError: the message names those there are.
    """
    if Path(name).suffix in (".yaml", ".yml"):
        check_files("", [Path(name)])
        return
    if kind == "preset" and name.partition("/")[0] in plugins.offered(plugins.METHODS):
        return  # of another package; its presets are known when its code is loaded
    root = asset(f"{kind}s")
    if not root.joinpath(f"{name}.yaml").is_file():
        inside = [each for each in root.iterdir() if each.is_dir()] if kind == "preset" else [root]
        prefix = {each: f"{each.name}/" if kind == "preset" else "" for each in inside}
        known = sorted(
            f"{prefix[each]}{file.name.removesuffix('.yaml')}"
            for each in inside
            for file in each.iterdir()
            if file.name.endswith(".yaml")
        )
        raise ConfigError(
            f"{kind} {name!r}: there is none of that name; give a YAML file or one of "
            f"{', '.join(known)}"
        )


@contextmanager
def stopped(how: str) -> Iterator[None]:
    """Ctrl-C inside ends the command with a line that says what is kept, and how to go on.

    Raises:
        DpcenetError: Ctrl-C was pressed.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        raise DpcenetError(f"stopped by Ctrl-C; {how}") from error
