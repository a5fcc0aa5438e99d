"""A task file gives the same masks without the scans, and is refused where it cannot."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from typer.testing import CliRunner

from dpcenet.cli import app
from dpcenet.data.phantom.phantom import phantom
from dpcenet.errors import ConfigError, TaskError
from dpcenet.inference.predictor import Predictor
from dpcenet.inference.support import Support
from dpcenet.methods.incontext import weights as shipped
from dpcenet.segmentation import task_file
from dpcenet.segmentation.segmenter import Segmenter
from dpcenet.segmentation.task_file import read_task, task_facts, write_task
from dpcenet.types import Volume
from dpcenet.volumes.preprocess import Preprocessing
from made_scans import quick_segmenter

SHAPE, SPACING = (8, 48, 48), (11.0, 6.0, 6.0)


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    """The package's own network: it looks a second time, through windows of the support."""
    method = shipped.build(shipped.Options()).eval()
    return Segmenter(Predictor(method), Preprocessing.for_mr(size=192))


def small(volume: Volume, labels: Volume) -> tuple[Volume, Volume]:
    """The pair in a wider field of view, where its organs are small enough for windows."""
    pad = ((0, 0), (16, 16), (16, 16))
    moved = volume.affine.copy()
    moved[:3, 3] -= volume.affine[:3, 1] * 16 + volume.affine[:3, 2] * 16
    edge = float(volume.data.min())
    image = np.pad(volume.data, pad, constant_values=edge)
    return Volume(image, moved), Volume(np.pad(labels.data, pad), moved)


@pytest.fixture(scope="module")
def support(segmenter: Segmenter) -> Support:
    image, labels = small(*phantom(1, SHAPE, SPACING))
    return segmenter.support(image, labels)


