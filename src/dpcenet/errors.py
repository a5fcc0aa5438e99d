"""The exception tree. Every message says which file or value, what was found, and what to do.

DpcenetError
├── InputError          something a person gave is wrong          (exit code 2)
│   ├── VolumeError     a scan or mask that cannot be used
│   │   └── NotAScanError   a mask where a scan belongs
│   ├── DatasetError    a prepared data set or a source folder
│   ├── ConfigError     a preset, an option or a flag
│   ├── WeightsError    a file of weights
│   └── TaskError       a task file
└── RunError            a run folder that is incomplete or damaged (exit code 2)
"""

from __future__ import annotations

from pathlib import Path


class DpcenetError(Exception):
    """Base of every error that this package raises on purpose."""


class InputError(DpcenetError):
    """Something a person gave cannot be used."""


class VolumeError(InputError):
    """A scan or a mask cannot be used.

    Args:
        path: the file, or a name for an array.
        found: what was found there.
        expected: what would have been right.
        remedy: what the person can do.
    """

    def __init__(self, path: Path | str, found: str, expected: str, remedy: str) -> None:
        super().__init__(one_line(f"{path}: {found}; expected {expected}. {remedy}"))
        self.path, self.found, self.expected, self.remedy = path, found, expected, remedy

    def __reduce__(self) -> tuple[type[VolumeError], tuple[Path | str, str, str, str]]:
        # The default pickles only the message, and worker processes send errors back.
        return type(self), (self.path, self.found, self.expected, self.remedy)


class NotAScanError(VolumeError):
    """A mask, or another result, stands where a scan belongs."""


def one_line(text: str) -> str:
    """The text without line breaks and what no terminal shows: a file's name or header may hold
    them, and a name that is no UTF-8 would raise where it is printed."""
    shown = text.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else " " for c in shown)


class DatasetError(InputError):
    """A source folder or a prepared data set cannot be used."""


class ConfigError(InputError):
    """A preset, an option or a flag has an unknown key or a wrong value."""


class WeightsError(InputError):
    """A file of weights is missing, damaged, or does not match the network."""


class TaskError(InputError):
    """A task file is damaged, of a newer format, or of another network."""


class RunError(DpcenetError):
    """A run folder is incomplete, damaged, or does not fit the data."""
