"""What `import dpcenet` gives, and the code of docs/python.md as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import dpcenet
from dpcenet import errors
from dpcenet.data.phantom.phantom import write_phantoms

DOCUMENT = Path(__file__).parents[1] / "docs" / "python.md"


def test_the_package_lists_what_it_has_without_importing_it() -> None:
    code = "import sys, dpcenet; print(*dir(dpcenet)); print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names, loaded = done.stdout.splitlines()
    assert names.split() == sorted(dpcenet.__all__) and loaded == "False"
    for name in dpcenet.__all__:
        assert getattr(dpcenet, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'sgement'"):
        dpcenet.sgement  # noqa: B018


def test_every_error_can_be_caught_by_its_name_in_the_package() -> None:
    kinds = [each for each in vars(errors).values() if isinstance(each, type)]
    raised = [each for each in kinds if issubclass(each, errors.DpcenetError)]
    assert len(raised) > 5
    assert all(getattr(dpcenet, each.__name__) is each for each in raised)


def code_blocks() -> list[str]:
    """The Python of the document, a text for each block."""
    return re.findall(r"```python\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)


@pytest.mark.filterwarnings("ignore")  # those of other libraries about themselves
@pytest.mark.parametrize("network", ["copy", pytest.param("shipped", marks=pytest.mark.slow)])
def test_the_documents_code_runs(
    network: str, copier: dpcenet.Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if network == "copy":  # in a second, and not in a minute
        monkeypatch.setattr(dpcenet.Segmenter, "shipped", staticmethod(lambda *_: copier))
    pairs = write_phantoms(tmp_path, 3, shape=(8, 64, 64), spacing=(11.0, 4.5, 4.5))
    (labelled, labels), (scan, _), (other, _) = pairs
    labelled.rename(tmp_path / "labelled.nii.gz")
    labels.rename(tmp_path / "labels.nii.gz")
    (tmp_path / "scans").mkdir()
    other.rename(tmp_path / "scans" / "other.nii.gz")
    scan.rename(tmp_path / "scan.nii.gz")
    monkeypatch.chdir(tmp_path)
    shared: dict[str, object] = {}
    left_out = []
    for block in code_blocks():
        try:
            exec(block, shared)
        except ModuleNotFoundError as error:
            assert error.name in {"monai", "torchio"}, block
            left_out.append(error.name)
    assert (tmp_path / "mask.nii.gz").is_file()
    if left_out:
        pytest.skip(f"all but the blocks of {', '.join(left_out)} ran: not installed")
