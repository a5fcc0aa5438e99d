"""What people have, from the command line: 4-D files, series, echoes, pictures, zips, masks out."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from dpcenet.cli import app
from dpcenet.errors import DatasetError
from dpcenet.types import Volume
from dpcenet.volumes.io import read_volume
from made_scans import SPACING, write_scans
from raw_layouts import write_dicom


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scans")
    write_scans(folder, 2)
    return folder


def support(scans: Path) -> list[object]:
    image, label = scans / "image_01.nii.gz", scans / "label_01.nii.gz"
    return ["--support-image", image, "--support-mask", label, "--label", 1, "--no-check"]


def whole_numbers(scans: Path) -> Volume:
    """The second scan, its intensities as DICOM can store them."""
    volume = read_volume(scans / "image_02.nii.gz").volume
    data = np.asarray(volume.data, np.float64)
    return Volume(np.round(data - data.min()).astype(np.uint16), volume.affine)


def test_every_format_gets_a_mask_of_its_own_grid(scans: Path, tmp_path: Path) -> None:
    query = tmp_path / "in"
    query.mkdir()
    image = nibabel.load(scans / "image_02.nii.gz")
    data = np.asarray(image.dataobj)
    whole = np.round(data - data.min()).astype(np.int16)
    nibabel.save(nibabel.MGHImage(data.astype(np.float32), image.affine), query / "f.mgz")
    nibabel.save(nibabel.AnalyzeImage(whole, image.affine), query / "a.img")
    cine = np.stack([whole, whole + 5], axis=-1)
    nibabel.save(nibabel.Nifti1Image(cine, image.affine), query / "cine.nii.gz")
    for z, plane in enumerate(whole.transpose(2, 1, 0)):
        (tmp_path / "pictures").mkdir(exist_ok=True)
        Image.fromarray((plane // (whole.max() // 255 + 1)).astype(np.uint8)).save(
            tmp_path / f"pictures/{z}.png"
        )
    write_dicom(whole_numbers(scans), tmp_path / "series")
    shutil.make_archive(str(tmp_path / "sent"), "zip", tmp_path / "series")
    spacing = ",".join(map(str, SPACING))
    inputs = [query, tmp_path / "sent.zip", tmp_path / "pictures"]
    flags = ["--split-time", "--spacing", spacing, "--out", tmp_path / "out"]
    done = call("segment", *inputs, *support(scans), *flags)
    assert done.exit_code == 0, done.output
    masks = {path.name: read_volume(path).volume for path in (tmp_path / "out").glob("*.nii.gz")}
    assert sorted(masks) == [
        *("a_seg.nii.gz", "cine_1_seg.nii.gz", "cine_2_seg.nii.gz"),
        *("f_seg.nii.gz", "pictures_seg.nii.gz", "sent_seg.nii.gz"),
    ]
    for name, mask in masks.items():
        assert mask.spacing == pytest.approx(SPACING), name
        assert mask.data.any() and mask.data.shape == (8, 48, 48)
    refused = call("segment", query / "cine.nii.gz", *support(scans), "--out", tmp_path / "x")
    assert isinstance(refused.exception, DatasetError)
    assert "2 volumes: 1" in str(refused.exception) and "--split-time" in str(refused.exception)


def test_series_and_echo_by_number_and_name_and_every_format_out(
    scans: Path, tmp_path: Path
) -> None:
    pydicom = pytest.importorskip("pydicom", reason="the extra `dicom` is not installed")
    image = whole_numbers(scans)
    for series in (1, 2):
        for number, path in enumerate(write_dicom(image, tmp_path / "raw")):
            for echo, time in enumerate((2.3, 4.6)):
                file = pydicom.dcmread(path)
                file.EchoTime, file.SeriesInstanceUID = time, f"1.2.{series}"
                file.SeriesNumber, file.SeriesDescription = series, ("scout", "T2*")[series - 1]
                file.SOPInstanceUID = f"1.2.{series}.{echo}.{number}"
                (tmp_path / "study").mkdir(exist_ok=True)
                file.save_as(tmp_path / f"study/{series}{echo}{number}")
    label = tmp_path / "drawn.nii.gz"
    shutil.copy(scans / "label_02.nii.gz", label)
    given = ["--support-image", tmp_path / "study", "--support-mask", f"{label}", "--label", 1]
    given += ["--series", "T2", "--echo", 2, "--no-check"]
    query = scans / "image_01.nii.gz"
    for form, suffix in (("nifti", "nii.gz"), ("seg.nrrd", "seg.nrrd"), ("mha", "mha")):
        out = tmp_path / form
        done = call("segment", query, *given, "--format", form, "--out", out)
        assert done.exit_code == 0, done.output
        assert read_volume(out / f"image_01_seg.{suffix}").volume.data.any()
    flags = ["--echo", "4.6", "--format", "dicom-seg", "--out", tmp_path / "seg"]
    done = call("segment", tmp_path / "study", query, *support(scans), *flags)
    assert done.exit_code == 0, done.output
    written = {path.name for path in (tmp_path / "seg").rglob("*_seg.*") if path.suffix != ".json"}
    assert {"study_1_scout_seg.dcm", "study_2_T2_seg.dcm", "image_01_seg.nii.gz"} == written
    assert "image_01: note: no DICOM SEG: the scan is no DICOM series" in done.output
