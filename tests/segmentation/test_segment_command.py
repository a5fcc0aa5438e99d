"""`dpcenet segment` and `dpcenet task` as a person meets them."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from dpcenet.cli import app
from dpcenet.errors import ConfigError, DatasetError, TaskError
from dpcenet.segmentation.task_file import task_facts
from dpcenet.training.checked_training import Clock
from dpcenet.volumes.io import read_volume
from made_scans import write_scans


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def support(scans: Path) -> list[object]:
    image, label = scans / "image_01.nii.gz", scans / "label_01.nii.gz"
    return ["--support-image", image, "--support-mask", label, "--label", 4, "--name", "4=spleen"]


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scans")
    write_scans(folder, 2)
    return folder


def test_a_folder_to_masks_and_a_review(scans: Path, tmp_path: Path) -> None:
    done = call("segment", scans, *support(scans), "--out", tmp_path)
    assert done.exit_code == 0, done.output
    assert "1 mask in" in done.stdout and "review.html" in done.stdout
    assert "(at least 0.70 Dice is expected in 9 of 10 such cases)" in done.stdout
    assert f"left aside, a labelled scan (--labelled-too segments it): {scans}" in done.stderr
    assert f"left aside, a mask: {scans / 'label_01.nii.gz'}, {scans}" in done.stderr
    assert (tmp_path / "image_02_seg.nii.gz").is_file()
    rows = list(csv.DictReader((tmp_path / "review.csv").read_text().splitlines()))
    assert {(row["case"], row["label"]) for row in rows} == {("image_02", "spleen")}
    again = call("segment", scans, *support(scans), "--labelled-too", "--out", tmp_path)
    assert "2 masks in" in again.stdout and "1 of them from before" in again.stdout


def test_a_correction_given_back_is_not_segmented(scans: Path, tmp_path: Path) -> None:
    """Labelled scans and masks in one folder, a corrected mask as a second support."""
    place = tmp_path / "all"
    shutil.copytree(scans, place)
    flags = ["--no-check", "--labelled-too", "--out", place]
    done = call("segment", place, *support(place), *flags)
    assert done.exit_code == 0, done.output
    corrected = place / "image_02_seg.nii.gz"
    shutil.copy(place / "label_02.nii.gz", corrected)
    before = corrected.read_bytes()
    second = ["--support-image", place / "image_02.nii.gz", "--support-mask", corrected]
    again = call("segment", place, *support(place), *second, *flags)
    assert again.exit_code == 0, again.output
    assert "2 masks in" in again.stdout
    assert "kept as a person left them" in again.stdout and "image_02_seg" in again.stdout
    assert corrected.read_bytes() == before


def test_a_file_for_each_organ_and_names_and_codes_in_the_results(
    scans: Path, tmp_path: Path
) -> None:
    """From two labelled scans: single files, and a folder whose organs come in another order."""
    place = tmp_path / "organs"
    for number, organs in (("01", {1: "liver", 4: "spleen"}), ("02", {4: "Milz", 1: "liver"})):
        label = nibabel.load(scans / f"label_{number}.nii.gz")
        for value, name in organs.items():
            data = (np.asarray(label.dataobj) == value).astype(np.uint8)
            (place / number).mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(data, label.affine), place / number / f"{name}.nii")
    image = scans / "image_01.nii.gz"
    files = [place / "01" / "spleen.nii", f"{place}/01/liver.nii=Leber"]
    single = ["--support-image", image, "--support-mask", files[0], "--support-mask", files[1]]
    query = scans / "image_02.nii.gz"
    flags = ["--no-check", "--format", "mha", "--out", tmp_path / "out"]
    done = call("segment", query, *single, *flags)
    assert done.exit_code == 0, done.output
    assert "1 = spleen, 2 = Leber" in done.stdout
    assert (tmp_path / "out/image_02_seg.mha").is_file()
    for names, task in ((("", ""), "x.task"), (("=a", "=Leber"), "named.task")):
        twice: list[object] = ["-o", tmp_path / task, "--with-images"]
        for organ, name in zip(("spleen", "liver"), names, strict=True):
            twice += ["--support-image", image, "--support-mask", f"{place}/01/{organ}.nii{name}"]
        made = call("task", "create", *twice)
        if not any(names):
            assert "label 1 is one thing in one of its masks and another" in str(made.exception)
    assert made.exit_code == 0, made.output
    facts = task_facts(tmp_path / "named.task")
    assert facts["labels"] == {"1": "a", "2": "Leber"} and len(facts["scans"]) == 1
    pair = ["--support-image", image, "--support-image", query]
    pair += ["--support-mask", place / "01", "--support-mask", place / "02"]
    both = tmp_path / "two.task"
    made = call("task", "create", *pair, "-o", both, "--with-images")
    assert made.exit_code == 0, made.output
    assert task_facts(both)["labels"] == {"1": "liver", "2": "spleen", "3": "Milz"}
    with_task = ["--task", both, "--no-check", "--out", tmp_path / "task"]
    assert call("segment", query, *with_task).exit_code == 0
    written = read_volume(tmp_path / "task/image_02_seg.nii.gz")
    assert written.facts.labels.names == {1: "liver", 2: "spleen", 3: "Milz"}
    three = call("segment", query, *pair, "--support-mask", files[0], "--out", tmp_path / "x")
    assert isinstance(three.exception, ConfigError)
    assert "put several masks of one scan into a folder" in str(three.exception)


def test_it_says_what_learning_gained(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In no time at all one step; which answers were taken is said by the predicted Dice."""
    monkeypatch.setattr(Clock, "passed", 3600.0)  # however fast this machine is
    flags = ["--learn", "0.01", "--fast", "--no-check", "--out", tmp_path]
    done = call("segment", scans, *support(scans), *flags)
    assert done.exit_code == 0, done.output
    said = json.loads((tmp_path / "learn.json").read_text())["said"]
    assert "1 step in 60.0 minutes" in said and f"note: {said}; " in done.stdout
    assert re.search(
        r"\d+ of \d+ masks? taken after learning: predicted Dice [\d.]+ %", done.stdout
    )


