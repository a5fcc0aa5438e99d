"""The labels of one scan while a person works on them; nothing that was drawn is lost.

cache/ID/labels.nii    the labels as shown, mapped: a change is in the file at once, and stays there
                       when this process is killed
cache/ID/undo/N        the plane before and after change N
cache/ID/state.json    which change is the last one, and which file the labels were taken from

A moment after a change the labels are written where commands find them (`save`): into the whole
mask where there is one, else into the drawing.
"""

from __future__ import annotations

import shutil
import threading
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dpcenet.app.mask_files import (
    Origin,
    is_result,
    keep_result,
    maker_of,
    read_labels,
    remember_origin,
    restore_result,
    write_shown,
)
from dpcenet.app.program import (
    ConfigError,
    read_json,
    read_or_set_aside,
    set_aside,
    write_json,
    write_mask,
    write_nifti,
)
from dpcenet.app.project import Label, Scan, now
from dpcenet.app.shown_scan import Facts
from dpcenet.app.undo import Drawn, Plane, Step, read_step, with_drawn, write_step

_STATE = {"cursor": int, "last": int, "stroke": str, "drawn": dict, "unsaved": bool}


@dataclass(frozen=True)
class Change:
    """A plane of the labels that was changed, undone or done again."""

    axis: int
    index: int
    plane: Plane


