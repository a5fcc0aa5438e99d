"""A small plan for tests of the benchmark: three methods on made scans, in seconds."""

from __future__ import annotations

from pathlib import Path

from dpcenet.evaluation.benchmark.experiments import Experiment, PlanInputs, experiments
from dpcenet.evaluation.benchmark.plan import load_plan

PLAN = """
title: Tiny
data: [made]
folds: [0]
of_folds: 3
seeds: [0, 1]
steps: 3
protocols: [paper]
pretrained: false
set: [options.encoder.name=resnet18, options.width=8, episodes.min_area=20, train.log_every=1]
methods:
  - {name: copy, preset: copy/plain}
  - {name: DPCENet, preset: dpcenet/small}
  - {name: baseline, preset: dpcenet/small, set: ["options.sqca='off'", options.dpce=false]}
"""


def write_plan(folder: Path) -> Path:
    """The file of the plan."""
    path = folder / "tiny.yaml"
    path.write_text(PLAN)
    return path


def expand(plan_file: Path, data: Path, *changes: str) -> list[Experiment]:
    """The plan's experiments, with "key=value" changes of it."""
    plan = load_plan(str(plan_file), changes)
    return experiments(plan, PlanInputs({"made": data}, {}, True, "float32"))
