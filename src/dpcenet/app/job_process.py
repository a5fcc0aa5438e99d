"""`python -m dpcenet.app.job_process FOLDER`: run the commands of a job, and say how they ended."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

# Not through `program`, which loads what a process that only waits has no use for.
from dpcenet.system.faults import mendable
from dpcenet.system.files import read_json, write_json


def main(folder: Path) -> int:
    """Run the commands one after the other, until one fails."""
    plan = read_json(folder / "plan.json", {"commands": list})
    if hasattr(os, "nice"):
        os.nice(10)  # so that the page stays quick
    code = 0
    for command in plan["commands"]:
        code = subprocess.run(command, check=False, stdin=subprocess.DEVNULL).returncode
        if code:
            break
    try:
        end = {"exit": code, "ended": datetime.now(UTC).isoformat()}
        write_json(folder / "process.json", end)
    except OSError as error:  # the job counts as lost, and may be begun again
        print(mendable(error) or error, file=sys.stderr)  # noqa: T201
        return code or 2
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
