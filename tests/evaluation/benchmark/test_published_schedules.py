"""The script of the published schedules: all eight methods with their own trunk, for ten steps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import save_file

from dpcenet.nn.encoder import Encoder, EncoderOptions
from made import write_prepared

SCRIPT = Path(__file__).parents[3] / "experiments" / "published.sh"
SMALL = (  # of the trunk, and for slices of the made scans
    "set=[options.encoder.name=resnet18, episodes.min_area=20, train.checkpoint_every=5]"
)


@pytest.mark.slow  # two minutes of one core: eight networks
def test_the_published_schedules_go_on_where_their_time_was_over(tmp_path: Path) -> None:
    data, out = write_prepared(tmp_path / "data"), tmp_path / "out"
    trunk = Encoder(EncoderOptions(name="resnet18", outputs=("layer3", "layer4", "fc"))).trunk
    save_file(trunk.state_dict(), tmp_path / "trunk.safetensors")
    less = ["--steps", "10", "--folds", "0", "--seeds", "0", "--device", "cpu"]
    inputs = ["--data", f"chaos={data}", "--weights", f"resnet18={tmp_path}/trunk.safetensors"]
    given = ["table1", str(out), f"{tmp_path}/trunk.safetensors", *inputs, *less, "--set", SMALL]
    python = Path(sys.executable).parent

    def run(minutes: str) -> str:
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "MINUTES": minutes,
            "PATH": f"{python}:{os.environ['PATH']}",
        }
        done = subprocess.run(
            [SCRIPT, *given, "--set", "registered=false"],
            check=True,
            env=environment,
            capture_output=True,
            text=True,
        )
        return done.stdout

    assert "time is over" in run("0.3")
    assert not (out / "report").exists()
    run("30")
    assert (out / "report" / "report.html").exists()
    (plan,) = (out / "plans").glob("*.json")
    states = {e["row"]: e["state"] for e in json.loads(plan.read_text())["experiments"]}
    assert len(states) == 10 and set(states.values()) == {"done"}
