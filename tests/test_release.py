"""What is handed out: the wheel runs without the checkout, the container's recipe, the release."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import resource
import shutil
import subprocess
import sys
import time
import tomllib
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

import dpcenet
from documents import ROOT, printed_lines
from dpcenet.data.phantom.phantom import write_phantoms

VIEWER = "dpcenet/app/page/vendor/niivue.js"


def load_release_script():  # type: ignore[no-untyped-def]
    """.ci/release.py as a module."""
    spec = importlib.util.spec_from_file_location("release", ROOT / ".ci" / "release.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def build(kind: str, folder: Path, source: Path = ROOT) -> Path:
    """Build a wheel or an sdist of the checkout, or of a copy of it."""
    if not (ROOT / "src" / VIEWER).is_file() and shutil.which("npm") is None:
        pytest.skip("no npm to fetch the 3-D viewer (or `make page` once)")
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (built,) = folder.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return built


def test_the_wheel_segments_without_the_checkout(tmp_path: Path) -> None:
    wheel = build("wheel", tmp_path / "dist")
    with zipfile.ZipFile(wheel) as archive:
        assert {VIEWER, "dpcenet/py.typed", "dpcenet/assets/citations.bib"} <= set(
            archive.namelist()
        )
        archive.extractall(tmp_path / "installed")
    write_phantoms(tmp_path / "scans", 2, shape=(8, 64, 64), spacing=(11.0, 4.5, 4.5))
    support = [
        "--support-image",
        "scans/image_01.nii.gz",
        "--support-mask",
        "scans/label_01.nii.gz",
    ]
    code = (
        "import dpcenet; print(dpcenet.__file__, flush=True)\n"
        "from dpcenet.__main__ import main; main()"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            code,
            "segment",
            "scans/image_02.nii.gz",
            *support,
            "--out",
            "masks",
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "installed"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tmp_path / "installed"))
    assert (tmp_path / "masks" / "image_02_seg.nii.gz").is_file()


@pytest.mark.slow
def test_a_person_with_only_pip(tmp_path: Path) -> None:
    """What docs/install.md prints, from nothing to masks; with -s it says minutes and megabytes."""
    wheel = build("wheel", tmp_path)
    lines = printed_lines(ROOT / "docs/install.md")
    typed = [line for line in lines if re.match(r"python3 |env/", line)]
    assert f"env/bin/pip install {wheel.name}" in typed
    pip = {"PIP_CONSTRAINT": str(ROOT / "constraints.txt"), "PIP_QUIET": "1", "PIP_NO_INPUT": "1"}
    bare = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "PYTHONHOME"}} | pip
    bare |= {"PATH": str(Path(sys.base_prefix) / "bin"), "CC": "none", "OMP_NUM_THREADS": "1"}
    for line in typed:
        report(line, run_alone(line, tmp_path, bare | {"PIP_ONLY_BINARY": ":all:"}), tmp_path)
    assert len(list((tmp_path / "demo/project/masks").glob("image_*_seg.nii.gz"))) == 6
    sdist = build("sdist", tmp_path / "sdist")
    run_alone(f"env/bin/pip install --force-reinstall --no-deps {sdist}", tmp_path, bare)
    assert run_alone("env/bin/dpcenet --version", tmp_path, bare).said.startswith(
        f"dpcenet {dpcenet.__version__}\n"
    )


class Ran(NamedTuple):
    """What a command said, its seconds by the clock, and those of the processor."""

    said: str
    seconds: float
    processor: float


def run_alone(line: str, folder: Path, environment: dict[str, str]) -> Ran:
    """Run a printed command, which must succeed."""
    start, used = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [shutil.which("bash") or "bash", "-c", line],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    return Ran(done.stdout, time.monotonic() - start, processor)


def report(line: str, ran: Ran, folder: Path) -> None:
    """Print what a step took, and what lies in the folder after it."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    size = sum(path.stat().st_size for path in files) / 1e6
    sys.stdout.write(
        f"{line}: {ran.seconds:.0f} s, {ran.processor:.0f} s of one core, {size:.0f} MB in all\n"
    )


def test_the_recipe_of_the_container_is_sound() -> None:
    linter = shutil.which("hadolint") or shutil.which("hadolint", path=Path(sys.executable).parent)
    if linter is None:
        pytest.skip("no hadolint (extra `dev`, on Linux)")
    done = subprocess.run([linter, ROOT / "Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_containers_run_as_nobody_special() -> None:
    stages = re.split(r"^FROM ", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    images = [s for s in stages if re.match(r"base AS (gpu|cpu)\n", s)]
    assert len(images) == 2 and all("\nUSER 1000\n" in image for image in images)


def test_the_container_is_built_of_the_files_that_reach_it(tmp_path: Path) -> None:
    """The steps of the recipe without a container: copy the context, build the wheel there."""
    rules = (ROOT / ".dockerignore").read_text().split()
    assert rules[0] == "*" and all(rule.startswith("!") for rule in rules[1:])
    context = tmp_path / "source"
    context.mkdir()
    for name in (rule.removeprefix("!") for rule in rules[1:]):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, context / name)
    with zipfile.ZipFile(build("wheel", tmp_path / "dist", context)) as wheel:
        assert {VIEWER, "dpcenet/assets/models/incontext.safetensors"} <= set(wheel.namelist())
    recipe = (ROOT / "Dockerfile").read_text()
    copied = re.findall(r"^COPY (?!--from|\. )(\S+)", recipe, re.MULTILINE)
    assert copied and all((context / name).is_file() for name in copied)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].keys()
    named = re.findall(r"\*\.whl\)\[([a-z,]+)\]", recipe)
    assert len(named) == 2 and all(set(each.split(",")) <= extras for each in named)


def test_a_release_changes_every_place_of_the_version(tmp_path: Path) -> None:
    release = load_release_script()
    for name in ("src/dpcenet/__init__.py", "CITATION.cff"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## 7.8.9 (unreleased)\n\n- More.\n")
    release.set_version(tmp_path, "7.8.9", "2031-01-02")
    assert '__version__ = "7.8.9"\n' in (tmp_path / "src/dpcenet/__init__.py").read_text()
    assert "\nversion: 7.8.9\n" in (tmp_path / "CITATION.cff").read_text()
    assert "## 7.8.9 (2031-01-02)\n" in (tmp_path / "CHANGELOG.md").read_text()
    with pytest.raises(SystemExit, match=r"must begin with '## 7\.9\.0"):
        release.set_version(tmp_path, "7.9.0", "2031-01-03")
    with pytest.raises(SystemExit, match="give it as"):
        release.set_version(tmp_path, "next", "2031-01-03")


def test_hashes_are_those_of_the_files(tmp_path: Path) -> None:
    (tmp_path / "a.whl").write_bytes(b"wheel")
    sums = load_release_script().write_hashes(tmp_path).read_text()
    assert sums == f"{hashlib.sha256(b'wheel').hexdigest()}  a.whl\n"


def test_the_interpreters_that_are_named_are_supported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    assert named == ["3.11", "3.12", "3.13"] and project["requires-python"] == ">=3.11"
