"""No memory is left, in every command: one line that says so, and exit code 2.

A process imports the program once, then forks for each command; the fork may take hardly more
memory than it has.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from test_full_disk import NAMES, PRINTS, SLOW, command_lines, made  # noqa: F401  (a fixture)

TRIED = [name for name in NAMES if name not in (*PRINTS, *SLOW, "doctor --fix", "export nnunet")]
"""Those that need more than the scans of a test, and nothing from an earlier command."""

# 8 MB are left to each: with 1 MB Python itself broke down now and then, within an import.
PROGRAM = """
import json, os, re, resource, sys
import skimage.measure, skimage.segmentation, torch
import dpcenet.cli, dpcenet.data.prepare, dpcenet.data.contact_sheet
import dpcenet.evaluation.evaluate, dpcenet.evaluation.report.report
import dpcenet.segmentation.segment_folder, dpcenet.training.train
from dpcenet.__main__ import main

torch.set_num_threads(1)
said = {}
for name, arguments in json.load(sys.stdin).items():
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(writer, 2)
        used = int(re.search(r"VmSize:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
        resource.setrlimit(resource.RLIMIT_AS, (used + 2**23, used + 2**23))
        sys.argv = ["dpcenet", *arguments]
        try:
            main()
        except SystemExit as ended:
            os._exit(ended.code or 0)
        os._exit(99)
    os.close(writer)
    with os.fdopen(reader) as lines:
        text = lines.read()
    said[name] = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), text]
print(json.dumps(said))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_no_memory_is_said_in_a_line(made: Path, tmp_path: Path) -> None:  # noqa: F811
    lines = {
        name: [str(part) for part in command_lines(made, tmp_path / name.replace(" ", "-"))[name]]
        for name in TRIED
    }
    lines["evaluate"] = ["evaluate", str(made / "run")]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps(lines),
        capture_output=True,
        text=True,
        check=True,
    )
    for name, (code, text) in json.loads(done.stdout.splitlines()[-1]).items():
        said = [line for line in text.splitlines() if "not enough memory" in line]
        assert code == 2 and len(said) == 1, (name, code, text)
        assert "Traceback" not in text, name
    assert not [path for path in tmp_path.rglob("*") if ".partial-" in path.name]
