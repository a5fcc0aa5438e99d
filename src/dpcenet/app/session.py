"""What one server holds while it runs: the project, the open drawings, and who may draw."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field

from fastapi import HTTPException

from dpcenet.app.drawing import Drawing
from dpcenet.app.program import ConfigError, InputError, read_json
from dpcenet.app.project import Project, Scan
from dpcenet.app.shown_scan import Facts, make_ready, shown_facts

SAVE_EVERY_S = 0.5
TAB_GONE_S = 12.0
"""A tab that has not been heard of for so long is closed; open ones call every four seconds."""

log = logging.getLogger("dpcenet.app")


@dataclass
class Session:
    """The state of a server.

    Attributes:
        project: the folder.
        drawings: the labels that are worked on, by scan.
        tab: the browser tab that may draw, and when it was last heard of.
    """

    project: Project
    drawings: dict[str, Drawing] = field(default_factory=dict)
    tab: tuple[str, float] = ("", 0.0)
    reading: threading.Lock = field(default_factory=threading.Lock)
    stopped: threading.Event = field(default_factory=threading.Event)

    def scan(self, scan_id: str) -> Scan:
        """A scan by its id.

        Raises:
            HTTPException: 404, there is none.
        """
        scan = self.project.scans.get(scan_id)
        if scan is None:
            raise HTTPException(404, "no such scan")
        return scan

    def facts(self, scan: Scan) -> Facts:
        """The facts of a scan, made ready if need be; one scan is read at a time.

        Raises:
            HTTPException: 422, it cannot be used, with the reason.
        """
        try:
            known = shown_facts(scan)
            if known is not None:
                return known
            with self.reading:
                return make_ready(scan)
        except (InputError, OSError, MemoryError) as error:
            raise HTTPException(422, str(error)) from error

    def drawing(self, scan_id: str) -> Drawing:
        """The labels of a scan, as a person or a command left them last.

        Raises:
            HTTPException: 404 no such scan; 422 it, or its mask, cannot be used.
        """
        scan = self.scan(scan_id)
        facts = self.facts(scan)
        with self.project.lock:
            known = self.drawings.get(scan_id)
            try:
                if known is None or known.facts != facts:
                    known = self.drawings[scan_id] = Drawing.open(scan, facts)
                elif known.follow():
                    log.info("%s: the mask was written anew", scan.name)
            except InputError as error:
                raise HTTPException(422, str(error)) from error
        return known

    def check_tab(self, tab: str) -> None:
        """Refuse a tab that may not draw.

        Raises:
            HTTPException: 409, another tab has the project.
        """
        if self.tab_of(tab, take=False) != tab:
            raise HTTPException(409, "the project is open in another tab")

    def tab_of(self, tab: str, take: bool) -> str:
        """The tab that may draw, when `tab` asks; `take` makes it that one."""
        owner, heard = self.tab
        now = time.monotonic()
        if take or owner in ("", tab) or now - heard > TAB_GONE_S:
            self.tab = (tab, now)
        return self.tab[0]

    def leave(self, tab: str) -> None:
        """A tab was closed."""
        if self.tab[0] == tab:
            self.tab = ("", 0.0)

    def save_all(self) -> None:
        """Write what was drawn where commands find it."""
        labels = self.project.labels
        for drawing in list(self.drawings.values()):
            try:
                drawing.save(labels)
            except (OSError, InputError) as error:
                # What was drawn stands in the cache; it is tried again.
                log.warning("%s: not written yet: %s", drawing.scan.name, error)

    def keep_saving(self) -> None:
        """Save a moment after each change, until the server stops.

        First what a server that was killed had not written yet: a command would not know of it.
        """
        for scan in list(self.project.scans.values()):
            if _unsaved(scan):
                try:
                    self.drawing(scan.id)
                except HTTPException as error:
                    log.warning("%s: what was drawn is not written: %s", scan.name, error.detail)
        while not self.stopped.wait(SAVE_EVERY_S):
            self.save_all()
        self.save_all()


def _unsaved(scan: Scan) -> bool:
    """Whether changes were kept that are not yet where commands find them."""
    path = scan.cache / "state.json"
    try:
        return path.is_file() and bool(read_json(path).get("unsaved"))
    except ConfigError:
        return True  # opening it sets the damaged state aside, and keeps what was drawn
