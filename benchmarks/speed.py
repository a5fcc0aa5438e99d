"""Runs the table of works, ours and what it is measured against by turns: writes docs/speed.md.

    python benchmarks/speed.py [WORK ...] [--chaos FOLDER] [--ct FOLDER] [--trunk FILE] [--resume]
    python benchmarks/speed.py [WORK ...] --against CHECKOUT
    python benchmarks/speed.py --run RUN --run RUN
    python benchmarks/speed.py --gpu [--minutes 9]
    python benchmarks/speed.py --tiny --out FOLDER

A work's row goes into speed.json as soon as it is measured, and speed.md is made of that file
alone: after a kill, `--resume` leaves out what was measured in the same way. Folders hold real
scans, image_N.nii.gz and label_N.nii.gz; works whose scans are not given are left out. `--trunk`
names a ResNet-50's weights; without it weights are random. `--against` names a folder with another
commit: ours is then measured against the same work there. `--run` names runs of `dpcenet train`, on
whose weights and scans predictions are compared with the loops of the official code.

`--gpu` needs no file: made scans, a training step of every method, a step of pretraining, on the
GPU where there is one. It writes gpu.json, which the page shows if it lies beside speed.json; what
is not done when the minutes are over is left out.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from page import page
from works import SIZES, WORKS, Work

ROOT = Path(__file__).parents[1]
TURN = Path(__file__).with_name("turn.py")
Row = dict[str, Any]


class FailedError(Exception):
    """A turn ended with an error; the message is its last line."""


@dataclass
class Runner:
    """Runs turns, each in processes of its own.

    Attributes:
        place: folder for what is made.
        options: words of what a person gives.
        tiny: whether everything is small.
        ends: when nothing is begun or goes on any more, by `time.monotonic`.
        hidden: GPUs are, so that all is done on the CPU.
        known: what words in braces stand for.
    """

    place: Path
    options: list[str]
    tiny: bool
    ends: float
    hidden: bool
    known: dict[str, str] = field(default_factory=dict)

    def row(self, work: Work, turns: int, against: Path | None) -> Row:
        """Measure a work; where theirs fails, the row says so and has ours alone.

        Raises:
            FailedError: a turn of ours failed.
        """
        sides = {"ours": (ROOT, self.words(work.ours))}
        if against:
            sides["theirs"] = (against, sides["ours"][1])
        elif work.theirs:
            sides["theirs"] = (ROOT, self.words(work.theirs))
        taken: dict[str, list[Row]] = {side: [] for side in sides}
        failed: Row = {}
        for _ in range(turns):
            for side, (checkout, words) in [*sides.items()]:
                try:
                    taken[side].append(self.turn(words, checkout, self.emptied(side)))
                except FailedError as error:
                    if side == "ours":
                        raise
                    failed = {"theirs failed": str(error)}
                    del sides[side], taken[side]
        commands = [words for _, words in sides.values()]
        same = self.scores(commands, [self.place / side for side in sides])
        return {**summary(taken), **same, **failed}

    def emptied(self, name: str) -> Path:
        """An empty folder for what a turn writes."""
        shutil.rmtree(self.place / name, ignore_errors=True)
        (self.place / name).mkdir()
        return self.place / name

    def words(self, text: str) -> list[str]:
        """A command of the table, its words in braces replaced."""
        names = {name for name in re.findall(r"{(\w+)}", text) if name not in self.known}
        self.known |= {name: str(SIZES[name][self.tiny]) for name in names if name in SIZES}
        if new := [name for name in names if name not in SIZES]:
            words = ["make", *new, "--out", str(self.place), *self.options]
            self.known |= self.turn(words, ROOT, self.place)
        return shlex.split(text.format_map(self.known))

    def turn(self, words: list[str], checkout: Path, out: Path) -> Row:
        """What one turn took, in a process of its own."""
        program = words[0] == "dpcenet"
        command = [sys.executable, *(["-m", "dpcenet"] if program else [str(TURN), words[0]])]
        command += [str(out) if word == "OUT" else word for word in words[1:]]
        environment = {**os.environ, "PYTHONPATH": f"{checkout}/src"}
        environment |= {"CUDA_VISIBLE_DEVICES": ""} if self.hidden else {}
        took, said = self.finished(command, environment)
        return took if program else {**took, **json.loads(said.splitlines()[-1])}

    def finished(self, command: list[str], environment: dict[str, str]) -> tuple[Row, str]:
        """What a program took, with all that it started, and what it printed.

        Raises:
            FailedError: it failed, or the minutes are over.
        """
        left = self.ends - time.monotonic()
        if left <= 0:
            raise FailedError(OVER)
        with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as wrong:
            start = time.perf_counter()
            process = subprocess.Popen(command, env=environment, stdout=said, stderr=wrong)
            timer = threading.Timer(min(left, threading.TIMEOUT_MAX), process.kill)
            timer.start()
            _, status, used = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - start
            timer.cancel()
            process.returncode = os.waitstatus_to_exitcode(status)
            said.seek(0)
            wrong.seek(0)
            if process.returncode:
                lines = wrong.read().strip().splitlines() or [f"exit code {process.returncode}"]
                raise FailedError(OVER if time.monotonic() >= self.ends else lines[-1])
            cpu, memory = used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20
            return {"seconds": seconds, "cpu": cpu, "GB": memory}, said.read()

    def scores(self, commands: list[list[str]], outs: list[Path]) -> Row:
        """Agreement of what the last turns wrote, where both were asked for the same labels."""
        masks = [c[c.index(MASK) + 1] for c in commands if MASK in c]
        outs = outs if len(set(masks)) < 2 else outs[:1]
        given = [MASK, masks[0]] if masks else [MASK, str(self.place / "none")]
        found = self.turn(["score", *map(str, outs), *given], ROOT, self.place)
        return {key: value for key, value in found.items() if key not in ("seconds", "cpu", "GB")}


MASK, OVER = "--support-mask", "the minutes are over"


def summary(taken: dict[str, list[Row]]) -> Row:
    """Medians of each side, the most memory, and the ratios of each turn, theirs to ours."""
    found: Row = {"turns": len(taken["ours"])}
    for side, turns in taken.items():
        middle = {key: median(turn[key] for turn in turns) for key in ("seconds", "cpu")}
        found[side] = {**turns[-1], **middle, "GB": max(turn["GB"] for turn in turns)}
    if "theirs" in taken:
        pairs = list(zip(taken["ours"], taken["theirs"], strict=True))
        ratios = [theirs["seconds"] / ours["seconds"] for ours, theirs in pairs]
        found |= {"ratio": median(ratios), "low": min(ratios), "high": max(ratios)}
        found["cpu_ratio"] = median(theirs["cpu"] / ours["cpu"] for ours, theirs in pairs)
    return found


def commit(checkout: Path) -> str:
    """The last commit that changed what is measured; nothing where a folder is no checkout."""
    git, places = ["git", "-C", str(checkout)], ["--", "src", "benchmarks"]
    last, changed = (
        subprocess.run([*git, *words, *places], capture_output=True, text=True).stdout.strip()
        for words in (["log", "-1", "--format=%h"], ["status", "--porcelain"])
    )
    return f"{last}-dirty" if changed else last


def machine() -> dict[str, str]:
    """Processor and threads."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    threads = os.environ.get("OMP_NUM_THREADS", str(os.cpu_count()))
    return {"processor": (names or ["unknown"])[0], "threads": threads}


