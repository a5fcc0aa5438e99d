"""Keep what the report reads of finished runs, small enough to lie in the repository.

    python experiments/keep_scores.py RUNS TARGET

RUNS is a folder of `dpcenet benchmark`, of which the runs of its plans are kept, or any folder with
runs below it. TARGET gets, under the same names, each run's settings and scores, without weights,
predictions, and the places of its data.
`dpcenet report TARGET` then makes the same tables, and `dpcenet benchmark PLAN --out TARGET
--any-code` runs what is missing.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import typer

KEPT = ("scores-*.csv", "summary-*.json", "experiment.json")


def main(runs: Path, target: Path) -> None:
    """Copy the files of every run that was evaluated."""
    found = sorted({path.parent for path in runs.rglob("summary-*.json")})
    plans = [json.loads(path.read_text()) for path in runs.glob("plans/*.json")]
    if plans:
        asked = {row["run"] for plan in plans for row in plan["experiments"]}
        found = [run for run in found if run.relative_to(runs).as_posix() in asked]
    for run in found:
        to = target / run.relative_to(runs)
        to.mkdir(parents=True, exist_ok=True)
        facts = json.loads((run / "run.json").read_text())
        trunk = facts["config"].get("options", {}).get("encoder", {})
        for names, key in ((facts["flags"], "data"), (trunk, "weights")):
            if names.get(key):
                names[key] = Path(names[key]).name  # not where it lies
        (to / "run.json").write_text(json.dumps(facts) + "\n")
        for pattern in KEPT:
            for path in run.glob(pattern):
                shutil.copy(path, to)
    for plan in runs.glob("plans/*.json"):
        (target / "plans").mkdir(exist_ok=True)
        shutil.copy(plan, target / "plans")
    typer.echo(f"{len(found)} runs kept in {target}")


if __name__ == "__main__":
    typer.run(main)
