"""`make release VERSION=0.2.0`: write version and date where they are named, build, and hash.

The version stands in src/dpcenet/__init__.py (the wheel's is read from there) and in CITATION.cff;
CHANGELOG.md must begin with it, as "## 0.2.0 (unreleased)".
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACES = (
    (Path("src/dpcenet/__init__.py"), r'^__version__ = "[^"]*"$', '__version__ = "{version}"'),
    (Path("CITATION.cff"), r"^version: .*$", "version: {version}"),
)


def set_version(root: Path, version: str, date: str) -> None:
    """Write the version, and the date of the release, where they are named.

    Raises:
        SystemExit: the version is none, or the changelog does not begin with it.
    """
    if not re.fullmatch(r"\d+\.\d+\.\d+(rc\d+)?", version):
        raise SystemExit(f"{version or 'VERSION'}: give it as 0.2.0 or 0.2.0rc1")
    changelog = root / "CHANGELOG.md"
    text = changelog.read_text("utf-8")
    heading = f"## {version} (unreleased)"
    if (first := re.search(r"^## .*$", text, re.MULTILINE)) is None or first.group() != heading:
        raise SystemExit(f"{changelog}: must begin with '{heading}', and say what is new")
    for name, pattern, line in PLACES:
        path = root / name
        new, count = re.subn(
            pattern, line.format(version=version), path.read_text("utf-8"), flags=re.MULTILINE
        )
        if count != 1:
            raise SystemExit(f"{path}: no line of the version")
        path.write_text(new, "utf-8")
    changelog.write_text(text.replace(heading, f"## {version} ({date})"), "utf-8")


def write_hashes(dist: Path) -> Path:
    """SHA256SUMS of the files in a folder, as `sha256sum --check` reads them."""
    files = sorted(path for path in dist.iterdir() if path.suffix in {".whl", ".gz"})
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    sums = dist / "SHA256SUMS"
    sums.write_text("".join(lines), "utf-8")
    return sums


def main() -> None:
    """Release: edit, build, hash; committing and tagging stay with a person."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("version", nargs="?", default="")
    version = parser.parse_args().version
    set_version(ROOT, version, datetime.now(UTC).date().isoformat())
    dist = ROOT / "dist" / version
    subprocess.run([sys.executable, "-m", "build", "--outdir", str(dist), str(ROOT)], check=True)
    sums = write_hashes(dist)
    sys.stdout.write(f"{sums.read_text('utf-8')}now: git commit -am 'Release {version}' && git tag "
                     f"v{version}\n")  # fmt: skip


if __name__ == "__main__":
    main()
