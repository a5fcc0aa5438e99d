"""`segment --learn`: the network learns first, has a say in each label, and the results say so."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import pytest
import torch

import dpcenet
from dpcenet.errors import ConfigError
from dpcenet.inference.predictor import Predictor
from dpcenet.methods.incontext.model import InContext, NetworkOptions
from dpcenet.nn.weights import hash_of_state
from dpcenet.segmentation import labelled_input
from dpcenet.segmentation.labelled_input import LabelledInput
from dpcenet.segmentation.learning import RECORD, SCANS, WEIGHTS, learn
from dpcenet.segmentation.segment_folder import SegmentLocation, SegmentSummary, segment_folder
from dpcenet.segmentation.segment_options import SegmentOptions
from dpcenet.segmentation.segmenter import Segmenter
from dpcenet.segmentation.task_file import read_task, write_task
from dpcenet.system.parallel import in_turn
from dpcenet.training import learn as training
from dpcenet.volumes.preprocess import Preprocessing
from made_scans import write_scans


def tiny_segmenter(*_: object) -> Segmenter:
    """An in-context network that has learnt nothing yet."""
    torch.manual_seed(0)
    method = InContext(NetworkOptions(size=32, widths=(4, 8, 8, 8))).eval()
    return Segmenter(Predictor(method), Preprocessing.for_mr(size=64))


@pytest.fixture
def labelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabelledInput:
    """The first of three scans; two steps are all."""
    monkeypatch.setattr(labelled_input.Segmenter, "shipped", staticmethod(tiny_segmenter))
    monkeypatch.setattr(training, "STEPS", 2)
    ((image, mask), *_) = write_scans(tmp_path / "scans", 3)
    return LabelledInput((image,), (mask,), labels=(1, 2))


def segmented(labelled: LabelledInput, out: Path, **options: object) -> SegmentSummary:
    chosen = SegmentOptions(out, learn=10.0, **options)  # type: ignore[arg-type]
    return segment_folder([out.parent / "scans"], labelled, chosen, quiet=True)


def learnt_of(mask: Path | None) -> tuple[str, ...]:
    """What had a say in a mask, by its record: weights, and pseudo-labelled scans."""
    assert mask is not None
    inputs = json.loads(Path(f"{mask}.json").read_text())["inputs"]
    assert inputs["network"] == hash_of_state(tiny_segmenter().predictor.method)
    return tuple(inputs["learnt"])


def trained_again(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one whenever the network learns."""
    often, train = list[int](), training.learn

    def noted(*args: Any) -> training.Learnt:
        often.append(1)
        return train(*args)

    monkeypatch.setattr(training, "learn", noted)
    return often


