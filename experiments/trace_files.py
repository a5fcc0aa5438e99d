"""Through how many files does a call pass? Counted by a trace, for any checkout.

    PYTHONPATH=CHECKOUT/src python experiments/trace_files.py find|segment|train|step --work DIR

find: one made scan (14 slices, 4 organs) from its file to its mask, by `Segmenter.find`: what a
newcomer has to read to know how a mask comes about. The labelled scan was encoded before.
segment: `dpcenet segment` of such a scan from one labelled scan, to its mask and review.
train: `dpcenet train dpcenet/small` for one step, from the prepared data to the checkpoint.
step: such a step alone, from the end of one optimiser step to the end of the next.

Counted are functions of the package that are entered, in any thread: distinct files, distinct
functions (file and name), and how often the file changes from one call to the next. Not counted:
bodies of modules and classes, whatever runs while a module is imported, and the command line
itself (`cli/`, `__main__`), which only reads options.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from inspect import CO_OPTIMIZED
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from types import CodeType, FrameType
from typing import Any

import torch

import dpcenet
from dpcenet.segmentation.segmenter import Segmenter

COMMAND_LINE = ("cli/", "__main__.py")
PLAN = """
data: [phantom]
made: 4
folds: [0]
of_folds: 2
scheme: disjoint
support: last
pretrained: false
methods:
  - {name: copy, preset: copy/plain}
"""
SMALL_SCANS = ("episodes.min_area=20", "train.precision=float32")  # "auto" would measure first


@dataclass(frozen=True)
class Call:
    """A function that was entered: its file, relative to the package, and its name."""

    file: str
    function: str


@dataclass
class Trace:
    """The calls of a command, in order.

    Attributes:
        root: folder of the package.
        calls: of all threads.
        steps: number of calls at the end of each optimiser step.
    """

    root: str
    calls: list[Call] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)

    def follow(self) -> Callable[[FrameType, str, Any], None]:
        """What `sys.setprofile` takes; one for each thread, as imports nest."""
        importing = 0

        def see(frame: FrameType, event: str, _: Any) -> None:
            nonlocal importing
            code = frame.f_code
            if event not in ("call", "return") or not code.co_filename.startswith(self.root):
                return
            if code.co_name == "<module>":
                importing += 1 if event == "call" else -1
            elif event == "call" and not importing:
                self._note(code)

        return see

    def _note(self, code: CodeType) -> None:
        file = code.co_filename.removeprefix(self.root)
        is_function = code.co_flags & CO_OPTIMIZED  # no body of a class
        if is_function and not file.startswith(COMMAND_LINE):
            self.calls.append(Call(file, code.co_name))


@contextmanager
def traced() -> Iterator[Trace]:
    """Trace what happens inside, in this thread and in new ones."""
    trace = Trace(f"{Path(dpcenet.__file__).parent}/")
    original = torch.optim.SGD.step

    def step(self: torch.optim.SGD, *arguments: Any, **named: Any) -> Any:
        result = original(self, *arguments, **named)
        trace.steps.append(len(trace.calls))
        return result

    torch.optim.SGD.step = step  # type: ignore[method-assign]
    threading.setprofile(lambda frame, event, value: _begin(trace, frame, event, value))
    sys.setprofile(trace.follow())
    try:
        yield trace
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
        torch.optim.SGD.step = original  # type: ignore[method-assign]


def _begin(trace: Trace, frame: FrameType, event: str, value: Any) -> None:
    """The first event of a new thread: from here on it has a follower of its own."""
    follower = trace.follow()
    sys.setprofile(follower)
    follower(frame, event, value)


def table(title: str, calls: list[Call]) -> str:
    """The counts, and below them each file with its number of calls."""
    files = Counter(call.file for call in calls)
    changes = sum(one.file != two.file for one, two in pairwise(calls))
    head = f"{title}: {len(files)} files, {len(set(calls))} functions, {changes} changes of file"
    return "\n".join([head, *(f"{count:8d}  {file}" for file, count in files.most_common())])


def made_scans(work: Path) -> Path:
    """Folder WORK/made/data with scans/ and phantom/, the same prepared; made once."""
    if not (work / "made" / "plans").is_dir():
        work.mkdir(parents=True, exist_ok=True)
        (work / "plan.yaml").write_text(PLAN, "utf-8")
        command = ["benchmark", f"{work}/plan.yaml", "--out", f"{work}/made", "--device", "cpu"]
        subprocess.run([sys.executable, "-m", "dpcenet", *command], check=True)
    return work / "made" / "data"


def command_of(what: str, data: Path, out: Path) -> list[str]:
    """The command to trace."""
    scans = data / "scans"
    if what == "segment":
        support = ["--support-image", scans / "image_01.nii.gz"]
        support += ["--support-mask", scans / "label_01.nii.gz"]
        options = [*support, "--precision", "float32", "--overwrite"]
        given = ["segment", scans / "image_02.nii.gz", "--out", out, *options]
    else:
        given = ["train", "dpcenet/small", "--data", data / "phantom", "--run", out, "--fold", 0]
        given += ["--folds", 2, "--steps", 1 if what == "train" else 3]
        given += [part for change in SMALL_SCANS for part in ("--set", change)]
    return [str(part) for part in [*given, "--device", "cpu"]]


def run(command: list[str]) -> Trace:
    """Run a command of the package in this process, traced."""
    from dpcenet.__main__ import main as dpcenet_main

    sys.argv = ["dpcenet", *command]
    with traced() as trace:
        try:
            dpcenet_main()
        except SystemExit as over:
            if over.code:
                raise
    return trace


def found(image: Path, mask: Path, query: Path) -> Trace:
    """The trace of a query's way from its file to its mask, from a labelled scan."""
    segmenter = Segmenter.shipped("cpu", precision="float32")
    support = segmenter.support(image, mask)
    with traced() as trace:
        segmenter.find(query, support)
    return trace


def main() -> None:
    """Trace, and print the counts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("find", "segment", "train", "step"))
    parser.add_argument("--work", type=Path, required=True, help="folder of the made scans")
    given = parser.parse_args()
    data = made_scans(given.work.resolve())
    if given.what == "find":
        names = ("image_01.nii.gz", "label_01.nii.gz", "image_02.nii.gz")
        trace = found(*(data / "scans" / name for name in names))
    else:
        with TemporaryDirectory(dir=given.work) as out:
            trace = run(command_of(given.what, data, Path(out) / "out"))
    calls = trace.calls
    if given.what == "step":
        calls = calls[trace.steps[0] : trace.steps[1]]
    sys.stdout.write(table(given.what, calls) + "\n")


if __name__ == "__main__":
    main()
