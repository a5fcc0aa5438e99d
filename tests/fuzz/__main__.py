"""`python -m tests.fuzz MINUTES [TARGET ...]`: so many minutes for each reader, then the counts.

A file that a reader stumbles over is kept below `--keep`, with what it raised. Exit code 1 where
an exception was none of ours, a file took more than HANG seconds of the processor or STUCK seconds
in all, the process died, or a process took more than MOST_MIB.
"""

from __future__ import annotations

import argparse
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.targets import NAMES

HANG = 30
STUCK = 300
"""Longer than HANG: on a machine with other work the processor's time decides, not the clock, and
what waits for its turn is not stuck."""
MOST_MIB = 1024


@dataclass
class Counts:
    """What became of the files of one target."""

    outcomes: Counter[str] = field(default_factory=Counter)
    bad: Counter[str] = field(default_factory=Counter)
    mib: float = 0.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("minutes", type=float, help="for each target")
    parser.add_argument("targets", nargs="*", default=[], help=f"of {', '.join(NAMES)}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=None, help="folder of the files that failed")
    asked = parser.parse_intermixed_args()  # options may stand before the targets
    names = asked.targets or list(NAMES)
    if unknown := set(names) - set(NAMES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    keep = asked.keep or Path(tempfile.mkdtemp(prefix="fuzz-"))
    failed = False
    print(f"{'target':16} {'files':>8} {'read':>8} {'refused':>8} {'bad':>5} {'MiB':>6}")
    for name in names:
        counts = fuzz(name, asked.minutes * 60, asked.seed, keep)
        bad, files = sum(counts.bad.values()), sum(counts.outcomes.values())
        failed |= bool(bad) or counts.mib > MOST_MIB
        read, refused = counts.outcomes["read"], counts.outcomes["ours"]
        print(
            f"{name:16} {files + bad:8} {read:8} {refused:8} {bad:5} {counts.mib:6.0f}", flush=True
        )
        for text, count in counts.bad.most_common(20):
            print(f"    {count:5} × {text}", flush=True)
    print(f"files that failed: {keep}" if failed else "no failure")
    return int(failed)


def fuzz(name: str, seconds: float, seed: int, keep: Path) -> Counts:
    """Fuzz one target; a worker that hangs or dies is replaced by another."""
    counts, end = Counts(), time.monotonic() + seconds
    keep = keep / name.replace(" ", "-")
    keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fuzz-work-") as folder:
        while (left := end - time.monotonic()) > 0:
            _one_worker(name, seed, left, Path(folder), keep, counts)
            seed += 1_000_000
    return counts


def _one_worker(
    name: str, seed: int, seconds: float, folder: Path, keep: Path, counts: Counts
) -> None:
    worker = [sys.executable, "-m", "tests.fuzz.worker"]
    command = [*worker, name, str(seed), str(seconds), str(folder), str(keep)]
    with (
        (folder / "stderr").open("wb") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors) as process,
    ):
        if not _listen(process, counts):
            process.kill()
            counts.bad[f"hangs: {HANG} s of the processor, or {STUCK} s in all"] += 1
            _keep(folder, keep / f"{seed}-hang")
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        counts.mib = max(counts.mib, usage.ru_maxrss / 1024)
    if process.returncode not in (0, -signal.SIGKILL):
        tail = (folder / "stderr").read_text(errors="replace").strip().splitlines()[-1:]
        counts.bad[f"died with {process.returncode}: {''.join(tail)[:200]}"] += 1
        _keep(folder, keep / f"{seed}-died")


def _listen(process: subprocess.Popen[bytes], counts: Counts) -> bool:
    """Count what a worker says until it ends; False where it says nothing for too long."""
    assert process.stdout is not None
    selector = selectors.DefaultSelector()
    selector.register(process.stdout, selectors.EVENT_READ)
    started = False  # importing takes its time
    while _speaks(selector, process.pid, 10 if not started else 1):
        line = process.stdout.readline().decode().rstrip("\n")
        if not line:
            return True
        started = True
        if line in ("read", "ours"):
            counts.outcomes[line] += 1
        elif line != "start":
            counts.bad[line] += 1
    return False


def _speaks(selector: selectors.BaseSelector, process: int, patience: int) -> bool:
    """Wait until a worker says something; False where it does not come to that."""
    since, used = time.monotonic(), _processor_seconds(process)
    while not selector.select(1.0):
        waited = time.monotonic() - since
        worked = _processor_seconds(process) - used
        stuck = waited > patience * STUCK and not _is_ready(process)
        if worked > patience * HANG or stuck:
            return False
    return True


def _is_ready(process: int) -> bool:
    """Whether a process only waits for its turn: others have the processor, and it is not stuck."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "R"
    except OSError:
        return False


def _processor_seconds(process: int) -> float:
    """What a process has used of the processor; the clock where the system does not say."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return time.monotonic()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _keep(folder: Path, place: Path) -> None:
    if (folder / "case").is_dir():
        shutil.copytree(folder / "case", place, dirs_exist_ok=True)


if __name__ == "__main__":
    sys.exit(main())
