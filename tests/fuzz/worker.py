"""One process that reads mutated files of one target, one line to stdout for each."""

from __future__ import annotations

import contextlib
import resource
import shutil
import sys
import time
import traceback
import warnings
from pathlib import Path
from random import Random

from tests.fuzz.mutate import mutate
from tests.fuzz.targets import Target, target_of

from dpcenet.errors import DpcenetError

MEMORY = 3 * 1024**3
"""Address space of a worker beyond what it has when it starts; more is a MemoryError."""


def work(name: str, seed: int, seconds: float, folder: Path, keep: Path) -> None:
    """Read mutated files until the time is over; the last one stays in `folder`/case.

    Each line says: read, refused, or an error that is none of ours, whose file goes to `keep`.
    """
    target = target_of(name)
    valid = folder / "valid"
    shutil.rmtree(valid, ignore_errors=True)
    valid.mkdir(parents=True)
    files = [path.relative_to(valid) for path in target.make(valid)]
    contents = {path: (valid / path).read_bytes() for path in files}
    target.use(_place(valid, files), folder)  # what is mutated was read before
    _limit()
    seen: list[str] = []
    random, end = Random(f"{name} {seed}"), time.monotonic() + seconds
    warnings.simplefilter("ignore")
    while time.monotonic() < end:
        case = folder / "case"
        shutil.rmtree(case, ignore_errors=True)
        shutil.copytree(valid, case)
        hit = random.choice(files)
        for path in files:
            if path == hit or random.random() < 0.2:
                changed = mutate(contents[path], random, list(contents.values()))
                (case / path).write_bytes(changed)
        print("start", flush=True)
        outcome = _outcome(target, case, files, folder)
        if outcome not in ("read", "ours") and outcome not in seen:
            seen.append(outcome)
            shutil.copytree(case, keep / f"{seed}-{len(seen)}")
            (keep / f"{seed}-{len(seen)}" / "raised.txt").write_text(outcome + "\n")
        print(outcome, flush=True)


def _place(root: Path, files: list[Path]) -> Path:
    """What is named to the reader: the one file, the header of two, or the folder of several."""
    parent = files[0].parent
    return root / parent if parent != Path() else root / files[0]


def _outcome(target: Target, case: Path, files: list[Path], folder: Path) -> str:
    try:
        target.use(_place(case, files), folder)
    except DpcenetError as error:
        return "ours" if "\n" not in str(error) else f"several lines: {str(error)!r}"
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)
        ours = [f"{Path(f.filename).name}:{f.lineno}" for f in where if "dpcenet" in f.filename]
        at = ours[-1] if ours else "nowhere of ours"
        return f"{type(error).__name__} at {at}: {' '.join(str(error).split())[:120]}"
    return "read"


def _limit() -> None:
    """Bound the memory, so that a file that asks for all of it is seen."""
    with contextlib.suppress(OSError, ValueError):
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))


if __name__ == "__main__":
    work(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4]), Path(sys.argv[5]))
