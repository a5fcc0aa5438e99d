"""`dpcenet demo`: the first thing that a person runs must end well, and say how to go on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dpcenet.app.project import Project
from dpcenet.cli.demo_segment import demo_segment, made_scans
from dpcenet.cli.demo_train import demo_train
from dpcenet.data.phantom.phantom import write_phantoms
from dpcenet.errors import DatasetError
from dpcenet.volumes.mask_record import is_foreign

SHAPE = (6, 48, 48)


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The folder of a demo on small made-up scans, and what it said."""
    out, lines = tmp_path_factory.mktemp("demo"), []
    write_phantoms(out / "scans", 3, shape=SHAPE, spacing=(14.0, 6.0, 6.0))  # of an earlier call
    demo_segment(out, None, lines.append)
    return out, "\n".join(lines).splitlines()


def test_each_step_is_announced_with_its_time(said: tuple[Path, list[str]]) -> None:
    text = "\n".join(said[1])
    for number in (1, 2, 3):
        assert re.search(
            rf"{number} of 3: .* \(about \d+ s\) …\n(?:.*\n)?  done in \d+\.\d s", text
        )


def test_the_network_is_not_below_the_pasted_mask(said: tuple[Path, list[str]]) -> None:
    (line,) = [line for line in said[1] if line.startswith("true Dice, mean")]
    found, pasted = map(float, re.findall(r"\d\.\d\d", line))
    assert found > pasted + 0.1


def test_the_page_knows_the_result(said: tuple[Path, list[str]]) -> None:
    out, lines = said
    assert lines[-1].endswith(f"dpcenet app {out / 'scans'} --project {out / 'project'}")
    project = Project.open(out / "scans", out / "project")
    scans = sorted(project.scans.values(), key=lambda scan: scan.name)
    assert [scan.name for scan in scans] == [f"image_{n:02d}" for n in range(1, 4)]
    assert [is_foreign(scan.mask) for scan in scans] == [True, False, False]
    assert {"liver", "spleen"} <= {label.name for label in project.labels}
    assert (out / "project" / "masks" / "review.html").is_file()


def test_made_scans_are_whole_or_absent(tmp_path: Path) -> None:
    folder = made_scans(tmp_path / "scans", SHAPE)
    assert len(list(folder.glob("image_*.nii.gz"))) == len(list(folder.glob("label_*"))) == 6
    assert [path.name for path in tmp_path.iterdir()] == ["scans"]


def test_own_scans_need_one_label_only(tmp_path: Path) -> None:
    pairs = write_phantoms(tmp_path / "mine", 2, shape=SHAPE, spacing=(14.0, 6.0, 6.0))
    pairs[1][1].unlink()
    lines: list[str] = []
    demo_segment(tmp_path / "demo", tmp_path / "mine", lines.append)
    assert (tmp_path / "demo/project/masks/image_02_seg.nii.gz").is_file()
    assert "true Dice" not in "\n".join(lines)  # it has no label to compare with


def test_no_label_is_said(tmp_path: Path) -> None:
    pairs = write_phantoms(tmp_path / "mine", 2, shape=SHAPE)
    for _, label in pairs:
        label.unlink()
    with pytest.raises(DatasetError, match=r"2 scans, none with a label; the demo needs image_01"):
        demo_segment(tmp_path / "demo", tmp_path / "mine", lambda _: None)


def test_the_demo_of_training(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "mine", 4, shape=SHAPE, spacing=(14.0, 6.0, 6.0))
    lines: list[str] = []
    page = demo_train(tmp_path / "demo", tmp_path / "mine", 1, 2, lines.append)
    assert page.is_file() and "copy" in "\n".join(lines) and "4 of 4" in "\n".join(lines)