def test_the_labelled_scan_alone_is_judged(scans: Path, tmp_path: Path) -> None:
    done = call("segment", scans / "image_01.nii.gz", *support(scans), "--out", tmp_path)
    assert done.exit_code == 0, done.output
    assert "1 mask in" in done.stdout and "review.html" in done.stdout


def test_what_was_dropped_is_rejected(scans: Path, tmp_path: Path) -> None:
    query = scans / "image_02.nii.gz"
    call("segment", query, *support(scans), "--min-volume", 1e12, "--out", tmp_path)
    (row,) = csv.DictReader((tmp_path / "review.csv").read_text().splitlines())
    assert (row["flag"], row["volume ml"]) == ("reject", "0.0")


def test_masks_are_no_scans_whatever_their_names(scans: Path, tmp_path: Path) -> None:
    place = tmp_path / "odd"
    place.mkdir()
    for number in "12":
        shutil.copy(scans / f"image_0{number}.nii.gz", place / f"pat{number}.nii.gz")
        shutil.copy(scans / f"label_0{number}.nii.gz", place / f"pat{number}_organs.nii.gz")
    given = ["--support-image", place / "pat1.nii.gz", "--support-mask"]
    done = call("segment", place, *given, place / "pat1_organs.nii.gz", "--out", tmp_path / "o")
    assert done.exit_code == 0 and "1 mask in" in done.stdout
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("left aside: "))
    assert str(place / "pat2_organs.nii.gz") in line and "this looks like a mask" in line
    assert [path.name for path in (tmp_path / "o").glob("*_seg.nii.gz")] == ["pat2_seg.nii.gz"]
    named = call(
        "segment",
        place / "pat2_organs.nii.gz",
        *given,
        place / "pat1_organs.nii.gz",
        "--out",
        tmp_path / "o",
    )
    assert isinstance(named.exception, DatasetError)
    assert "not segmented: 1 of 1 scan" in str(named.exception)
    swapped = call("segment", place, *reversed(given), place / "pat1.nii.gz", "--out", tmp_path)
    assert swapped.exit_code != 0


def test_a_task_does_not_replace_another_file(scans: Path, tmp_path: Path) -> None:
    scan = tmp_path / "precious.nii.gz"
    shutil.copy(scans / "image_01.nii.gz", scan)
    before = scan.read_bytes()
    refused = call("task", "create", *support(scans), "-o", scan)
    assert isinstance(refused.exception, TaskError)
    assert scan.read_bytes() == before


def test_a_task_file_in_place_of_the_scan(scans: Path, tmp_path: Path) -> None:
    """The same masks to the voxel."""
    task = tmp_path / "spleen.task"
    flags = ["--note", "a phantom", "-o", task, "--with-images"]
    made = call("task", "create", *support(scans), *flags)
    assert made.exit_code == 0 and "holds the slices" in made.stdout
    shown = call("task", "show", task)
    assert "4 = spleen" in shown.stdout and "their images" in shown.stdout
    assert "a phantom" in shown.stdout
    query = scans / "image_02.nii.gz"
    masks = []
    for name, source in (("scan", support(scans)), ("task", ["--task", task])):
        done = call("segment", query, *source, "--no-check", "--out", tmp_path / name)
        assert done.exit_code == 0, done.output
        masks.append(np.asarray(nibabel.load(tmp_path / name / "image_02_seg.nii.gz").dataobj))
    assert np.array_equal(*masks) and masks[0].any()
    assert not (tmp_path / "task" / "review.csv").exists()


def test_a_task_file_without_images_says_what_it_gives_away(scans: Path, tmp_path: Path) -> None:
    made = call("task", "create", *support(scans), "-o", tmp_path / "spleen.task")
    assert made.exit_code == 0 and "holds no scan, but pictures" in made.stdout
    assert "windows" in call("task", "show", tmp_path / "spleen.task").stdout


def test_failures_are_named_in_the_summary(scans: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.nii.gz"
    damaged.write_bytes((scans / "image_02.nii.gz").read_bytes()[:500])
    paths = [damaged, scans / "label_02.nii.gz", scans / "image_02.nii.gz", tmp_path / "gone.nii"]
    done = call("segment", *paths, *support(scans), "--no-check", "--out", tmp_path / "out")
    assert done.exit_code != 0 and isinstance(done.exception, DatasetError)
    message = str(done.exception)
    assert message.startswith("not segmented: 3 of 4 scans")
    assert all(name in message for name in ("damaged.nii.gz", "this is a mask", "no such file"))
    assert (tmp_path / "out" / "image_02_seg.nii.gz").is_file()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "no labelled scan"),
        (["--task", "x.task", "--support-image", "x.nii"], "not both"),
        (["--task", __file__, "--memory", "lots"], "write a size such as 4GB"),
        (["--support-image", "x.nii"], "give pairs"),
        (["--task", "x.task"], "x.task: there is no such file"),
    ],
)
def test_mistakes_are_said_at_once(
    scans: Path, tmp_path: Path, flags: list[str], message: str
) -> None:
    done = call("segment", scans, "--out", tmp_path, *flags)
    assert isinstance(done.exception, ConfigError) and message in str(done.exception)
    assert not list(tmp_path.iterdir())
