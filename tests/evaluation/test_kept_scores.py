"""What is kept of runs is what the report reads, and says nothing of where they lay."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "experiments" / "keep_scores.py"


def test_scores_and_settings_are_kept_and_nothing_else(tmp_path: Path) -> None:
    run = tmp_path / "own" / "runs" / "chaos" / "panet-fold0"
    run.mkdir(parents=True)
    facts = {"config": {"method": "panet"}, "flags": {"data": str(tmp_path / "chaos"), "fold": 0}}
    (run / "run.json").write_text(json.dumps(facts))
    for name in ("scores-paper.csv", "summary-paper.json", "experiment.json"):
        (run / name).write_text(name)
    for name in ("checkpoint.safetensors", "log.jsonl", "lock"):
        (run / name).write_text("large")
    begun = run.with_name("panet-fold1")  # not evaluated yet
    begun.mkdir()
    (begun / "run.json").write_text(json.dumps(facts))
    (tmp_path / "own" / "plans").mkdir()
    older = run.with_name("panet-fold0-older")  # of another preset, in no plan
    shutil.copytree(run, older)
    plan = {"experiments": [{"run": "runs/chaos/panet-fold0"}, {"run": "runs/chaos/panet-fold1"}]}
    (tmp_path / "own" / "plans" / "own.json").write_text(json.dumps(plan))

    target = tmp_path / "kept"
    command = [sys.executable, SCRIPT, tmp_path / "own", target]
    done = subprocess.run([*map(str, command)], check=True, capture_output=True, text=True)

    assert done.stdout.startswith("1 runs")
    found = sorted(str(p.relative_to(target)) for p in target.rglob("*") if p.is_file())
    kept = "runs/chaos/panet-fold0"
    wanted = ["experiment.json", "run.json", "scores-paper.csv", "summary-paper.json"]
    assert found == ["plans/own.json", *(f"{kept}/{name}" for name in wanted)]
    there = json.loads((target / kept / "run.json").read_text())
    assert there == {**facts, "flags": {"data": "chaos", "fold": 0}}
