"""The engine on a real Ray cluster of two nodes on the loopback, one of which is killed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dpcenet.evaluation.benchmark.code_version import code_version
from dpcenet.evaluation.benchmark.experiments import PlanInputs, experiments
from dpcenet.evaluation.benchmark.plan import load_plan
from dpcenet.evaluation.benchmark.run_experiment import ExecutionContext
from dpcenet.evaluation.benchmark.run_plan import PlanCommand, run_all
from dpcenet.system.parallel import in_turn, on_ray
from made import write_prepared

ray = pytest.importorskip("ray", reason="ray is not installed (pip install 'dpcenet[ray]')")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # Ray's own warnings

PLAN = """
title: Tiny
data: [made]
folds: [0, 1, 2]
of_folds: 3
seeds: [0, 1]
steps: 60
pretrained: false
set: [options.encoder.name=resnet18, options.width=8, episodes.min_area=20]
methods: [{name: DPCENet, preset: dpcenet/small}]
"""


@pytest.fixture
def cluster() -> Iterator[object]:
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    yield made
    ray.shutdown()
    made.shutdown()


def test_a_lost_node_loses_nothing(cluster: object, tmp_path: Path) -> None:
    second = cluster.add_node(num_cpus=1)  # type: ignore[attr-defined]
    data = write_prepared(tmp_path / "data")
    (tmp_path / "tiny.yaml").write_text(PLAN)
    plan = load_plan(str(tmp_path / "tiny.yaml"))
    found = experiments(plan, PlanInputs({"made": data}, {}, True, "float32"))
    named = PlanCommand("tiny", "Tiny", "")
    alone = ExecutionContext(tmp_path / "alone", "cpu", 1, code_version())
    run_all(named, found, alone, in_turn, quiet=True, say=len)
    together = ExecutionContext(tmp_path / "together", "cpu", 1, code_version())
    engine = on_ray(cluster.address, 1, 0)  # type: ignore[attr-defined]
    assert sum(node["Alive"] for node in ray.nodes()) == 2
    told: list[str] = []

    def kill_the_second(line: str) -> None:
        told.append(line)
        if len(told) == 1:
            cluster.remove_node(second, allow_graceful=False)  # type: ignore[attr-defined]

    summary = run_all(named, found, together, engine, quiet=True, say=kill_the_second)
    assert summary.failed == {} and summary.done == len(found) == 6
    deadline = time.monotonic() + 60  # the cluster notices by its heartbeat
    while sum(node["Alive"] for node in ray.nodes()) > 1 and time.monotonic() < deadline:
        time.sleep(0.5)
    assert sum(node["Alive"] for node in ray.nodes()) == 1
    for experiment in found:
        name = "scores-paper.csv"
        one, two = (experiment.folder(place.out) / name for place in (alone, together))
        assert one.read_text() == two.read_text()
