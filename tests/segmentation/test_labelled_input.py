"""What a person names: refused early where it cannot work, complete where it can."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dpcenet.errors import ConfigError
from dpcenet.segmentation.labelled_input import LabelledInput, _told_apart
from dpcenet.segmentation.task_file import write_task
from made_scans import write_scans


def test_what_is_missing_or_too_much_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no labelled scan"):
        LabelledInput().open()
    with pytest.raises(ConfigError, match="not both"):
        LabelledInput(images=(tmp_path,), task=tmp_path).open()


def test_labels_and_names_of_a_task_can_be_changed(tmp_path: Path) -> None:
    ((image, mask),) = write_scans(tmp_path, 1)
    given = LabelledInput((image,), (mask,), names={1: "liver"}, modality="mr", device="cpu")
    segmenter, support = given.open()
    assert support.values == (1, 2, 3, 4) and support.names == {1: "liver"}
    task = tmp_path / "organs.task"
    write_task(task, segmenter.predictor, support, images=True)
    of_task = LabelledInput(task=task, labels=(1, 4), names={4: "spleen"}, device="cpu")
    _, again = of_task.open()
    assert again.values == (1, 4)
    assert (again.names[1], again.names[4]) == ("liver", "spleen")
    assert np.array_equal(again.scans[0].label, support.scans[0].label)
    with pytest.raises(ConfigError, match=r"--name 2=…: the labels are \[1, 4\]"):
        replace(of_task, names={2: "kidney"}).open()
    with pytest.raises(ConfigError, match=r"--name 1=organ: labels \[1, 4\] have this name"):
        replace(of_task, names={1: "organ", 4: "organ"}).open()


def test_two_labels_of_one_name_in_a_file_are_told_apart() -> None:
    names = {1: "organ", 2: "liver", 4: "organ", 5: ""}
    told = _told_apart(names, (1, 2, 4, 5, 6), {})
    assert told == {1: "organ (1)", 2: "liver", 4: "organ (4)", 5: ""}


def test_absolute_paths_hold_in_another_folder() -> None:
    given = LabelledInput((Path("scan.nii"),), (Path("mask.nii"),), run=Path("run"))
    here = Path.cwd()
    assert given.absolute() == replace(
        given, images=(here / "scan.nii",), masks=(here / "mask.nii",), run=here / "run"
    )
    assert LabelledInput(task=Path("a.task")).absolute().task == here / "a.task"
