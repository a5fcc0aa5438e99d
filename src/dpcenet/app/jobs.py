"""Commands that run for minutes, in processes of their own that outlive the server.

jobs/N/job.json    the commands, and what they are for
jobs/N/log.txt     what they said
jobs/N/process.json  the process that runs them, and its exit code when it has ended

Pausing stops the process group; it goes on where it was. What a command finished is kept by the
command itself, so a job that was cancelled is begun again where it was.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from dpcenet.app.program import ConfigError, read_json, read_or_set_aside, set_aside, write_json
from dpcenet.app.project import now

CAN_PAUSE = hasattr(signal, "SIGSTOP")
LOG_TAIL = 4000
_JOB = {"kind": str, "started": str, "commands": list, "pid": int, "born": str}


@dataclass(frozen=True)
class Job:
    """A job's folder."""

    folder: Path

    @property
    def id(self) -> str:
        """Its number."""
        return self.folder.name

    @property
    def facts(self) -> dict[str, Any]:
        """What it is for."""
        return read_json(self.folder / "job.json", _JOB)

    @property
    def whole(self) -> bool:
        """Whether its record can be used; a damaged one is set aside with a note."""
        path = self.folder / "job.json"
        if read_or_set_aside(path, _JOB) is None:
            return False
        try:
            return self.started.tzinfo is not None
        except ValueError:
            set_aside(path)
            return False

    @property
    def started(self) -> datetime:
        """When."""
        return datetime.fromisoformat(self.facts["started"])

    @property
    def process(self) -> dict[str, Any]:
        """The process, and its exit code when it has ended."""
        return read_or_set_aside(self.folder / "process.json") or {}

    @property
    def state(self) -> str:
        """running, paused, cancelled, done, failed or lost (its process was killed)."""
        facts, process = self.facts, self.process
        if facts.get("cancelled"):
            return "cancelled"
        if "exit" in process:
            return "done" if process["exit"] == 0 else "failed"
        if not is_alive(facts["pid"], facts["born"]):
            # It may have ended between the two looks.
            return "lost" if "exit" not in self.process else self.state
        return "paused" if facts.get("paused") else "running"

    @property
    def log(self) -> str:
        """The end of what its commands said."""
        path = self.folder / "log.txt"
        text = path.read_bytes()[-LOG_TAIL:].decode("utf-8", "replace") if path.is_file() else ""
        return text.rpartition("\r")[2] if "\r" in text else text

    def pause(self, paused: bool) -> None:
        """Stop for a while, or go on.

        Raises:
            ConfigError: it does not run, or this system cannot stop a process.
        """
        if not CAN_PAUSE:
            raise ConfigError("this system cannot pause a job; cancel it, it goes on where it was")
        if self.state not in ("running", "paused"):
            raise ConfigError("the job does not run")
        self._signal(signal.SIGSTOP if paused else signal.SIGCONT)
        self._change(paused=paused)

    def cancel(self) -> None:
        """End it; what it finished is kept."""
        if self.state not in ("running", "paused"):
            return
        try:
            self._change(cancelled=True)
        finally:  # also where the disk is full, of which it may be the cause
            self._signal(signal.SIGTERM)
            if CAN_PAUSE:
                self._signal(signal.SIGCONT)  # a stopped process would not hear

    def _signal(self, number: int) -> None:
        pid = self.facts["pid"]
        try:
            os.killpg(pid, number) if hasattr(os, "killpg") else os.kill(pid, number)
        except ProcessLookupError:
            return  # it has just ended

    def _change(self, **changes: Any) -> None:
        write_json(self.folder / "job.json", {**self.facts, **changes})


def start(root: Path, kind: str, commands: list[list[str]], **facts: Any) -> Job:
    """Run commands one after the other, until one fails.

    Args:
        root: of the project.
        kind: what the job is for.
        commands: each a program with its arguments; "dpcenet" and "python" are this one's.
        facts: to be kept with it.

    Raises:
        ConfigError: a job is running.
    """
    if any(job.state in ("running", "paused") for job in all_jobs(root)):
        raise ConfigError("a job is running; wait for it, or cancel it")
    folder = _next_folder(root)
    plan = {"kind": kind, "commands": commands, "started": now(), **facts}
    try:
        write_json(folder / "plan.json", plan)
        return _begin(folder, plan)
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)  # or it would count as a job
        raise


def _next_folder(root: Path) -> Path:
    """A new folder; one that a job left behind without its record has a number too."""
    known = [int(place.name) for place in (root / "jobs").glob("*") if place.name.isdecimal()]
    folder = root / "jobs" / f"{max(known, default=0) + 1:04d}"
    folder.mkdir(parents=True)
    return folder


def _begin(folder: Path, plan: dict[str, Any]) -> Job:
    """Start the process of a job, and write its record; without the record it does not run on."""
    with (folder / "log.txt").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "dpcenet.app.job_process", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        born = born_at(process.pid)
        write_json(folder / "job.json", {**plan, "pid": process.pid, "born": born})
    except OSError:
        process.terminate()
        process.wait()
        raise
    return Job(folder)


def all_jobs(root: Path) -> list[Job]:
    """The jobs of a project, the first one first."""
    found = sorted((root / "jobs").glob("*/job.json"))
    return [job for job in (Job(path.parent) for path in found) if job.whole]


_NUMBERS = 2**31  # what a system counts processes in; a damaged file may say anything


def is_alive(pid: int, born: str) -> bool:
    """Whether the process runs still; another one may have its number by now."""
    if not 0 < pid < _NUMBERS:
        return False
    with contextlib.suppress(OSError):  # it is no child of a server that was started later
        os.waitpid(pid, os.WNOHANG)  # a child that has ended counts as alive until it is asked for
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return born_at(pid) == born


def born_at(pid: int) -> str:
    """When a process began, in the system's own count; "" where that is not told."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = text.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]
