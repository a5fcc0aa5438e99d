"""What runs cost: clocks and peaks that follow what really happens."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from dpcenet.evaluation.benchmark import resources
from dpcenet.evaluation.benchmark.resources import now, peak_memory_gb, reset_peak


def test_the_wall_goes_on_while_nothing_is_computed() -> None:
    start = now()
    time.sleep(0.3)
    waited = now().since(start)
    assert waited.wall >= 0.29 and waited.cpu < 0.2
    before = time.process_time()
    while time.process_time() - before < 0.2:
        sum(range(1000))
    worked = now().since(start)
    assert worked.cpu - waited.cpu >= 0.19 and worked.wall >= waited.wall + 0.19


PEAKS = """
from dpcenet.evaluation.benchmark.resources import peak_memory_gb, reset_peak
start = peak_memory_gb()
held = bytearray(200_000_000)
for place in range(0, len(held), 4096): held[place] = 1
grown = peak_memory_gb()
del held
print(start, grown, reset_peak(), peak_memory_gb())
"""


def test_the_peak_is_what_a_process_held_at_most() -> None:
    answer = subprocess.run(
        [sys.executable, "-c", PEAKS], check=True, capture_output=True, text=True
    )
    start, grown, was_reset, after = answer.stdout.split()
    assert 0.18 < float(grown) - float(start) < 0.3
    if was_reset == "True":
        assert float(after) < float(grown) - 0.15


def test_without_proc_the_peak_is_the_process_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(resources, "_CLEAR", tmp_path / "none" / "clear_refs")
    monkeypatch.setattr(resources, "_STATUS", tmp_path / "status")
    assert not reset_peak()
    assert 0.01 < peak_memory_gb() < 100
