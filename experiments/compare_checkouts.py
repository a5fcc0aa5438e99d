"""Does a change of the code change what comes out? Run the same commands in two checkouts.

    python experiments/compare_checkouts.py OLD [NEW] --work DIR [--real CHAOS_DIR]
        [--only NAME ...] [--keep-old] [--all]

Runs compare_commands.yaml with OLD/src and with NEW/src, on one thread of the CPU, and compares all
files that come out, bit for bit: masks, probabilities, tables, logs, checkpoints, figures. Prints a
line for each entry: equal, or the first difference (--all: of every file). Exit code 1 if any
differ. Inputs of an entry are always OLD's results, so each entry is judged by itself.

What lies in DIR/old is made by OLD; --keep-old takes it from an earlier call where it was made by
the same commands, and without NEW nothing else is done. Nothing of the package is imported, its
commands are run.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from compare_files import first_difference
from compare_inputs import write_dicom_series, write_mha

COMMANDS = Path(__file__).with_suffix("").with_name("compare_commands.yaml")
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "NUMBA")}
NO_RESULTS = ("lock",)


@dataclass(frozen=True)
class Side:
    """One of the two checkouts.

    Attributes:
        checkout: its folder.
        results: folder of its results: NAME/ for each entry, NAME.log, NAME.json.
    """

    checkout: Path
    results: Path

    def run(self, entry: Mapping[str, Any], words: Mapping[str, str]) -> dict[str, Any]:
        """Run an entry anew; says how it went, which is also kept in NAME.json."""
        name, commands = entry["name"], commands_of(entry, words)
        folder, record = self.results / name, self.results / f"{name}.json"
        record.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for path, text in entry.get("write", {}).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, "utf-8")
        for path, source in entry.get("copy", {}).items():
            shutil.copytree(source.format_map(words), folder / path)
        started, codes = time.perf_counter(), []
        with (self.results / f"{name}.log").open("w", encoding="utf-8") as log:
            for number, command in enumerate(commands, start=1):
                done = self._call(command, folder, log)
                codes.append(done.returncode)
                log.write(done.stdout)
                if entry.get("printed"):
                    (folder / f"printed-{number}.txt").write_text(done.stdout, "utf-8")
                if done.returncode:
                    break
        seconds = round(time.perf_counter() - started, 1)
        facts = {"commands": commands, "codes": codes, "seconds": seconds}
        facts["checkout"] = str(self.checkout)
        record.write_text(json.dumps(facts), "utf-8")
        return facts

    def check(self) -> None:
        """Refuse a folder whose package is not the one that would run.

        Raises:
            SystemExit: it is not.
        """
        code = "import dpcenet; print(dpcenet.__file__)"
        environment = os.environ | {"PYTHONPATH": str(self.checkout / "src")}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, encoding="utf-8"
        )
        if not done.stdout.startswith(f"{self.checkout}/src/"):
            raise SystemExit(f"{self.checkout}: no checkout: {done.stdout or done.stderr}")

    def _call(self, command: str, folder: Path, log: Any) -> subprocess.CompletedProcess[str]:
        environment = os.environ | ONE_THREAD | {"PYTHONPATH": str(self.checkout / "src")}
        return subprocess.run(
            [sys.executable, "-m", "dpcenet", *shlex.split(command)],
            cwd=folder,
            env=environment | {"COLUMNS": "100", "CUDA_VISIBLE_DEVICES": ""},
            stdout=subprocess.PIPE,
            stderr=log,
            encoding="utf-8",
            check=False,
        )

    def kept(self, entry: Mapping[str, Any], words: Mapping[str, str]) -> dict[str, Any] | None:
        """How an earlier run of the same commands went; None where there is none."""
        record = self.results / f"{entry['name']}.json"
        facts: dict[str, Any] = json.loads(record.read_text("utf-8")) if record.is_file() else {}
        same = facts.get("checkout") == str(self.checkout)
        return facts if same and facts.get("commands") == commands_of(entry, words) else None

    def files(self, name: str) -> list[Path]:
        """What an entry wrote, relative to its folder."""
        folder = self.results / name
        files = (path for path in folder.rglob("*") if path.is_file())
        return sorted(path.relative_to(folder) for path in files if path.name not in NO_RESULTS)


def commands_of(entry: Mapping[str, Any], words: Mapping[str, str]) -> list[str]:
    """The commands of an entry, every word in braces replaced."""
    commands = entry["run"]
    for _ in range(4):  # words hold words
        commands = [command.format_map(words) for command in commands]
    return [" ".join(command.split()) for command in commands]


def entries_of(plan: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The entries of the plan; `trains` stands for a training and its evaluation."""
    for entry in plan["commands"]:
        if "trains" in entry:
            run = [f"train {entry['trains']}", "evaluate run --device cpu"]
            yield {"name": entry["name"], "copy": {"data": "{old}/prepare/data"}, "run": run}
        else:
            yield entry


