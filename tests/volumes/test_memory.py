"""Small files that claim much: a process that reads them all never takes 1 GB, and needs no torch.

The fuzzing has the same limit for every file (`tests/fuzz`).
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

MOST_MIB = 1024
MIB = 1 << 20

READ_ALL = """
import json, re, sys
from pathlib import Path
from dpcenet.errors import DpcenetError
from dpcenet.volumes.intensities import check_intensities
from dpcenet.volumes.io import read_volume
from dpcenet.volumes.scan_file import ReadOptions
from dpcenet.volumes.preprocess import Preprocessing, preprocess

said = {}
for path in map(Path, sys.argv[1:]):
    try:
        scan = read_volume(path, options=ReadOptions(spacing=(3.0, 1.0, 1.0)))
        check_intensities(scan.volume, path)
        preprocess(scan, Preprocessing.for_mr(spacing_mm=1.0))
    except DpcenetError as error:
        said[path.name] = str(error)
    else:
        said[path.name] = "read"
# Of this program alone; ru_maxrss would begin with what the process that started it held.
mib = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024
print(json.dumps({"said": said, "mib": mib, "torch": "torch" in sys.modules}))
"""


def same_again(block: bytes, count: int, head: bytes, wrapper: int) -> bytes:
    """`head` and `count` times `block` as a deflated stream, without deflating each of them."""
    packer = zlib.compressobj(9, zlib.DEFLATED, wrapper)
    start = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    once = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    return start + once * count + packer.flush()  # its sum is wrong, which is seen last


def nifti_head(shape: tuple[int, ...], kind: str) -> bytes:
    header = nib.Nifti1Header()
    header.set_data_dtype(kind)
    header.set_data_shape(shape)
    header.set_sform(np.diag([1.0, 1.0, 3.0, 1.0]), 1)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    return header.binaryblock + bytes(4)


def nifti_bomb(value: float, first: bytes = b"") -> bytes:
    """700 MB of one value in less than 1 MB."""
    head = nifti_head((512, 512, 700), "<f4") + first.ljust(MIB, b"\0") * bool(first)
    block = np.full(MIB // 4, value, "<f4").tobytes()
    return same_again(block, 700 - bool(first), head, 31)


def png_bomb(side: int) -> bytes:
    """A black picture of side × side pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        sum_ = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + sum_

    packer = zlib.compressobj(9)
    rows = packer.compress(bytes((side + 1) * 100)) + packer.flush()
    size = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    parts = (b"IHDR", size), (b"IDAT", rows), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def write_bombs(folder: Path) -> list[Path]:
    thin = np.arange(2 * 2 * 8000, dtype=np.int16).reshape(2, 2, 8000)
    nib.save(nib.Nifti1Image(thin, np.diag([100.0, 100.0, 1.0, 1.0])), folder / "thin.nii")
    nrrd = (
        b"NRRD0004\ntype: float\ndimension: 3\nsizes: 512 512 700\nendian: little\n"
        b"encoding: gzip\nspacings: 1 1 3\n"
    )
    some = np.arange(MIB // 4, dtype="<f4").tobytes()
    contents = {
        "nan.nii.gz": nifti_bomb(np.nan),
        "zeros.nii.gz": nifti_bomb(0.0),
        "some.nii.gz": nifti_bomb(0.0, some),
        "header.nii": nifti_head((32767, 32767, 32767), "<f8"),
        "header.nii.gz": same_again(bytes(1000), 1, nifti_head((32767, 32767, 3), "<f8"), 31),
        "zeros.nrrd": nrrd + b"\n" + same_again(bytes(MIB), 700, b"", 31),
        "keys.nrrd": nrrd + b"".join(b"k%d:=%s\n" % (i, b"v" * 900) for i in range(30_000)),
        "line.nrrd": nrrd + b"#" + b"x" * 30 * MIB,
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "picture").mkdir()
    (folder / "picture" / "0.png").write_bytes(png_bomb(30_000))
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        packed.writestr("a.nii", nifti_head((512, 512, 700), "<f4") + bytes(300 * MIB))
    return [
        folder / "thin.nii",
        *map(folder.joinpath, contents),
        folder / "picture",
        folder / "a.zip",
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems count memory in other ways")
def test_small_files_that_claim_much_take_little_memory(tmp_path: Path) -> None:
    paths = write_bombs(tmp_path)
    command = [sys.executable, "-c", READ_ALL, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert list(found["said"]) == [path.name for path in paths]
    assert "read" not in found["said"].values(), found
    assert all("\n" not in text for text in found["said"].values())
    assert found["mib"] < MOST_MIB, found
    assert not found["torch"]
