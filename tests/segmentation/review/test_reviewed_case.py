"""What is kept of a case for the review."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dpcenet.data.phantom.phantom import phantom
from dpcenet.segmentation.review.reviewed_case import picture, read_cases, review_case, save_case
from dpcenet.segmentation.review.suggest import support_signatures
from dpcenet.segmentation.segmenter import Segmenter
from samples import GOOD, made_case

CASES = [
    made_case("good", 0.1, confidence=0.94),
    made_case("missed", 1.0),
    made_case("a/doubtful <b>", 1.1, confidence=0.4, volume_ratio=3.0),
]


def test_cases_are_kept_for_a_run_that_goes_on(tmp_path: Path) -> None:
    assert read_cases(tmp_path) == []
    for case in CASES:
        save_case(tmp_path, case)
    assert read_cases(tmp_path) == [CASES[2], CASES[0], CASES[1]]  # by name


@pytest.mark.parametrize("content", ["{", "[]", '{"case": "one"}'])
def test_a_damaged_case_is_set_aside_and_named(
    tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    save_case(tmp_path, CASES[0])
    path = tmp_path / "review" / "one.json"
    path.write_text(content)
    assert read_cases(tmp_path) == [CASES[0]]
    (record,) = caplog.records
    assert str(path) in record.getMessage() and "segment again" in record.getMessage()
    assert path.with_name("one.json.damaged").read_text() == content and not path.exists()


def test_a_case_of_a_segmenter(copier: Segmenter, tmp_path: Path) -> None:
    image, labels = phantom(1, (10, 72, 72), (9.0, 4.0, 4.0))
    support = replace(copier.support(image, labels, [1, 3]), names={1: "liver"})
    found = copier.find(image, support)
    case = review_case(copier.predictor, support, found, "one", "one_seg.nii.gz")
    assert list(case.labels) == ["liver", "3"] and set(case.pictures) == {"liver", "3"}
    np.testing.assert_allclose(
        case.signature, support_signatures(copier.predictor.method, support)[0], atol=1e-4
    )
    save_case(tmp_path, case)
    assert read_cases(tmp_path) == [case]


def test_a_case_of_an_older_version_is_read(tmp_path: Path) -> None:
    save_case(tmp_path, CASES[0])
    path = tmp_path / "review" / "good.json"
    kept = json.loads(path.read_text())
    for quality in kept["labels"].values():
        del quality["accept_dice"]
        for new in ("taken", "claimed", "displacement_mm", "size_mm", "alignment"):
            del quality["signals"][new]
    path.write_text(json.dumps(kept))
    assert read_cases(tmp_path) == [CASES[0]]


def test_words_on_disk_stay(tmp_path: Path) -> None:
    save_case(tmp_path, CASES[0])
    written = json.loads((tmp_path / "review" / "good.json").read_text())
    assert list(written) == ["case", "mask", "labels", "pictures", "signature", "matches"]
    liver = written["labels"]["liver"]
    assert list(liver) == [
        "dice",
        "low",
        "high",
        "flag",
        "reasons",
        "signals",
        "calibrated",
        "accept_dice",
    ]
    assert list(liver["signals"])[:5] == ["reverse", "agreement", "confidence", "likeness", "shape"]
    assert liver["signals"]["likeness"] == GOOD.similarity


def test_the_picture_shows_the_largest_slice_with_its_outline() -> None:
    image = np.zeros((3, 32, 32), np.float32)
    image[1] = np.linspace(-1, 1, 32)[:, None]
    mask = np.zeros(image.shape, bool)
    mask[0, 4:6, 4:6] = mask[1, 8:24, 8:24] = True
    content = base64.b64decode(picture(image, mask).split(",")[1])
    pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)
    assert pixels.shape == (32, 32, 3)
    blueness = pixels[..., 2] - pixels[..., 0]
    assert blueness[8, 16] > 100 and blueness[16, 8] > 100  # on the outline
    assert 20 < blueness[16, 16] < 100  # inside
    assert abs(blueness[2, 2]) < 20 and abs(blueness[29, 16]) < 20  # outside
    assert pixels[29, 2].mean() > pixels[2, 2].mean() + 150  # the ramp of slice 1