def differences(old: Side, new: Side, name: str) -> Iterator[str]:
    """A line for each file of an entry that differs."""
    before, after = old.files(name), new.files(name)
    for file in sorted({*before, *after}):
        if file not in after or file not in before:
            yield f"{file} is {'new' if file in after else 'missing'}"
            continue
        roots = (old.results, new.results, old.checkout, new.checkout)
        found = first_difference(old.results / name / file, new.results / name / file, roots)
        if found:
            yield f"{file}: {found}"


def compare(
    entry: Mapping[str, Any], old: Side, new: Side | None, words: Mapping[str, str], keep: bool
) -> tuple[list[str], str]:
    """Run an entry on both sides: the lines that say what differs, and how long it took.

    Without `new` only the old side.

    Raises:
        SystemExit: the old checkout itself fails.
    """
    name = entry["name"]
    before = (old.kept(entry, words) if keep else None) or old.run(entry, words)
    if any(before["codes"]):
        raise SystemExit(f"{name}: the old checkout fails; see {old.results / name}.log")
    spent = f"{len(old.files(name))} files, {before['seconds']} s"
    if new is None:
        return [], spent
    after = new.run(entry, words)
    spent += f", {after['seconds']} s"
    if any(after["codes"]):
        last = (new.results / f"{name}.log").read_text("utf-8").strip().splitlines()[-1:]
        return [f"exit code {after['codes'][-1]}: {''.join(last)}"], spent
    return list(differences(old, new, name)), spent


def main() -> None:
    """Compare, and say so line by line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("old", type=Path, help="checkout whose results are right")
    parser.add_argument("new", type=Path, nargs="?", help="checkout to compare with it")
    parser.add_argument("--work", type=Path, required=True, help="folder of the results")
    parser.add_argument("--real", type=Path, help="folder of CHAOS scans (chaost2-lineage)")
    parser.add_argument("--only", nargs="+", default=[], help="entries, by the start of the name")
    parser.add_argument("--keep-old", action="store_true", help="take OLD's earlier results")
    parser.add_argument("--all", action="store_true", help="a line for every file that differs")
    given = parser.parse_args()
    work = given.work.resolve()
    old = Side(given.old.resolve(), work / "old")
    new = Side(given.new.resolve(), work / "new") if given.new else None
    for side in filter(None, (old, new)):
        side.check()
    plan = yaml.safe_load(COMMANDS.read_text("utf-8"))
    scans = old.results / "benchmark" / "b" / "data" / "scans"
    words = {**plan["words"], "old": str(old.results), "scans": str(scans)}
    words |= {"series": f"{work}/inputs/series", "mha": f"{work}/inputs/image_02.mha"}
    words |= {"real": str(given.real.resolve())} if given.real else {}
    wrong = 0
    for entry in entries_of(plan):
        name = entry["name"]
        if name.startswith("real") and not given.real:
            continue
        if given.only and not name.startswith(tuple(given.only)):
            continue
        lines, spent = compare(entry, old, new, words, given.keep_old)
        if name == "benchmark":
            write_dicom_series(scans / "image_02.nii.gz", work / "inputs" / "series")
            write_mha(scans / "image_02.nii.gz", work / "inputs" / "image_02.mha")
        wrong += bool(lines)
        more = f" (and {len(lines) - 1} files more)" if len(lines) > 1 and not given.all else ""
        shown = "\n    ".join(lines if given.all else lines[:1])
        sys.stdout.write(f"{name}: {shown or ('equal' if new else 'made')}{more} [{spent}]\n")
        sys.stdout.flush()
    sys.stdout.write(f"{wrong} entries differ\n")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
