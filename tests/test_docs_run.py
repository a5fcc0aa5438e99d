"""The commands of the pages for readers, and of the tutorials, run as they are printed."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from documents import ROOT, blocks, commands
from dpcenet.__main__ import main
from dpcenet.data.phantom.phantom import write_phantoms

DOCS = ROOT / "docs"
PAGES: dict[str, tuple[int, list[str]]] = {  # number of scans that it needs, what it makes
    "for-clinical-engineers.md": (3, ["masks/review.html", "masks-task/image_02_seg.nii.gz"]),
    "for-researchers.md": (6, ["report/report.html", "masks-dpcenet/image_02_seg.nii.gz"]),
    "tutorials/first-segmentation.md": (2, ["masks/review.html", "demo/project/masks/review.html"]),
    "tutorials/reproduce-a-table.md": (0, ["small/report/report.html"]),
    "tutorials/add-a-method.md": (4, ["runs/panet/summary-paper.json"]),
    "tutorials/add-a-data-set.md": (2, ["prepared/inspect/index.html"]),
}
SHORTER = {"train": ["--steps", "2"], "adapt": ["--minutes", "0.001"]}


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "scans"
    write_phantoms(folder, 6, shape=(6, 48, 48), spacing=(14.0, 6.0, 6.0))
    return folder


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_run(
    page: str, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    count, made = PAGES[page]
    for place in (tmp_path / "scans", tmp_path / "demo" / "scans"):
        place.mkdir(parents=True)
        for path in sorted(scans.glob("image_*"))[:count] + sorted(scans.glob("label_*"))[:count]:
            shutil.copy(path, place)
    for plan in blocks(DOCS / page, "yaml"):
        (tmp_path / "plan.yaml").write_text(plan)
    typed = [line for block in blocks(DOCS / page, "bash") for line in block.splitlines()]
    runnable = [words for words in commands(DOCS / page) if _printed(words, typed)]
    assert len(runnable) == len(typed)
    for words in runnable:
        monkeypatch.setattr(sys, "argv", ["dpcenet", *words, *SHORTER.get(words[0], [])])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code, words
    for name in made:
        assert (tmp_path / name).is_file(), name


def _printed(words: list[str], lines: list[str]) -> bool:
    """Whether a command stands in a bash block; the indented ones need more than a test has."""
    return any(line.split()[1:] == words for line in lines)


def test_the_notebook_runs() -> None:
    path = DOCS / "tutorials" / "first-segmentation.ipynb"
    cells = json.loads(path.read_text())["cells"]
    assert not any(cell.get("outputs") for cell in cells)  # nothing of a run is kept
    client = pytest.importorskip("nbclient", reason="no nbclient (extra `docs`)")
    pytest.importorskip("ipykernel", reason="no ipykernel (extra `docs`)")
    nbformat = pytest.importorskip("nbformat")
    done = client.NotebookClient(nbformat.read(path, as_version=4), timeout=120).execute()
    last = [cell for cell in done.cells if cell.cell_type == "code"][-1]
    assert "liver" in last.outputs[0]["data"]["text/plain"]
