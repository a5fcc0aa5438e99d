"""A zip of one scan, as archives of hospitals hand it out: unpacked behind guards, then read."""

from __future__ import annotations

import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from dpcenet.errors import DpcenetError, VolumeError
from dpcenet.system.faults import out_of_space
from dpcenet.system.files import disk_errors
from dpcenet.system.words import counted
from dpcenet.volumes import size_guards as payload
from dpcenet.volumes.pictures import natural

MOST_FILES = 50_000
_ENCRYPTED = 0x1


@contextmanager
def unpacked(path: Path, max_bytes: int = payload.MAX_BYTES) -> Iterator[Path]:
    """A temporary folder with the files of a zip, removed at the end.

    Folders and files are numbered in the order of their names ("2" before "10"), so that no name
    can lead elsewhere.

    Args:
        path: the zip.
        max_bytes: cap on all files together, after decompression.

    Raises:
        VolumeError: it is damaged, locked, or holds more than it may.
        OSError: there is no room to unpack it.
    """
    payload.check_file(path)
    with tempfile.TemporaryDirectory(prefix="dpcenet-") as folder:
        try:
            with zipfile.ZipFile(path) as archive, disk_errors(Path(folder)):
                members = _members(archive, path, max_bytes)
                places = sorted({_folder(each) for each in members})
                for number, member in enumerate(members):
                    place = Path(folder) / f"{places.index(_folder(member)):06d}"
                    _unpack(archive, member, place, number)
        except (DpcenetError, MemoryError):
            raise
        except Exception as error:  # zipfile meets zlib.error, struct.error, EOFError and others
            if out_of_space(error):
                raise
            found = f"the zip cannot be read ({' '.join(str(error).split())[:200]})"
            raise VolumeError(path, found, "a whole zip", payload.COPY_AGAIN) from error
        yield Path(folder)


def _members(archive: zipfile.ZipFile, path: Path, max_bytes: int) -> list[zipfile.ZipInfo]:
    """The files of a zip that may be scans.

    Raises:
        VolumeError: too many, too large, locked, or a name that leads out of the folder.
    """
    listed = archive.infolist()
    if len(listed) > MOST_FILES:
        raise _refused(path, f"it holds {counted(len(listed), 'file')}", f"at most {MOST_FILES:,}")
    for each in listed:
        parts = PurePosixPath(each.filename.replace("\\", "/")).parts
        if (
            ".." in parts
            or each.filename.startswith(("/", "\\"))
            or any(":" in part for part in parts[:1])
        ):
            raise _refused(path, f"it holds {each.filename[:80]!r}", "names inside the zip")
        if stat.S_ISLNK(each.external_attr >> 16):
            raise _refused(path, f"{each.filename[:80]!r} is a link", "files")
        if each.flag_bits & _ENCRYPTED:
            raise _refused(path, "it is locked with a password", "an open zip")
    members = [each for each in listed if not each.is_dir() and not _hidden(each.filename)]
    total = sum(each.file_size for each in members)
    if total > max_bytes:
        raise _refused(path, f"its files take {total:,} bytes", f"at most {max_bytes:,}")
    payload.check_blank(path, total, path.stat().st_size)  # before the disk is filled with it
    return sorted(members, key=lambda each: natural(each.filename))


def _unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo, place: Path, number: int) -> None:
    """Write one file; never more than the zip's list says, which was counted."""
    place.mkdir(exist_ok=True)
    suffixes = "".join(PurePosixPath(member.filename).suffixes[-2:])[-12:]
    suffixes = suffixes if suffixes.isascii() and suffixes.isprintable() else ""
    with archive.open(member) as source, (place / f"{number:06d}{suffixes}").open("wb") as target:
        shutil.copyfileobj(source, target, payload.CHUNK)


def _folder(member: zipfile.ZipInfo) -> str:
    return str(PurePosixPath(member.filename.replace("\\", "/")).parent)


def _hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)


def _refused(path: Path, found: str, expected: str) -> VolumeError:
    return VolumeError(path, found, expected, "Unpack it yourself, and give the folder.")
