"""The commands of the README run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from dpcenet.data.phantom.phantom import write_phantoms

ROOT = Path(__file__).parents[1]


def commands() -> list[str]:
    """The lines of the README's bash blocks."""
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return "".join(blocks).strip().splitlines()


def test_the_readmes_commands_run(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "scans", 6, shape=(8, 64, 64), spacing=(11.0, 4.5, 4.5))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for line in commands():
        program, *arguments = line.split()
        assert program == "dpcenet"
        if arguments[0] == "train":
            arguments += ["--steps", "3"]  # the README's command trains for longer
        if arguments[0] == "adapt":
            arguments += ["--minutes", "0.001"]
        command = [sys.executable, "-m", "dpcenet", *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (line, done.stderr)
    for folder in ("masks", "masks-task", "masks-adapted", "masks-dpcenet"):
        assert len(list((tmp_path / folder).glob("image_*_seg.nii.gz"))) == 6
    assert (tmp_path / "report" / "report.html").is_file()


def test_the_readmes_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text())
    assert links and all((ROOT / link).exists() for link in links)
