"""The example of a client of the app's calls, against a real server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from served import Start

CLIENT = Path(__file__).parents[2] / "integrations" / "rest" / "client.py"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(CLIENT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_from_one_mask_to_the_review(
    started: Start, scans: Path, phantoms: list[tuple[Path, Path]], tmp_path: Path
) -> None:
    served = started(scans, tmp_path / "project")
    done = run(served.address, "image_01", phantoms[0][1], "--name", "4=spleen")
    assert done.returncode == 0, done.stderr
    rows = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
    assert {name for name, _, _ in rows} == {"image_02", "image_03", "image_04"}
    assert any(label == "spleen" for _, label, _ in rows)
    assert all(rest.endswith(("accept", "look", "reject")) for _, _, rest in rows)
    wrong = run(served.address, "image_99", phantoms[0][1])
    assert wrong.returncode == 1 and "image_99: no such scan" in wrong.stderr
    no_mask = run(served.address, "image_01", tmp_path / "nothing.nii.gz")
    assert no_mask.returncode == 1 and "nothing.nii.gz" in no_mask.stderr


def test_what_is_wrong_with_the_address_is_one_line(tmp_path: Path) -> None:
    for address, said in (("http://127.0.0.1:9", "no token"), ("http://127.0.0.1:9/?token=t", "")):
        done = run(address, "image_01", tmp_path / "label.nii.gz")
        assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr
