"""A scan's way from its file to its mask passes through few files: that is what one has to read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from dpcenet.data.phantom.phantom import write_phantoms

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
MOST = 30
COUNT = """
import sys
from pathlib import Path
from trace_files import found
print(*sorted({call.file for call in found(*map(Path, sys.argv[1:])).calls}))
"""


def test_a_mask_comes_about_in_few_files(tmp_path: Path) -> None:
    (image, mask), (query, _) = write_phantoms(
        tmp_path, 2, shape=(8, 64, 64), spacing=(18.0, 4.0, 4.0)
    )
    command = [sys.executable, "-c", COUNT, image, mask, query]
    done = subprocess.run(
        [*map(str, command)], cwd=EXPERIMENTS, check=True, capture_output=True, text=True
    )
    files = done.stdout.split()
    assert {"volumes/nifti.py", "inference/predictor.py", "volumes/record.py"} <= set(files)
    assert len(files) <= MOST, files