@dataclass
class Drawing:
    """The labels of one scan.

    Attributes:
        scan, facts: which scan.
        labels: (Z, Y, X) uint8 as shown, mapped from the file.
        state: `cursor`, the number of the last change that stands; `last`, of the last one that can
            be done again; `home`, the size and time of the file that the labels were taken from;
            `drawn`, slice → when a person last drew on it; `unsaved`, whether `home` is behind;
            `result`, crc32 of the labels as the network left them, None where it did not.
    """

    scan: Scan
    facts: Facts
    labels: npt.NDArray[np.uint8]
    state: dict[str, Any]
    lock: threading.RLock = field(default_factory=threading.RLock)
    saving: threading.RLock = field(default_factory=threading.RLock)

    @classmethod
    def open(cls, scan: Scan, facts: Facts) -> Drawing:
        """The labels as they were left; those of the file where that is newer.

        Raises:
            VolumeError: the file cannot be used.
        """
        path, state_path = scan.cache / "labels.nii", scan.cache / "state.json"
        known = state_path.is_file()
        state = (read_or_set_aside(state_path, _STATE) or {}) if path.is_file() else {}
        if known and not state_path.is_file():
            set_aside(path)  # the state was damaged: what was drawn last is kept, by another name
        if state.get("made_from") != facts.made_from:  # the first time, or the scan was replaced
            write_nifti(np.zeros(facts.shape, np.uint8), path, facts.grid)
            shutil.rmtree(scan.cache / "undo", ignore_errors=True)
            write_json(state_path, _fresh())
        offset = path.stat().st_size - int(np.prod(facts.shape))
        labels = np.memmap(path, np.uint8, "r+", offset, facts.shape)
        drawing = cls(scan, facts, labels, read_json(state_path))
        drawing.follow()
        return drawing

    @property
    def undo_folder(self) -> Path:
        """Where changes are kept."""
        return self.scan.cache / "undo"

    @property
    def home(self) -> Path:
        """The file that commands read."""
        return self.scan.mask if self.scan.mask.is_file() else self.scan.drawing

    @property
    def drawn(self) -> list[int]:
        """The slices that a person drew on."""
        return sorted(map(int, self.state["drawn"]))

    def follow(self) -> bool:
        """Take the labels from their file where a command or another program wrote it since."""
        with self.lock:
            if self.state["unsaved"] or self.state["home"] == _stamp(self.home):
                return False
            self._take(self.home)
            return True

    def _take(self, path: Path) -> None:
        """The labels of a file; none where there is no file.

        Slices that a person drew stand in what the network made since.
        """
        self.labels[:] = read_labels(path, self.facts) if path.is_file() else 0
        shutil.rmtree(self.undo_folder, ignore_errors=True)
        record, drawing = self.scan.drawing_record, self.scan.drawing
        drawn = read_json(record, {"drawn": dict})["drawn"] if record.is_file() else {}
        kept = False
        result = (
            zlib.crc32(self.labels.data) if path == self.scan.mask and is_result(path) else None
        )
        if drawn and drawing.is_file() and result is not None:
            slices = sorted(map(int, drawn))
            by_hand = read_labels(drawing, self.facts)[slices]
            kept = not np.array_equal(self.labels[slices], by_hand)
            self.labels[slices] = by_hand
        new = {"home": _stamp(path), "drawn": drawn, "unsaved": kept, "result": result}
        self._keep({**_fresh(), **new})

    def plane(self, axis: int, index: int) -> Plane:
        """A copy of one plane."""
        return np.ascontiguousarray(np.take(self.labels, index, axis))

    def change(self, axis: int, index: int, plane: Plane, stroke: str = "") -> None:
        """Replace a plane.

        Args:
            axis: 0 slices, 1 rows, 2 columns.
            index: of the plane.
            plane: its new labels.
            stroke: planes of one stroke of the pen have the same name, and are undone as one.
        """
        with self.lock:
            if not self.state["unsaved"]:  # said first: a server killed in between saves it later
                self._keep({**self.state, "unsaved": True})
            before, number = self.plane(axis, index), self.state["cursor"] + 1
            earlier: Drawn = {}
            if stroke and stroke == self.state["stroke"]:
                known = read_step(self.undo_folder, number - 1, self.facts.shape)
                if (known.axis, known.index) == (axis, index):
                    number, before, earlier = number - 1, known.planes[0], known.drawn[0]
            touched = {str(index)} if axis == 0 else self._slices_touched(axis, before, plane)
            was: Drawn = {each: self.state["drawn"].get(each) for each in touched} | earlier
            drawn: Drawn = {**was, **dict.fromkeys(touched, now())}
            write_step(self.undo_folder, number, Step(axis, index, (before, plane), (was, drawn)))
            self._put(axis, index, plane)
            times = with_drawn(self.state["drawn"], drawn)
            changes = {"cursor": number, "last": number, "drawn": times, "stroke": stroke}
            self._keep({**self.state, **changes})

    def replace(self, labels: npt.NDArray[np.uint8], drawn: list[int]) -> None:
        """Replace all labels, as a mask from a file does; this cannot be undone."""
        with self.lock:
            self.labels[:] = labels
            shutil.rmtree(self.undo_folder, ignore_errors=True)
            times = dict.fromkeys(map(str, drawn), now())
            self._keep({**_fresh(), "home": None, "drawn": times, "unsaved": True})

    def undo(self) -> Change | None:
        """Take the last change back."""
        with self.lock:
            cursor = self.state["cursor"]
            return self._go(cursor, cursor - 1, 0)

    def redo(self) -> Change | None:
        """Do the change again that was taken back."""
        with self.lock:
            cursor = self.state["cursor"]
            return self._go(cursor + 1, cursor + 1, 1) if cursor < self.state["last"] else None

    def _go(self, number: int, cursor: int, which: int) -> Change | None:
        if not (self.undo_folder / str(number)).is_file():
            return None
        known = read_step(self.undo_folder, number, self.facts.shape)
        change = Change(known.axis, known.index, known.planes[which])
        self._put(change.axis, change.index, change.plane)
        drawn = with_drawn(self.state["drawn"], known.drawn[which])
        changes = {"cursor": cursor, "drawn": drawn, "stroke": "", "unsaved": True}
        self._keep({**self.state, **changes})
        return change

    def save(self, names: list[Label]) -> bool:
        """Write the labels where commands find them; whether there was anything to write.

        Raises:
            OSError: they cannot be written.
        """
        with self.saving:  # not `lock`: drawing goes on meanwhile
            return self._save(names)

    def _save(self, names: list[Label]) -> bool:
        with self.lock:
            if not self.state["unsaved"]:
                return False
            labels, cursor = np.array(self.labels), self.state["cursor"]
            home, drawn = self.home, dict(self.state["drawn"])
        if home == self.scan.mask and not self._is_result_again(labels):
            maker = maker_of(self.scan, changed=True)
            keep_result(self.scan)
            write_shown(labels, home, self.scan, self.facts, names, maker)
        self._write_drawing(labels, drawn)
        with self.lock:
            behind = self.state["cursor"] != cursor or self.state["drawn"] != drawn
            self._keep({**self.state, "home": _stamp(self.home), "unsaved": behind})
        return True

    def _is_result_again(self, labels: npt.NDArray[np.uint8]) -> bool:
        """Whether all changes of a result were taken back; then it lies on disk as it was."""
        same = zlib.crc32(labels.data) == self.state.get("result")
        return same and restore_result(self.scan, labels, self.facts)

    def _write_drawing(self, labels: npt.NDArray[np.uint8], drawn: dict[str, str]) -> None:
        """The drawn slices alone: what `dpcenet complete` fills in from.

        No file where they hold no label and nothing else stands on them: all was erased.
        """
        slices = sorted(map(int, drawn))
        if not slices or not (labels[slices].any() or self.scan.mask.is_file()):
            self.scan.drawing.unlink(missing_ok=True)
            self.scan.drawing_record.unlink(missing_ok=True)
            return
        only = np.zeros_like(labels)
        only[slices] = labels[slices]
        grid = self.facts.source_grid
        write_mask(self.facts.orient.invert(only), self.scan.drawing, grid)
        write_json(self.scan.drawing_record, {"drawn": drawn, "saved": now()})

    def finish(self, names: list[Label], origin: Origin = "drawn") -> None:
        """Take the labels as they are as the whole mask.

        Args:
            names: of the labels.
            origin: how they were made; one that is known of an older mask stays.

        Raises:
            ConfigError: nothing is labelled.
        """
        with self.lock:
            if not self.labels.any():
                raise ConfigError(f"{self.scan.name}: nothing is labelled yet")
            self._keep({**self.state, "unsaved": True})
            if not self.scan.mask.is_file() or origin == "file":
                remember_origin(self.scan, origin)
            maker = maker_of(self.scan, changed=True)
            write_shown(np.array(self.labels), self.scan.mask, self.scan, self.facts, names, maker)
        self.save(names)

    def _put(self, axis: int, index: int, plane: Plane) -> None:
        where: list[Any] = [slice(None)] * 3
        where[axis] = index
        self.labels[tuple(where)] = plane

    def _slices_touched(self, axis: int, before: Plane, after: Plane) -> set[str]:
        """Slices that a change on another plane has changed."""
        return set(map(str, np.flatnonzero((before != after).any(axis=1)).tolist()))

    def _keep(self, state: dict[str, Any]) -> None:
        state = {**state, "made_from": self.facts.made_from}
        self.state = state
        write_json(self.scan.cache / "state.json", state)


def _fresh() -> dict[str, Any]:
    first = {"cursor": 0, "last": 0, "stroke": "", "home": None}
    return {**first, "drawn": {}, "unsaved": False, "result": None}


def _stamp(path: Path) -> list[int] | None:
    """Size and time of a file; None where there is none."""
    if not path.is_file():
        return None
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]