def test_both_networks_have_a_say_in_the_results(labelled: LabelledInput, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = segmented(labelled, out)
    (note,) = done.notes
    assert note.startswith("learnt from the labelled scans: 2 steps in ")
    assert " of 4 masks taken after learning: predicted Dice " in note  # two scans, two labels
    facts = json.loads((out / RECORD).read_text())
    assert facts["steps"] == 2 and len(facts["answers of"]) == 2
    ((weights, *scans),) = {learnt_of(each.mask) for each in done.outcomes}
    assert weights == facts["weights"] and len(scans) == 2
    assert facts["weights"] != hash_of_state(tiny_segmenter().predictor.method)
    content = json.loads((out / "segment.json").read_text())
    assert content["learn"] == facts["said"]
    choices = [choice for case in content["cases"] for choice in case["learnt"].values()]
    assert len(choices) == 4 and all(each["by"] for each in choices)
    assert all(0 <= each[when] <= 1 for each in choices for when in ("before", "after"))


def test_again_nothing_is_learnt_and_elsewhere_the_file_serves(
    labelled: LabelledInput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    first = segmented(labelled, out)
    had_a_say = learnt_of(first.outcomes[0].mask)
    often = trained_again(monkeypatch)
    again = segmented(labelled, out)
    assert all(each.skipped for each in again.outcomes)
    assert "(from before)" in again.notes[0] and "of 4 masks" in again.notes[0]
    location = SegmentLocation(in_turn, torch.get_num_threads())
    options = SegmentOptions(tmp_path / "out", learn=10.0)
    for mask in out.glob("*_seg.nii.gz*"):
        mask.unlink()
    there = segment_folder([tmp_path / "scans"], labelled, options, location=location, quiet=True)
    assert {learnt_of(each.mask) for each in there.outcomes} == {had_a_say}
    assert not often


@pytest.mark.parametrize("harm", ["overwrite", "labels", "record", "weights", "scans", "fast"])
def test_it_learns_anew_where_what_was_learnt_cannot_serve(
    labelled: LabelledInput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    out = tmp_path / "out"
    segmented(labelled, out)
    if harm == "labels":
        labelled = LabelledInput(labelled.images, labelled.masks, labels=(1,))
    elif harm == "record":
        (out / RECORD).write_text("{")
    elif harm == "weights":
        (out / WEIGHTS).write_bytes(b"")
    elif harm == "scans":
        (out / SCANS).unlink()
    elif harm == "fast":
        labelled = replace(labelled, fast=True)
    often = trained_again(monkeypatch)
    done = segmented(labelled, out, overwrite=harm == "overwrite")
    assert len(often) == 1 and "from before" not in done.notes[0]


def test_a_scan_that_cannot_be_read_stops_nothing(labelled: LabelledInput, tmp_path: Path) -> None:
    (tmp_path / "scans" / "image_02.nii.gz").write_bytes(b"no scan")
    done = segmented(labelled, tmp_path / "out")
    assert [each.mask is None for each in done.outcomes] == [True, False]
    assert "of 2 masks" in done.notes[0]


def test_a_copy_of_the_labelled_scan_serves_no_other(
    labelled: LabelledInput, tmp_path: Path
) -> None:
    shutil.copy(labelled.images[0], tmp_path / "scans" / "image_00.nii.gz")
    segmented(labelled, tmp_path / "out")
    answers = json.loads((tmp_path / "out" / RECORD).read_text())["answers of"]
    assert sorted(answers) == ["image_02", "image_03"]


def test_out_of_memory_in_the_first_scans_loses_no_training(
    labelled: LabelledInput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find, often = Segmenter.find, list[int]()

    def short(*args: Any) -> Any:
        often.append(1)
        if len(often) == 1:
            raise MemoryError
        return find(*args)

    monkeypatch.setattr(Segmenter, "find", short)
    done = segmented(labelled, tmp_path / "out")
    assert all(each.mask is not None for each in done.outcomes)
    assert len(json.loads((tmp_path / "out" / RECORD).read_text())["answers of"]) == 1


def test_a_task_without_images_is_refused_also_where_all_was_learnt_before(
    labelled: LabelledInput, tmp_path: Path
) -> None:
    segmented(labelled, tmp_path / "out")
    segmenter, support = labelled.open()
    write_task(tmp_path / "a.task", segmenter.predictor, support)
    with pytest.raises(ConfigError, match="--with-images"):
        segmented(LabelledInput(task=tmp_path / "a.task"), tmp_path / "out")


def test_what_cannot_be_is_said_first(labelled: LabelledInput, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--memory"):
        segmented(labelled, tmp_path / "out", memory=10**9)
    segmenter, support = labelled.open()
    write_task(tmp_path / "a.task", segmenter.predictor, support)
    bare = read_task(tmp_path / "a.task", segmenter.predictor)
    with pytest.raises(ConfigError, match="--with-images"):
        learn(segmenter, bare, quiet=True)


def test_from_python(labelled: LabelledInput, tmp_path: Path) -> None:
    """The segmenter that was given stays, and the new one is for these labelled scans."""
    assert dpcenet.learn is learn
    segmenter, support = labelled.open()
    scan = tmp_path / "scans" / "image_02.nii.gz"
    learnt = learn(segmenter, support, str(scan), quiet=True)
    assert learnt.learnt is not None
    assert [each.name for each in learnt.learnt.pseudo_labelled] == [str(scan)]
    assert segmenter.learnt is None and learnt.predictor is segmenter.predictor
    assert "one that learnt" in repr(learnt) and "learnt" not in repr(segmenter)
    assert learnt.segment(str(scan), support).data.shape == nibabel.load(scan).shape[::-1]
    other = segmenter.support(scan, tmp_path / "scans" / "label_02.nii.gz")
    with pytest.raises(ConfigError, match=r"learnt from .*image_01.*; segment from the same"):
        learnt.segment(str(scan), other)