@pytest.fixture(scope="module")
def task(segmenter: Segmenter, support: Support, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("task") / "organs.task"
    named = replace(support, names={1: "liver"})
    write_task(path, segmenter.predictor, named, note="phantom")
    return path


def unaligned(segmenter: Segmenter) -> Segmenter:
    """The same without alignment, which needs the images that a file of features lacks."""
    return replace(segmenter, predictor=replace(segmenter.predictor, align=False))


def changed(task: Path, place: Path, **metadata: str) -> Path:
    with safe_open(task, framework="pt") as stream:
        tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
        facts = stream.metadata()
    save_file(tensors, place, {**facts, **metadata})
    return place


def test_the_masks_are_those_of_the_scans_themselves(
    segmenter: Segmenter, support: Support, task: Path
) -> None:
    kept = read_task(task, segmenter.predictor)
    assert kept.scans[0].slices.windows is not None
    assert kept.scans[0].slices.windows.rows, "no window was kept: the test would show nothing"
    query, _ = small(*phantom(2, SHAPE, SPACING))
    plain = unaligned(segmenter)
    scans, file = plain.find(query, support), plain.find(query, kept)
    assert np.array_equal(scans.mask.data, file.mask.data)
    assert scans.mask.data.any()
    for value, probability in scans.probability.items():
        np.testing.assert_allclose(file.probability[value], probability, atol=1e-5)


def test_a_file_from_before_the_closest_windows_serves_without_them(
    segmenter: Segmenter, task: Path
) -> None:
    kept = read_task(task, segmenter.predictor)
    (scan,) = kept.scans
    windows = scan.slices.windows
    assert windows is not None
    assert {len(each) for each in windows.rows.values()} == {2}, "a wide one and the closest"
    wide = replace(windows, rows={key: each[1:] for key, each in windows.rows.items()})
    slices = replace(scan.slices, windows=wide)
    before = replace(kept, scans=(replace(scan, slices=slices),))
    query, _ = small(*phantom(2, SHAPE, SPACING))
    now, then = (segmenter.segment(query, each).data for each in (kept, before))
    assert then.any() and not np.array_equal(now, then)
    assert 2 * ((now > 0) & (then > 0)).sum() > 0.8 * ((now > 0).sum() + (then > 0).sum())


def test_with_images_it_serves_a_patient_who_lies_otherwise(
    segmenter: Segmenter, support: Support, tmp_path: Path
) -> None:
    facts = write_task(tmp_path / "whole.task", segmenter.predictor, support, images=True)
    assert task_facts(tmp_path / "whole.task") == facts
    kept = read_task(tmp_path / "whole.task", segmenter.predictor)
    image, _ = small(*phantom(1, SHAPE, SPACING))
    query = Volume(np.rot90(image.data, axes=(1, 2)).copy(), image.affine)
    scans, file = segmenter.find(query, support), segmenter.find(query, kept)
    assert not np.array_equal(scans.scans[0].label, support.scans[0].label), "nothing was turned"
    assert scans.mask.data.any()
    np.testing.assert_array_equal(file.mask.data, scans.mask.data)


def test_several_scans_and_some_of_the_labels(
    segmenter: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As from the scans, but for the closest windows, which a file of several does not hold."""
    monkeypatch.setattr("dpcenet.inference.predictor.CLOSEST", 0.01)  # they would show all: no look
    pairs = [small(*phantom(seed, SHAPE, SPACING)) for seed in (1, 3)]
    support = segmenter.support([p[0] for p in pairs], [p[1] for p in pairs], labels=[2, 3])
    write_task(tmp_path / "two.task", segmenter.predictor, support)
    kept = read_task(tmp_path / "two.task", segmenter.predictor)
    query, _ = small(*phantom(2, SHAPE, SPACING))
    mask = segmenter.segment(query, kept)
    assert np.array_equal(mask.data, unaligned(segmenter).segment(query, support).data)
    assert mask.data.any() and set(np.unique(mask.data)) <= {0, 2, 3}
    one = segmenter.segment(query, kept.only([3]))
    assert set(np.unique(one.data)) <= {0, 3}
    with pytest.raises(ConfigError, match=r"--label 1: only \[2, 3\]"):
        kept.only([1])


def test_no_tensor_of_the_file_holds_the_image(support: Support, task: Path) -> None:
    """Neither the prepared slices nor anything of their size but the label lies in the file."""
    pixels = support.scans[0].slices.images
    with safe_open(task, framework="pt") as stream:
        for name in stream.keys():  # noqa: SIM118
            tensor = stream.get_tensor(name)
            assert name.endswith(".label") or tensor.shape[-2:] != pixels.shape[-2:], name
            assert not tensor.is_floating_point() or tensor.shape[1] > 1, name
    kept = read_task(task, Predictor(shipped.build(shipped.Options()).eval()))
    assert not kept.scans[0].slices.images.any()


def test_show_says_what_is_in_it(task: Path) -> None:
    facts = task_facts(task)
    assert facts["labels"] == {"1": "liver", "2": "label 2", "3": "label 3", "4": "label 4"}
    assert facts["note"] == "phantom" and facts["network"]["method"] == "InContext"
    (scan,) = facts["scans"]
    assert scan["slices"] == SHAPE[0] and scan["spacing"][0] == pytest.approx(SPACING[0])
    assert "the array" not in json.dumps(facts)  # a file's name may name the patient


def test_a_method_without_second_look_needs_no_windows(tmp_path: Path) -> None:
    segmenter = quick_segmenter()
    image, labels = phantom(1, SHAPE, SPACING)
    support = segmenter.support(image, labels)
    write_task(tmp_path / "copy.task", segmenter.predictor, support)
    kept = read_task(tmp_path / "copy.task", segmenter.predictor)
    expected = segmenter.segment(image, support)
    assert np.array_equal(segmenter.segment(image, kept).data, expected.data)


def test_other_weights_are_refused(task: Path) -> None:
    other = Predictor(shipped.build(shipped.Options(weights=None)).eval())
    with pytest.raises(TaskError, match=r"made with InContext weights .* give the --run"):
        read_task(task, other)
    with pytest.raises(TaskError, match="the network is Copy"):
        read_task(task, quick_segmenter().predictor)


def test_a_newer_format_is_refused(task: Path, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"format 3; this version .* reads 1 and 2\. Update"):
        task_facts(changed(task, tmp_path / "new.task", format="3"))


def test_damage_is_refused(task: Path, tmp_path: Path) -> None:
    content = bytearray(task.read_bytes())
    (tmp_path / "cut.task").write_bytes(content[: len(content) // 2])
    content[-1000] ^= 1
    (tmp_path / "flipped.task").write_bytes(content)
    (tmp_path / "text.task").write_text("no task")
    facts = json.dumps({**task_facts(task), "note": "forged"})
    changed(task, tmp_path / "forged.task", facts=facts)
    messages = {"cut": "cannot be read", "flipped": "wrong checksum", "forged": "wrong checksum"}
    for name, message in {**messages, "text": "cannot be read", "gone": "cannot be read"}.items():
        with pytest.raises(TaskError, match=message):
            task_facts(tmp_path / f"{name}.task")


def test_another_safetensors_file_is_no_task(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(3)}, tmp_path / "weights.safetensors")
    with pytest.raises(TaskError, match="not a task file"):
        task_facts(tmp_path / "weights.safetensors")


def test_a_file_that_would_be_too_large_is_not_written(
    support: Support, segmenter: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_file, "MAX_BYTES", 1000)
    with pytest.raises(ConfigError, match="fewer labelled scans"):
        write_task(tmp_path / "big.task", segmenter.predictor, support)
    assert not list(tmp_path.iterdir())


def test_signs_for_a_terminal_in_a_note_are_not_printed(
    segmenter: Segmenter, support: Support, tmp_path: Path
) -> None:
    path = tmp_path / "others.task"
    write_task(path, segmenter.predictor, support, note="a\x1b[2Jb\nc")
    shown = CliRunner().invoke(app, ["task", "show", str(path)])
    assert shown.exit_code == 0 and "note      a [2Jb c\n" in shown.output
