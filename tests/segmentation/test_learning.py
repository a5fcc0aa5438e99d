"""`segment --learn`: the network learns first, and the results say so."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

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
from dpcenet.segmentation.learning import RECORD, WEIGHTS, learn
from dpcenet.segmentation.segment_folder import SegmentLocation, SegmentSummary, segment_folder
from dpcenet.segmentation.segment_options import SegmentOptions
from dpcenet.segmentation.segmenter import Segmenter
from dpcenet.segmentation.task_file import read_task, write_task
from dpcenet.system.parallel import in_turn
from dpcenet.training import checked_training
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


def scripted(monkeypatch: pytest.MonkeyPatch, scores: Iterable[float]) -> list[float]:
    """Reverse checks that come out as written; those that are left."""
    left = list(scores)
    monkeypatch.setattr(checked_training, "reverse_check", lambda *_: left.pop(0))
    return left


def segmented(labelled: LabelledInput, out: Path, **options: object) -> SegmentSummary:
    chosen = SegmentOptions(out, learn=10.0, **options)  # type: ignore[arg-type]
    return segment_folder([out.parent / "scans"], labelled, chosen, quiet=True)


def network_of(mask: Path | None) -> str:
    assert mask is not None
    return str(json.loads(Path(f"{mask}.json").read_text())["inputs"]["network"])


def test_results_are_those_of_the_learnt_network(
    labelled: LabelledInput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    scripted(monkeypatch, [0.5, 0.5, 0.6, 0.6, 0.7, 0.7])  # of two scans each
    done = segmented(labelled, out)
    said = "reverse check 50.0 % before, 70.0 % after 2 steps"
    assert [said in note for note in done.notes] == [True]
    facts = json.loads((out / RECORD).read_text())
    assert facts["kept"] == 2 and facts["checked scans"] == 2
    assert said in json.loads((out / "segment.json").read_text())["learn"]
    assert {network_of(each.mask) for each in done.outcomes} == {facts["weights"]}
    assert facts["weights"] != hash_of_state(tiny_segmenter().predictor.method)

    # Again: nothing is learnt (no score is left), and nothing segmented.
    again = segmented(labelled, out)
    assert all(each.skipped for each in again.outcomes)
    assert said in again.notes[0] and "from before" in again.notes[0]
    # Elsewhere the file of the weights serves.
    location = SegmentLocation(in_turn, torch.get_num_threads())
    options = SegmentOptions(tmp_path / "out", learn=10.0)
    for mask in out.glob("*_seg.nii.gz*"):
        mask.unlink()
    there = segment_folder([tmp_path / "scans"], labelled, options, location=location, quiet=True)
    assert {network_of(each.mask) for each in there.outcomes} == {facts["weights"]}


@pytest.mark.parametrize("harm", ["overwrite", "labels", "record", "weights"])
def test_it_learns_anew_where_what_was_learnt_cannot_serve(
    labelled: LabelledInput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    out = tmp_path / "out"
    scripted(monkeypatch, [0.5, 0.5, 0.7, 0.7, 0.6, 0.6])
    segmented(labelled, out)
    left = scripted(monkeypatch, [0.5, 0.5, 0.8, 0.8, 0.6, 0.6])
    if harm == "labels":
        labelled = LabelledInput(labelled.images, labelled.masks, labels=(1,))
    elif harm == "record":
        (out / RECORD).write_text("{")
    elif harm == "weights":
        (out / WEIGHTS).write_bytes(b"")
    done = segmented(labelled, out, overwrite=harm == "overwrite")
    assert not left and "80.0 %" in done.notes[0]


def test_without_a_gain_the_network_stays(
    labelled: LabelledInput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / WEIGHTS).write_bytes(b"of an earlier call")
    scripted(monkeypatch, [0.5, 0.5, 0.4, 0.4, 0.3, 0.3])
    done = segmented(labelled, out)
    assert "learning did not help" in done.notes[0] and not (out / WEIGHTS).exists()
    own = hash_of_state(tiny_segmenter().predictor.method)
    assert {network_of(each.mask) for each in done.outcomes} == {own}
    assert all(each.skipped for each in segmented(labelled, out).outcomes)


def test_what_there_was_no_time_for_is_tried_again(
    labelled: LabelledInput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(*_: object) -> float:
        raise checked_training.OutOfTime

    monkeypatch.setattr(checked_training, "reverse_check", late)
    done = segmented(labelled, tmp_path / "out")
    assert "too short" in done.notes[0]
    own = hash_of_state(tiny_segmenter().predictor.method)
    assert {network_of(each.mask) for each in done.outcomes} == {own}
    scripted(monkeypatch, [0.5, 0.5, 0.7, 0.7, 0.6, 0.6])
    assert "70.0 %" in segmented(labelled, tmp_path / "out").notes[0]


def test_a_scan_that_cannot_be_read_stops_nothing(
    labelled: LabelledInput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scans" / "image_02.nii.gz").write_bytes(b"no scan")
    scripted(monkeypatch, [0.5, 0.4, 0.3])
    done = segmented(labelled, tmp_path / "out")
    assert [each.mask is None for each in done.outcomes] == [True, False]
    assert json.loads((tmp_path / "out" / RECORD).read_text())["checked scans"] == 1


def test_what_cannot_be_is_said_first(labelled: LabelledInput, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--memory"):
        segmented(labelled, tmp_path / "out", memory=10**9)
    with pytest.raises(ConfigError, match="a scan to segment beside"):
        options = SegmentOptions(tmp_path / "out", learn=10.0)
        segment_folder(labelled.images, labelled, options, quiet=True)
    segmenter, support = labelled.open()
    write_task(tmp_path / "a.task", segmenter.predictor, support)
    bare = read_task(tmp_path / "a.task", segmenter.predictor)
    with pytest.raises(ConfigError, match="--with-images"):
        learn(segmenter, bare, [*labelled.images], quiet=True)


def test_from_python(
    labelled: LabelledInput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The labelled scans are encoded anew, and the network that was given stays."""
    assert dpcenet.learn is learn
    segmenter, support = labelled.open()
    scan = tmp_path / "scans" / "image_02.nii.gz"
    scripted(monkeypatch, [0.5, 0.7, 0.6])
    learnt, seen = learn(segmenter, support, nibabel.load(scan), quiet=True)
    assert hash_of_state(segmenter.predictor.method) != hash_of_state(learnt.predictor.method)
    keys = [each.scans[0].slices.features["key"] for each in (support, seen)]
    assert keys[0].shape == keys[1].shape and not torch.equal(*keys)
    assert learnt.segment(str(scan), seen).data.shape == nibabel.load(scan).shape[::-1]
    scripted(monkeypatch, [0.5, 0.4, 0.3])
    same, unchanged = learn(segmenter, support, [scan], quiet=True)
    assert same is segmenter and unchanged is support
