"""The project folder: everything the page knows, in files that the commands read and write.

project.json        the folder of scans, and the labels with their colours
drawings/NAME.*     what a person drew, slice by slice: a NIfTI mask on the scan's grid, its record
masks/              whole masks and the review: OUT of `dpcenet segment`
decisions.json      what a person decided of each result, and when
jobs/               commands that run or ran, with what they said
rounds/             the masks before each time that the rest was segmented again
export/             what was exported
cache/              scans as the page shows them; may be deleted when the page is closed

Nothing is written beside the scans.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from dpcenet.app.program import (
    ConfigError,
    DatasetError,
    Held,
    LeftAside,
    Query,
    by_reason,
    find_queries,
    hash_of,
    held,
    name_for,
    read_json,
    validated,
    write_json,
)

FORMAT = "dpcenet project 1"
MAX_LABELS = 32
MOST_LETTERS = 60
"""Of a label's name."""
COLOURS = ("#00c2ff", "#ff9f43", "#5bd16a", "#ff6b81", "#b58cff", "#ffd84d", "#4de0c8", "#f28ad6")
"""Of labels, in order: apart from each other on grey, also for most people who see red as green."""


class Label(BaseModel):
    """A label: its value in masks, its name, its colour."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: int = Field(ge=1, le=255)
    name: str = Field(min_length=1, max_length=MOST_LETTERS, pattern=r"^[^\x00-\x1f]+$")
    colour: str = Field(pattern=r"^#[0-9a-f]{6}$")


@dataclass(frozen=True)
class Scan:
    """A scan of the folder, and where its files lie in the project."""

    id: str
    query: Query
    root: Path

    @property
    def name(self) -> str:
        """As the commands call it: the path in the folder without its suffix."""
        return self.query.name.as_posix()

    @property
    def drawing(self) -> Path:
        """The mask of drawn slices."""
        return self.root / "drawings" / f"{self.name}.nii.gz"

    @property
    def drawing_record(self) -> Path:
        """Which slices were drawn, and when."""
        return self.root / "drawings" / f"{self.name}.json"

    @property
    def mask(self) -> Path:
        """The whole mask: .nii.gz where no DICOM SEG can be made of a series."""
        places = [self.root / "masks" / name for name in self.query.mask_names]
        return next((place for place in places if place.is_file()), places[0])

    @property
    def cache(self) -> Path:
        """The folder of what the page shows of it."""
        return self.root / "cache" / self.id

    @property
    def source(self) -> Path:
        """What a command is given for it: a file, of a DICOM series any one."""
        return self.query.files[0]


@dataclass
class Project:
    """A folder of scans and the folder of what was done with them.

    Attributes:
        folder: of scans, resolved.
        root: of what was done.
        scans: id → scan.
        left_out: why something in the folder is no scan, or is not used → the names.
    """

    folder: Path
    root: Path
    scans: dict[str, Scan] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    @classmethod
    def open(cls, folder: Path, root: Path) -> Project:
        """Open or begin a project.

        Args:
            folder: of scans.
            root: of the project.

        Raises:
            ConfigError: a folder cannot be used.
        """
        if not folder.is_dir():
            raise ConfigError(f"{folder}: there is no such folder; name a folder of scans")
        project = cls(folder.resolve(), root.resolve())
        path = project.root / "project.json"
        if path.is_file():
            known = read_json(path, {"labels": list})
            if known.get("format") != FORMAT or known.get("folder") != str(project.folder):
                raise ConfigError(
                    f"{path}: belongs to {known.get('folder')}; choose another project folder"
                )
        elif project.root.is_dir() and any(project.root.iterdir()):
            raise ConfigError(f"{root}: holds other files; choose an empty folder for --project")
        else:
            facts = {"format": FORMAT, "folder": str(project.folder), "created": now()}
            write_json(path, {**facts, "labels": []})
        project.find_scans()
        return project

    def find_scans(self) -> None:
        """Search the folder again; nothing out of it is opened or listed, as the page's jobs do."""
        aside: list[LeftAside] = []
        try:
            queries = find_queries([self.folder], out=self.root, aside=aside, links_out=False)
        except DatasetError:
            queries = []
        with self.lock:
            self.left_out = by_reason(aside, self.folder)
            self.scans = {scan.id: scan for scan in map(self._scan, queries)}

    def _scan(self, query: Query) -> Scan:
        return Scan(hash_of(query.name.as_posix())[:12], query, self.root)

    @property
    def labels(self) -> list[Label]:
        """The labels, by value."""
        path = self.root / "project.json"
        facts = read_json(path, {"labels": list})
        return list(validated(tuple[Label, ...], facts["labels"], path, "labels"))

    def set_labels(self, labels: list[Label]) -> None:
        """Keep the labels.

        Raises:
            ConfigError: two have one value or one name, or there are too many.
        """
        values, names = {each.value for each in labels}, {each.name for each in labels}
        if len(values) < len(labels) or len(names) < len(labels) or len(labels) > MAX_LABELS:
            raise ConfigError(f"labels: give at most {MAX_LABELS}, each value and name once")
        ordered = sorted(labels, key=lambda label: label.value)
        self.change("project.json", {"labels": [label.model_dump() for label in ordered]})

    def add_labels(self, names: Mapping[int, str]) -> None:
        """Add the labels that came with a mask: value → name, "" where the file has none.

        A label that had no name of its own gets the file's.
        """
        known = {label.value: label for label in self.labels}
        taken = {label.name for label in known.values()}
        for value, said in names.items():
            plain = name_for({}, value)
            name = said[:MOST_LETTERS].strip()
            name = name if name and name not in taken else plain
            old = known.get(value)
            if old is None:
                colour = COLOURS[(value - 1) % len(COLOURS)]
                known[value] = Label(value=value, name=name, colour=colour)
            elif old.name == plain:
                known[value] = old.model_copy(update={"name": name})
            taken.add(known[value].name)
        self.set_labels(list(known.values()))

    def change(self, name: str, changes: dict[str, Any]) -> dict[str, Any]:
        """Change entries of a JSON file of the project, whole or not at all."""
        path = self.root / name
        with self.lock:
            data = {**(read_json(path) if path.is_file() else {}), **changes}
            write_json(path, data)
        return data


def now() -> str:
    """The time, for records."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def default_root(folder: Path) -> Path:
    """Where the project of a folder lies unless a person says otherwise."""
    place = folder.resolve()
    return Path.home() / "dpcenet-projects" / f"{place.name}-{hash_of(str(place))[:8]}"


@contextmanager
def only_server(root: Path) -> Iterator[None]:
    """Hold the project for this process; the system lets it go when the process ends.

    Raises:
        ConfigError: another server has it open.
    """
    root.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(held(root / "server.lock"))
        except Held as error:
            raise ConfigError(
                f"{root}: another `dpcenet app` has it open; close that one"
            ) from error
        yield