def write(found: Row, part: str, out: Path) -> None:
    """speed.json or gpu.json, whole or not at all, and the page of both."""
    name = "gpu.json" if part == "gpu" else "speed.json"
    (out / f"{name}.new").write_text(json.dumps(found, indent=1) + "\n")
    (out / f"{name}.new").replace(out / name)
    (out / "speed.md").write_text(page(read(out / "speed.json") | read(out / "gpu.json")))


def read(path: Path) -> Row:
    """What was measured so far."""
    found: Row = json.loads(path.read_text()) if path.exists() else {}
    return found


def chosen(names: list[str], part: str) -> dict[str, Work]:
    """The works of a part of the page: those named, or all of them."""
    if part == "works":
        every = {name: work for name, work in WORKS.items() if work.group != "gpu"}
    elif part == "against":
        every = {name: work for name, work in WORKS.items() if work.group in BOTH}
    else:
        every = {name: work for name, work in WORKS.items() if work.group == "gpu"}
        steps = [name for name in WORKS if name.startswith(("step-", "pretrain"))]
        every |= {name: replace(WORKS[name], theirs="") for name in steps}
    if unknown := sorted({*names} - {*every}):
        raise SystemExit(f"{', '.join(unknown)}: no such work; there are {', '.join(every)}")
    return {name: every[name] for name in names or every}


BOTH = ("wait", "segment", "train")  # groups whose works another commit has too


def main(
    works: Annotated[list[str] | None, typer.Argument(help=", ".join(WORKS))] = None,
    chaos: Path | None = None,
    ct: Path | None = None,
    trunk: Path | None = None,
    run: list[Path] | None = None,
    against: Path | None = None,
    gpu: Annotated[bool, typer.Option("--gpu", help="What a GPU needs, into gpu.json.")] = False,
    minutes: Annotated[float | None, typer.Option(help="For everything; with --gpu 9.")] = None,
    turns: int = 5,
    resume: bool = False,
    tiny: bool = False,
    table: Annotated[bool, typer.Option("--table", help="Only write the page again.")] = False,
    out: Path = ROOT / "docs",
) -> None:
    """Measure what is asked for, and write the tables."""
    if against and not (against / "src" / "dpcenet" / "__init__.py").exists():
        raise SystemExit(f"--against {against}: holds no src/dpcenet")
    part = "gpu" if gpu else "against" if against else "works"
    found = read(out / ("gpu.json" if gpu else "speed.json"))
    asked = {} if table or (run and not works) else chosen(works or [], part)
    given = {"chaos": chaos, "ct": ct, "trunk": trunk}
    options = [word for key, path in given.items() if path for word in (f"--{key}", str(path))]
    ends = time.monotonic() + 60 * (minutes or (9.0 if gpu else 1e6))
    way = {"commit": commit(ROOT), **({"against": commit(against)} if against else {})}
    way |= {"trunk": "ImageNet" if trunk else "random", **machine()}
    with tempfile.TemporaryDirectory() as folder:
        options += ["--tiny"] if tiny else []
        runner = Runner(Path(folder), options, tiny, ends, hidden=not gpu)
        rows = found.setdefault(part, {}) if asked else {}
        for name, work in asked.items():
            count = 1 if tiny or gpu or work.once else turns
            before = rows.get(name, {})
            if resume and (before.get("way"), before.get("turns")) == (way, count):
                continue
            try:
                rows[name] = {**runner.row(work, count, against), "way": way}
            except FailedError as failed:
                print(f"{name}: left out: {failed}", flush=True)
                continue
            write(found, part, out)
            print(f"{name}: {json.dumps(rows[name])}", flush=True)
        if run:
            told = runner.turn(["trained", *map(str, run)], ROOT, Path(folder))
            found.setdefault("trained", {}).update(
                {method: row for method, row in told.items() if isinstance(row, dict)}
            )
    write(found, part, out)


if __name__ == "__main__":
    typer.run(main)
