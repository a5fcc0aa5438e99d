"""The list of scans, and voxels in parts."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from dpcenet.app.project import Project
from dpcenet.app.server import create_app
from dpcenet.app.session import Session
from dpcenet.data.phantom.phantom import phantom
from dpcenet.volumes.io import read_volume
from dpcenet.volumes.scan_file import Labels
from dpcenet.volumes.write_masks import write_mask


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two scans stored in odd orders of axes, a damaged one, and a mask that is no scan."""
    place = tmp_path / "scans" / "deep"
    place.mkdir(parents=True)
    for number, axes in enumerate(("RAS", "PIR"), start=1):
        image, label = phantom(number, (12, 30, 40), (6.0, 4.0, 3.0), axes=axes)
        for name, volume in (("image", image), ("label", label)):
            affine = volume.affine[:, [2, 1, 0, 3]]
            stored = nibabel.Nifti1Image(volume.data.T, affine)
            nibabel.save(stored, place / f"{name}_{number:02d}.nii.gz")
    (place / "image_03.nii.gz").write_bytes((place / "image_01.nii.gz").read_bytes()[:400])
    return tmp_path / "scans"


@pytest.fixture
def client(folder: Path, tmp_path: Path) -> Iterator[TestClient]:
    project = Project.open(folder, tmp_path / "project")
    with TestClient(create_app(Session(project))) as made:
        yield made


def ids(client: TestClient) -> dict[str, str]:
    return {scan["name"]: scan["id"] for scan in client.get("/api/scans").json()["scans"]}


def test_scans_and_what_is_wrong_with_them(client: TestClient) -> None:
    known = ids(client)
    assert sorted(known) == ["deep/image_01", "deep/image_02", "deep/image_03"]
    facts = client.get(f"/api/scans/{known['deep/image_01']}").json()
    assert facts["modality"] == "mr" and sorted(facts["shape"]) == [12, 30, 40]
    damaged = client.get(f"/api/scans/{known['deep/image_03']}")
    assert damaged.status_code == 422 and "image_03.nii.gz" in damaged.json()["detail"]
    assert client.get("/api/scans/none").status_code == 404


@pytest.mark.parametrize("name", ["deep/image_01", "deep/image_02"])
def test_planes_lie_where_the_affine_says(client: TestClient, folder: Path, name: str) -> None:
    """Every shown voxel against nibabel's voxel at the same place in mm."""
    path = f"/api/scans/{ids(client)[name]}"
    facts = client.get(path).json()
    stored = nibabel.load(folder / f"{name}.nii.gz")
    z, y, x = facts["shape"]
    for axis in range(3):
        data = client.get(f"{path}/image/{axis}/0?count={facts['shape'][axis]}").content
        moved = np.frombuffer(data, "<i2").reshape(np.moveaxis(np.empty((z, y, x)), axis, 0).shape)
        shown = np.moveaxis(moved, 0, axis)
        index = np.stack(np.meshgrid(*map(np.arange, (z, y, x)), indexing="ij"), -1).reshape(-1, 3)
        mm = np.c_[index, np.ones(len(index))] @ np.array(facts["affine"]).T
        ijk = np.rint(mm @ np.linalg.inv(stored.affine).T)[:, :3].astype(int)
        assert np.array_equal(shown.ravel(), np.asarray(stored.dataobj)[tuple(ijk.T)])


def test_planes_that_are_not_there(client: TestClient) -> None:
    path = f"/api/scans/{ids(client)['deep/image_01']}"
    for wrong in ("image/3/0", "image/0/-1", "image/0/99", "image/0/0?count=0", "labels/0/99"):
        assert client.get(f"{path}/{wrong}").status_code == 404
    assert client.get(f"{path}/probability/1/0/0").status_code == 404


def test_files_come_in_ranges_and_are_nifti(client: TestClient) -> None:
    path = f"/api/scans/{ids(client)['deep/image_01']}"
    whole = client.get(f"{path}/image.nii").content
    part = client.get(f"{path}/image.nii", headers={"Range": "bytes=100-199"})
    assert part.status_code == 206 and part.content == whole[100:200]
    opened = nibabel.Nifti1Image.from_bytes(whole)
    facts = client.get(path).json()
    assert list(opened.shape[::-1]) == facts["shape"]
    assert np.allclose(opened.affine[:, [2, 1, 0, 3]], facts["affine"], atol=1e-3)
    assert not np.asarray(
        nibabel.Nifti1Image.from_bytes(client.get(f"{path}/labels.nii").content).dataobj
    ).any()


def test_a_picture_of_each_scan(client: TestClient) -> None:
    answer = client.get(f"/api/scans/{ids(client)['deep/image_02']}/thumbnail.png")
    picture = np.asarray(Image.open(BytesIO(answer.content)))
    assert picture.shape == (160, 160) and picture.std() > 10


def test_a_scan_that_changed_is_read_anew(client: TestClient, folder: Path) -> None:
    path = f"/api/scans/{ids(client)['deep/image_01']}"
    before = client.get(path).json()
    shutil.copy(folder / "deep" / "image_02.nii.gz", folder / "deep" / "image_01.nii.gz")
    after = client.get(path).json()
    assert before["affine"] != after["affine"]


def test_a_drawing_of_another_scan_is_refused_and_can_be_put_aside(
    client: TestClient, folder: Path, tmp_path: Path
) -> None:
    path = f"/api/scans/{ids(client)['deep/image_01']}"
    right = (folder / "deep" / "label_01.nii.gz").read_bytes()
    client.put(f"{path}/mask?name=m.nii.gz", content=right)
    shutil.copy(folder / "deep" / "image_02.nii.gz", folder / "deep" / "image_01.nii.gz")
    refused = client.get(path)
    assert refused.status_code == 422 and "image_01_seg.nii.gz" in refused.json()["detail"]
    assert client.delete(f"{path}/labels").status_code == 200
    assert client.get(path).json()["drawn"] == []
    assert len(list((tmp_path / "project" / "removed").rglob("image_01_seg.nii.gz"))) == 1


