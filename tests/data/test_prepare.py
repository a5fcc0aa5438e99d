"""`prepare`: every data set in one call, restartable, and honest about what failed."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dpcenet.data import prepare_case as recipe
from dpcenet.data.prepare import prepare
from dpcenet.data.store import open_dataset
from dpcenet.errors import ConfigError, DatasetError
from dpcenet.types import Volume
from raw_layouts import centroid, made_case, write_acdc, write_chaos, write_nifti, write_nnunet

SMALL = {"size": 48}
CHAOS = {"01": 1, "02": 2, "03": 3, "36": 36}


def write_pairs(folder: Path, count: int = 4) -> Path:
    for seed in range(count):
        image, labels = made_case(seed)
        write_nifti(image, folder / f"image_{seed}.nii.gz")
        write_nifti(labels, folder / f"label_{seed}.nii.gz")
    return folder


def quick(source: Path, out: Path, **options: object):
    """Prepare slices of 48 pixels."""
    return prepare(source, out, changes=SMALL, supervoxel_size=100, quiet=True, **options)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    return write_pairs(tmp_path / "scans")


def test_labels_of_a_prepared_set_lie_where_they_were_put(pairs: Path, tmp_path: Path) -> None:
    prepared = quick(pairs, tmp_path / "out")
    for seed, case in enumerate(prepared.cases):
        _, truth = made_case(seed)
        found = Volume(np.asarray(case.label), case.record.affine)
        for value in (1, 2, 3, 4):
            apart = centroid(found, value) - centroid(truth, value)
            off = np.linalg.inv(found.affine[:3, :3]) @ apart
            assert np.abs(off).max() < 1


def test_a_second_call_does_nothing(pairs: Path, tmp_path: Path) -> None:
    quick(pairs, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    quick(pairs, tmp_path / "out")
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}


def test_a_damaged_array_is_made_again(pairs: Path, tmp_path: Path) -> None:
    first = quick(pairs, tmp_path / "out").hash
    (tmp_path / "out/cases/2/image.npy").write_bytes(b"no array")
    assert quick(pairs, tmp_path / "out").hash == first
    assert open_dataset(tmp_path / "out").case("2").image.shape == (6, 48, 48)


PROGRAM = """
import sys
from pathlib import Path
from dpcenet.data.prepare import prepare
prepare(Path(sys.argv[1]), Path(sys.argv[2]), changes={"size": 48}, supervoxel_size=100, quiet=True)
"""


def test_killed_and_run_again_gives_the_same_hashes(pairs: Path, tmp_path: Path) -> None:
    undisturbed = quick(pairs, tmp_path / "whole")
    out = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(pairs), str(out)])
    deadline = time.monotonic() + 120
    while not list(out.glob("cases/*/image.npy")) and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert list(out.glob("cases/*/image.npy")) and not (out / "manifest.json").exists()
    (out / "cases/3").mkdir(parents=True, exist_ok=True)
    (out / "cases/3/.partial-abcimage.npy").write_bytes(b"half a file")
    again = quick(pairs, out)
    assert again.hash == undisturbed.hash
    assert not list(out.rglob(".partial-*"))
    for case in undisturbed.cases:
        assert again.case(case.name).facts == case.facts


def test_a_full_disk_ends_it_and_what_is_prepared_is_kept(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every later case would meet it too."""
    undisturbed = quick(pairs, tmp_path / "whole").hash
    save = recipe.save

    def full(array: np.ndarray, path: Path) -> None:
        if path.parent.name == "1" and path.name.endswith("supervoxels.npy"):
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(array, path)

    monkeypatch.setattr(recipe, "save", full)
    with pytest.raises(OSError, match=r"No space left.*supervoxels\.npy"):
        quick(pairs, tmp_path / "out")
    assert not list((tmp_path / "out").rglob(".partial-*"))
    done = [path.parent.name for path in (tmp_path / "out").rglob("case.json")]
    assert done == ["0"]
    monkeypatch.setattr(recipe, "save", save)
    assert quick(pairs, tmp_path / "out").hash == undisturbed


