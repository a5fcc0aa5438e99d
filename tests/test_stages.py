"""The script that says where the time of `segment` goes, on made patients."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "stages.py"


def test_the_stages_of_a_whole_command_are_told(tmp_path: Path) -> None:
    table = tmp_path / "stages.json"
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--made", "--json", str(table)],
        check=True,
        capture_output=True,
        text=True,
    )
    seconds = json.loads(table.read_text())
    wanted = {"import", "read", "encode", "match", "first look", "second look", "write"}
    assert wanted <= seconds.keys() and min(seconds.values()) >= 0
    assert {"choose starts: first look", "check: first look"} <= seconds.keys()
    shown = [line.split("|")[1].strip() for line in done.stdout.splitlines() if line[:1] == "|"]
    assert shown[:1] == ["stage"] and shown[-1] == "all" and set(seconds) <= set(shown)