def test_a_mask_from_a_file_must_lie_on_the_scan(client: TestClient, folder: Path) -> None:
    path = f"/api/scans/{ids(client)['deep/image_01']}"
    right, wrong = (folder / "deep" / f"label_0{n}.nii.gz" for n in (1, 2))
    refused = client.put(f"{path}/mask?name=m.nii.gz", content=wrong.read_bytes())
    assert refused.status_code == 422 and "grid" in refused.json()["detail"]
    assert client.put(f"{path}/mask?name=m.txt", content=b"x").status_code == 422
    taken = client.put(f"{path}/mask?name=m.nii.gz", content=right.read_bytes())
    assert taken.status_code == 200 and client.get(path).json()["state"] == "labelled"
    names = [label["name"] for label in client.get("/api/labels").json()["labels"]]
    assert names == [f"label {n}" for n in (1, 2, 3, 4)]
    client.delete(f"{path}/labels")
    assert client.get(path).json()["state"] == "none"
    assert not client.get(f"{path}/extent").json()["slices"][6]


def named(folder: Path, place: Path, names: dict[int, str]) -> bytes:
    """A .seg.nrrd of the second scan's labels with names."""
    label = read_volume(folder / "deep" / "label_02.nii.gz")
    write_mask(label.volume.data, place, label.grid, Labels(names))
    return place.read_bytes()


def voxels(client: TestClient, path: str) -> dict[str, int]:
    """Name → how many voxels have the label."""
    labels = nibabel.Nifti1Image.from_bytes(client.get(f"{path}/labels.nii").content)
    counts = np.bincount(np.asarray(labels.dataobj).ravel().astype(int), minlength=256)
    known = client.get("/api/labels").json()["labels"]
    return {label["name"]: int(counts[label["value"]]) for label in known}


def test_labels_of_a_file_go_by_their_names(
    client: TestClient, folder: Path, tmp_path: Path
) -> None:
    """The first segment of a file may be what the project calls the second, or something new."""
    path = f"/api/scans/{ids(client)['deep/image_02']}"
    rows = [("spleen", 1), ("Right kidney", 2), ("label 4", 4)]
    labels = [{"name": name, "value": value, "colour": "#ff0000"} for name, value in rows]
    assert client.put("/api/labels", json=labels).status_code == 200
    stored = np.asarray(nibabel.load(folder / "deep" / "label_02.nii.gz").dataobj)
    count = np.bincount(stored.ravel().astype(int)).tolist()
    content = named(
        folder, tmp_path / "a.seg.nrrd", {1: "right_kidney", 2: "liver", 3: "Spleen", 4: "aorta"}
    )
    taken = client.put(f"{path}/mask?name=a.seg.nrrd", content=content)
    assert taken.status_code == 200, taken.text
    found = voxels(client, path)
    assert found == {
        **{"spleen": count[3], "Right kidney": count[1]},
        **{"liver": count[2], "aorta": count[4]},
    }
    plain = (folder / "deep" / "label_02.nii.gz").read_bytes()  # its values are the project's
    assert client.put(f"{path}/mask?name=b.nii.gz", content=plain).status_code == 200
    assert voxels(client, path)["spleen"] == count[1]


def test_names_of_a_file_hold_no_signs_for_the_terminal(
    client: TestClient, folder: Path, tmp_path: Path
) -> None:
    path = f"/api/scans/{ids(client)['deep/image_02']}"
    names = {1: "a\tb\x1b[31m", 2: "n" * 300, 3: "n" * 299 + "m", 4: "label 1"}
    content = named(folder, tmp_path / "a.seg.nrrd", names)
    taken = client.put(f"{path}/mask?name=a.seg.nrrd", content=content)
    assert taken.status_code == 200, taken.text
    known = [label["name"] for label in client.get("/api/labels").json()["labels"]]
    assert sorted(known) == ["a b [31m", "label 1", "label 3", "n" * 60]


def test_a_mask_that_counts_from_1_is_noted_and_a_refused_one_has_its_name(
    client: TestClient, folder: Path, tmp_path: Path
) -> None:
    path = f"/api/scans/{ids(client)['deep/image_01']}"
    label = nibabel.load(folder / "deep" / "label_01.nii.gz")
    data = np.asarray(label.dataobj)
    for name, changed in (("one.nii", data + 1), ("half.nii", data * 0.5)):
        nibabel.save(nibabel.Nifti1Image(changed.astype(np.float32), label.affine), tmp_path / name)
    contents = {name: (tmp_path / name).read_bytes() for name in ("one.nii", "half.nii")}
    taken = client.put(f"{path}/mask?name=one.nii", content=contents["one.nii"])
    assert taken.status_code == 200 and "if it is the background" in taken.json()["notes"][0]
    refused = client.put(f"{path}/mask?name=C:/x/half.nii", content=contents["half.nii"])
    assert refused.status_code == 422
    assert refused.json()["detail"].startswith("half.nii: there are values that are no whole")


def test_nothing_is_written_beside_the_scans(client: TestClient, folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    for scan in ids(client).values():
        client.get(f"/api/scans/{scan}")
        client.put(f"/api/scans/{scan}/labels/0/0", content=b"")
    assert sorted(folder.rglob("*")) == before