def test_a_bad_case_is_named_in_a_line_and_the_others_are_kept(pairs: Path, tmp_path: Path) -> None:
    """In two processes, which prepare the same as one."""
    alone = quick(pairs, tmp_path / "one")
    (pairs / "image_2.nii.gz").write_bytes(b"no scan")
    with pytest.raises(DatasetError) as caught:
        quick(pairs, tmp_path / "out", jobs=2)
    title, line = str(caught.value).splitlines()
    assert "1 of 4 cases failed" in title
    assert line.startswith("  2: ") and "image_2.nii.gz" in line
    prepared = open_dataset(tmp_path / "out")
    assert [case.name for case in prepared.cases] == ["0", "1", "3"]
    for case in prepared.cases:
        assert case.facts["arrays"] == alone.case(case.name).facts["arrays"]


def test_no_memory_for_any_case_is_said_once(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the words of numpy and of torch."""
    errors = iter([MemoryError(), RuntimeError("can't allocate memory: 8 bytes")] * 2)

    def fail(*_: object) -> None:
        raise next(errors)

    monkeypatch.setattr("dpcenet.data.prepare.prepare_case", fail)
    with pytest.raises(DatasetError) as caught:
        quick(pairs, tmp_path / "out")
    title, line = str(caught.value).splitlines()
    assert "4 of 4 cases failed" in title
    assert line.startswith("  0, 1, 2, 3: not enough memory")


def test_a_data_set_from_the_raw_download(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, patient in CHAOS.items():
        write_chaos(tmp_path / "raw", patient, *made_case(int(name)))
    write_chaos(tmp_path / "raw", 4, *made_case(4))  # belongs to the challenge's test set
    with pytest.raises(DatasetError) as caught:
        quick(tmp_path / "raw", tmp_path / "out", dataset="chaost2")
    lines = str(caught.value).splitlines()
    assert "16 of 20 cases failed" in lines[0]
    assert lines[1:3] == ["  05: no scan", "  08: no scan"] and len(lines) == 17
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'raw'}: case 04 is not one of CHAOS T2-SPIR (Abd-MRI); left out"
    ]
    prepared = open_dataset(tmp_path / "out")
    assert [case.name for case in prepared.cases] == list(CHAOS)
    assert prepared.labels == {1: "liver", 2: "right kidney", 3: "left kidney", 4: "spleen"}
    assert prepared.origin.name == "chaost2" and prepared.group("lower") == (2, 3)
    assert prepared.cases[0].spacing == pytest.approx((7.7, 1.25, 1.25))
    with pytest.raises(ConfigError, match="choose one of upper, lower"):
        prepared.group("middle")


def test_a_scan_without_its_labels_is_missing(tmp_path: Path) -> None:
    series = write_chaos(tmp_path, 1, *made_case())
    write_chaos(tmp_path, 2, *made_case())
    shutil.rmtree(series / "Ground")
    with pytest.raises(DatasetError, match="01: no labels"):
        quick(tmp_path, tmp_path / "out", dataset="chaost2")


def test_cardiac_data_has_no_groups_and_says_why(tmp_path: Path) -> None:
    write_acdc(tmp_path, 7, *made_case(values=(1, 2, 3)))
    with pytest.raises(DatasetError, match="198 of 200"):
        quick(tmp_path, tmp_path / "out", dataset="acdc")
    prepared = open_dataset(tmp_path / "out")
    assert [case.name for case in prepared.cases] == ["patient007_ED", "patient007_ES"]
    with pytest.raises(ConfigError, match="slices of the heart show its structures together"):
        prepared.group("upper")


def test_nnunet_labels_and_modality_come_from_dataset_json(tmp_path: Path) -> None:
    source = write_nnunet(tmp_path / "raw", [made_case(n) for n in range(3)], {1: "a", 2: "b"})
    with pytest.raises(DatasetError, match=r"label values 3, 4 are unknown") as caught:
        quick(source, tmp_path / "out", dataset="nnunet")
    assert "2 of 3 cases failed" in str(caught.value)
    names = dict(enumerate("abcd", start=1))
    write_nnunet(source, [made_case(n) for n in range(3)], names)
    prepared = quick(source, tmp_path / "out", dataset="nnunet")
    assert prepared.labels == names and [c.labelled for c in prepared.cases] == [True, True, False]


def test_a_folder_keeps_the_whole_field_of_view_and_a_data_set_crops(tmp_path: Path) -> None:
    write_nifti(made_case()[0], tmp_path / "raw/image_1.nii.gz")
    write_nifti(made_case()[1], tmp_path / "raw/label_1.nii.gz")
    fitted = quick(tmp_path / "raw", tmp_path / "fit", spacing_mm=1.0).cases[0]
    assert 1.3 < fitted.spacing[1] <= 1.4  # 48 rows of 1.4 mm in 48 pixels, less rows of air
    crop = {"size": 24, "overflow": "crop"}
    cropped = prepare(
        tmp_path / "raw", tmp_path / "crop", spacing_mm=1.0, changes=crop, quiet=True
    ).cases[0]
    assert cropped.spacing[1:] == pytest.approx((1, 1)) and cropped.image.shape[1:] == (24, 24)


def test_a_set_scaled_by_pixels_tells_segment_the_median_spacing(tmp_path: Path) -> None:
    for number, mm in ((1, 1.0), (2, 1.1), (3, 1.4)):
        image, labels = made_case(number, spacing=(5.0, mm, mm))
        write_nifti(image, tmp_path / f"raw/image_{number}.nii.gz")
        write_nifti(labels, tmp_path / f"raw/label_{number}.nii.gz")
    prepared = quick(tmp_path / "raw", tmp_path / "out", dataset="lineage")
    spacings = [case.spacing[1] for case in prepared.cases]
    assert spacings == pytest.approx([1.0, 1.1, 1.4])
    assert prepared.preprocessing["spacing_mm"] == pytest.approx(1.1)


def test_wrong_rules_are_refused(pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="above 0"):
        prepare(pairs, tmp_path / "out", changes={"size": -3}, quiet=True)
    with pytest.raises(ConfigError, match="--dataset sab: choose one of"):
        prepare(pairs, tmp_path / "out", dataset="sab", quiet=True)
    assert not (tmp_path / "out").exists()


def test_nothing_of_the_data_set_is_there(pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no scan of CHAOS T2-SPIR \(Abd-MRI\) found"):
        quick(pairs, tmp_path / "out", dataset="chaost2")


@pytest.mark.slow
def test_real_chaos_and_acdc_prepare(real_scans: Callable[[str], Path], tmp_path: Path) -> None:
    """Two scans of each, linked so that nothing is copied; ACDC also in its raw layout."""
    chaos, acdc = real_scans("chaos_t2spir"), real_scans("acdc_ed")
    for number in ("01", "39"):
        for kind in ("image", "label"):
            name = f"{kind}_{number}.nii.gz"
            (tmp_path / "chaos").mkdir(exist_ok=True)
            (tmp_path / "chaos" / name).symlink_to(chaos / name)
    with pytest.raises(DatasetError, match="18 of 20"):
        prepare(tmp_path / "chaos", tmp_path / "a", dataset="chaost2-lineage", quiet=True)
    for case in open_dataset(tmp_path / "a").cases:
        assert case.image.shape[1:] == (256, 256)
        assert case.spacing == pytest.approx((7.7, 1.25, 1.25), rel=1e-3)
        assert set(np.unique(case.label).tolist()) == {0, 1, 2, 3, 4}
        assert 15 <= int(case.supervoxels.max()) <= 45
    for number in ("001", "081"):
        place = tmp_path / "acdc" / f"patient{number}"
        place.mkdir(parents=True)
        for frame in ("01", "12"):
            for kind, ending in (("image", ""), ("label", "_gt")):
                link = place / f"patient{number}_frame{frame}{ending}.nii.gz"
                link.symlink_to(acdc / f"{kind}_{number}.nii.gz")
        (place / "Info.cfg").write_text("ED: 1\nES: 12\n")
    with pytest.raises(DatasetError, match="196 of 200"):
        prepare(tmp_path / "acdc", tmp_path / "b", dataset="acdc", quiet=True)
    for case in open_dataset(tmp_path / "b").cases:
        assert set(np.unique(case.label).tolist()) == {0, 1, 2, 3}
        assert (
            json.loads((case.folder / "case.json").read_text())["rules"]["supervoxel_size"] == 1000
        )
