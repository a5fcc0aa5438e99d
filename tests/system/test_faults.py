"""A full disk and no memory, in whose words ever."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from dpcenet.data.prepare_case import save
from dpcenet.nn.tensor_files import save_tensors
from dpcenet.system.faults import mendable, out_of_memory, out_of_space
from dpcenet.system.files import whole_folder, write_atomically, write_json
from full_disk import full_disk

LIMIT = 50_000


def writers() -> dict[str, object]:
    import nibabel
    import SimpleITK as sitk

    noise = np.random.default_rng(0).integers(0, 30_000, (40, 40, 40)).astype(np.int16)
    image = nibabel.Nifti1Image(noise, np.eye(4))
    return {
        "a.json": lambda path: write_json(path, {"a": "x" * 100_000}),
        "a.npy": lambda path: write_atomically(path, partial(save, noise)),
        "a.safetensors": lambda path: save_tensors(path, {"a": torch.zeros(50_000)}, {}),
        "a.nii.gz": lambda path: write_atomically(path, lambda p: nibabel.save(image, p)),
        "a.mha": lambda path: write_atomically(
            path, lambda p: sitk.WriteImage(sitk.GetImageFromArray(noise), str(p))
        ),
    }


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", ["a.json", "a.npy", "a.safetensors", "a.nii.gz", "a.mha"])
def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with pytest.raises(OSError) as caught, full_disk(LIMIT):
        writers()[name](path)  # type: ignore[operator]
    assert out_of_space(caught.value) and caught.value.filename == str(path)
    assert not list(tmp_path.iterdir())
    text = mendable(caught.value)
    assert str(path) in text and "no space" in text and "again" in text


def test_no_memory_in_the_words_of_torch_numpy_and_the_system() -> None:
    with pytest.raises(RuntimeError) as torchs:
        torch.empty(1 << 60)
    with pytest.raises(MemoryError) as numpys:
        np.empty(1 << 60, np.uint8)
    for error in (torchs.value, numpys.value, OSError(errno.ENOMEM, "x"), torch.OutOfMemoryError()):
        assert out_of_memory(error), error
        assert "not enough memory" in mendable(error)
    for other in (RuntimeError("size mismatch"), ValueError("x"), OSError(errno.ENOENT, "x")):
        assert not out_of_memory(other) and not out_of_space(other) and not mendable(other)


@pytest.mark.parametrize("kind", ["below a file", "a link to nowhere", "a name without end"])
def test_a_place_where_nothing_can_be_written_is_named(tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "no" / "such")
    names = {"below a file": "file/a", "a link to nowhere": "link", "a name without end": "x" * 300}
    place = tmp_path / names[kind]
    with pytest.raises(OSError) as one:
        write_json(place / "a.json", {})
    with pytest.raises(OSError) as folder, whole_folder(place / "a"):
        pass
    for error in (one.value, folder.value):
        text = mendable(error)
        assert str(place) in text and "choose another folder" in text and ".partial" not in text


def test_a_drive_that_does_not_answer_is_named() -> None:
    error = OSError(errno.ESTALE, os.strerror(errno.ESTALE), "/net/scans/a.nii.gz")
    assert "/net/scans/a.nii.gz" in mendable(error) and "drive" in mendable(error)


def test_a_folder_is_whole_or_absent(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    for content in ("old", "new"):
        with whole_folder(folder) as partial:
            (partial / "a").write_text(content)
        assert (folder / "a").read_text() == content
    with pytest.raises(ValueError), whole_folder(folder) as partial:
        (partial / "a").write_text("half")
        raise ValueError
    assert (folder / "a").read_text() == "new" and list(tmp_path.iterdir()) == [folder]
    with whole_folder(folder):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_standard_output_that_cannot_be_written() -> None:
    command = [sys.executable, "-m", "dpcenet", "segment", "--help"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("dpcenet: "), done.stderr
    shell = f"{sys.executable} -m dpcenet segment --help >&-"
    assert subprocess.run(shell, shell=True, stderr=subprocess.PIPE).stderr == b""
    reader, writer = os.pipe()
    os.close(reader)
    closed = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert "Traceback" not in closed.stderr and "Exception ignored" not in closed.stderr
