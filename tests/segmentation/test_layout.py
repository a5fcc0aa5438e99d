"""Names of results in the layouts of others."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from dpcenet.errors import ConfigError
from dpcenet.segmentation.layout import (
    Layout,
    label_path,
    label_words,
    mask_name,
    probability_path,
)
from dpcenet.segmentation.outputs import OutputOptions
from dpcenet.segmentation.queries import find_queries
from dpcenet.segmentation.segment_folder import segment_folder
from dpcenet.segmentation.segment_options import SegmentOptions
from dpcenet.volumes.io import read_volume
from made_scans import quick_segmenter, write_scans


class QuickInput:
    """Stands for a `LabelledInput` whose network is `copy`."""

    def __init__(self, image: Path, mask: Path) -> None:
        self.images, self.masks = (image,), (mask,)
        self.options = find_queries([image])[0].options

    def open(self) -> object:
        segmenter = quick_segmenter()
        return segmenter, segmenter.support(self.images, self.masks)


@pytest.mark.parametrize(
    ("layout", "name", "expected"),
    [
        ("default", "a/scan", "a/scan_seg.mha"),
        ("nnunet", "a/case_007_0000", "a/case_007.nii.gz"),
        ("nnunet", "a/scan", "a/scan.nii.gz"),
        ("totalsegmentator", "a/scan", "a/scan.nii.gz"),
        ("bids", "sub-01/anat/sub-01_T2w", "sub-01/anat/sub-01_desc-dpcenetT2w_dseg.nii.gz"),
        (
            "bids",
            "sub-01_ses-2_acq-fast_T1w",
            "sub-01/ses-2/anat/sub-01_ses-2_acq-fast_desc-dpcenetT1w_dseg.nii.gz",
        ),
        ("bids", "a/image_01", "sub-aimage01/anat/sub-aimage01_desc-dpcenet_dseg.nii.gz"),
    ],
)
def test_masks_are_called_as_others_call_them(layout: Layout, name: str, expected: str) -> None:
    assert mask_name(Path(name), ".mha", layout) == Path(expected)


@pytest.mark.parametrize(
    ("layout", "names"),
    [
        ("bids", ("患者1.nii.gz", "病人1.nii.gz")),
        ("bids", ("Muñoz.nii.gz", "Muoz.nii.gz")),
        ("nnunet", ("患者_1.nii.gz", "患者_2.nii.gz")),
    ],
)
def test_two_scans_keep_two_masks(layout: Layout, names: tuple[str, str]) -> None:
    masks = [mask_name(Path(name), ".nii.gz", layout) for name in names]
    assert masks[0] != masks[1]
    if layout == "bids":  # names by the standard
        assert all(re.fullmatch(r"sub-[A-Za-z0-9]+", mask.parts[0]) for mask in masks)


def named_scans(folder: Path, names: tuple[str, ...]) -> QuickInput:
    """Scans of these names in folder/scans, and a labelled one elsewhere, which is given back."""
    for name in names:
        place = folder / "scans" / f"{name}.nii.gz"
        place.parent.mkdir(parents=True, exist_ok=True)
        write_scans(folder / "more", 2)[1][0].replace(place)
    return QuickInput(*write_scans(folder / "labelled", 1)[0])


@pytest.mark.parametrize(
    ("layout", "names"),
    [("bids", ("a-1", "a1")), ("nnunet", ("case_0000", "case")), ("bids", ("a/b", "ab"))],
)
def test_scans_whose_masks_would_have_one_name_are_refused(
    tmp_path: Path, layout: Layout, names: tuple[str, str]
) -> None:
    """The second would be written over the first, and both be called done."""
    labelled = named_scans(tmp_path, names)
    options = SegmentOptions(tmp_path / "out", OutputOptions(layout=layout))
    with pytest.raises(ConfigError, match=r"a result of both would be .*rename one"):
        segment_folder([tmp_path / "scans"], labelled, options, quiet=True)  # type: ignore[arg-type]
    assert not list((tmp_path / "out").rglob("*.nii.gz"))


@pytest.mark.parametrize(
    ("outputs", "names"),
    [
        (OutputOptions(layout="totalsegmentator"), ("scan", "scan/label_1")),
        (OutputOptions(layout="nnunet", probability=True), ("scan", "scan_prob_2")),
    ],
)
def test_a_mask_is_not_written_over_what_lies_beside_another(
    tmp_path: Path, outputs: OutputOptions, names: tuple[str, str]
) -> None:
    labelled = named_scans(tmp_path, names)
    options = SegmentOptions(tmp_path / "out", outputs)
    with pytest.raises(ConfigError, match=rf"a result of both would be {names[1]}\.nii\.gz"):
        segment_folder([tmp_path / "scans"], labelled, options, quiet=True)  # type: ignore[arg-type]
    options = SegmentOptions(tmp_path / "out")
    done = segment_folder([tmp_path / "scans"], labelled, options, quiet=True)  # type: ignore[arg-type]
    assert not any(outcome.error for outcome in done.outcomes)


@pytest.mark.parametrize("layout", ["bids", "totalsegmentator"])
def test_every_label_has_a_file_of_its_own(layout: Layout) -> None:
    """Also where names differ in letters only that no file name may have, or in case."""
    names = {1: "left/kidney", 2: "left_kidney", 3: "左肾", 4: "右肾", 5: "Liver", 6: "liver"}
    names |= {7: "..", 8: "n" * 300, 9: "n" * 299 + "m", 10: "肾" * 300, 11: " ", 12: "../../etc"}
    words = label_words(names, layout)
    assert [*words] == [*names]
    assert len({word.casefold() for word in words.values()}) == len(names)
    path = label_path if layout == "totalsegmentator" else _probability
    for word in words.values():
        file = path(Path("out/scan_dseg.nii.gz"), word)
        assert ".." not in file.parts and not file.name.startswith(".")
        assert len(file.name.encode()) <= 255


def _probability(mask: Path, word: str) -> Path:
    found = probability_path(mask, "scan", 1, word, "bids")
    assert re.fullmatch(r"scan_label-[A-Za-z0-9]+_probseg\.nii\.gz", found.name)
    return found


def segmented(tmp_path: Path, layout: Layout) -> tuple[Path, Path]:
    """Two scans segmented with `copy`; the folder of the results, and the scans."""
    scans, out = tmp_path / "scans", tmp_path / "out"
    pairs = write_scans(scans, 2)
    options = SegmentOptions(out, OutputOptions(probability=True, layout=layout))
    labelled = QuickInput(*pairs[0])
    done = segment_folder([scans], labelled, options, labelled_too=True, quiet=True)  # type: ignore[arg-type]
    assert [outcome.error for outcome in done.outcomes] == ["", ""]
    return out, scans


def test_totalsegmentator_has_a_file_for_each_label(tmp_path: Path) -> None:
    out, _ = segmented(tmp_path, "totalsegmentator")
    whole = read_volume(out / "image_02.nii.gz").volume.data
    values = [int(value) for value in np.unique(whole) if value]
    assert len(values) > 1
    for value in values:
        one = read_volume(out / "image_02" / f"label_{value}.nii.gz").volume.data
        assert np.array_equal(one > 0, whole == value)
    record = json.loads((out / "image_02.nii.gz.json").read_text())
    assert f"image_02/label_{values[0]}.nii.gz" in record["outputs"]


def test_bids_says_that_it_is_a_derivative(tmp_path: Path) -> None:
    out, _ = segmented(tmp_path, "bids")
    folder = out / "sub-image02" / "anat"
    assert (folder / "sub-image02_desc-dpcenet_dseg.nii.gz").is_file()
    probabilities = list(folder.glob("sub-image02_desc-dpcenet_label-label*_probseg.nii.gz"))
    assert len(probabilities) > 1
    facts = json.loads((out / "dataset_description.json").read_text())
    assert facts["DatasetType"] == "derivative" and facts["GeneratedBy"][0]["Name"] == "dpcenet"
    assert (out / "dseg.tsv").read_text().startswith("index\tname\n0\tbackground\n")


def test_what_is_finished_is_finished_in_every_layout(tmp_path: Path) -> None:
    out, scans = segmented(tmp_path, "nnunet")
    image = scans / "image_01.nii.gz"
    labelled = QuickInput(image, scans / "label_01.nii.gz")
    options = SegmentOptions(out, OutputOptions(probability=True, layout="nnunet"))
    again = segment_folder([scans], labelled, options, labelled_too=True, quiet=True)  # type: ignore[arg-type]
    assert [outcome.skipped for outcome in again.outcomes] == [True, True]


def test_a_scan_is_never_written_over(tmp_path: Path) -> None:
    """nnU-Net's masks are called as our scans are."""
    _, scans = segmented(tmp_path, "nnunet")
    labelled = QuickInput(scans / "image_01.nii.gz", scans / "label_01.nii.gz")
    options = SegmentOptions(scans, OutputOptions(layout="nnunet"))
    before = (scans / "image_02.nii.gz").read_bytes()
    with pytest.raises(ConfigError, match="is there already"):
        segment_folder([scans / "image_02.nii.gz"], labelled, options, quiet=True)  # type: ignore[arg-type]
    assert (scans / "image_02.nii.gz").read_bytes() == before
