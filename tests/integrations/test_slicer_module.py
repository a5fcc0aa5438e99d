"""The 3D Slicer module as far as it goes without Slicer: its files, and its logic."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest

from dpcenet.volumes.io import read_volume
from dpcenet.volumes.scan_file import Labels
from dpcenet.volumes.write_masks import write_mask
from made_scans import write_scans

FOLDER = Path(__file__).parents[2] / "integrations" / "slicer"
MODULE = FOLDER / "DpcenetSegment"


class Base:
    """Stands for Slicer's base classes."""

    def __init__(self, parent: Any = None) -> None:
        self.parent = parent


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module with a stand-in for Slicer that notes what is loaded."""
    slicer, scripted = ModuleType("slicer"), ModuleType("slicer.ScriptedLoadableModule")
    for part in ("", "Logic", "Test", "Widget"):
        setattr(scripted, f"ScriptedLoadableModule{part}", type(f"Base{part}", (Base,), {}))
    loaded: list[str] = []

    def load(path: str, _: Any = None) -> Any:
        loaded.append(Path(path).name)
        display = SimpleNamespace(SetVisibility=lambda shown: loaded.append(f"shown {shown}"))
        return SimpleNamespace(
            SetName=loaded.append,
            SetReferenceImageGeometryParameterFromVolumeNode=lambda volume: None,
            GetDisplayNode=lambda: display,
        )

    slicer.util = SimpleNamespace(  # type: ignore[attr-defined]
        startupEnvironment=lambda: dict(os.environ),
        saveNode=lambda node, path: bool(node.save(Path(path))),
        loadVolume=load,
        loadSegmentation=load,
    )
    monkeypatch.setitem(sys.modules, "slicer", slicer)
    monkeypatch.setitem(sys.modules, "slicer.ScriptedLoadableModule", scripted)
    monkeypatch.syspath_prepend(str(MODULE))
    monkeypatch.delitem(sys.modules, "DpcenetSegment", raising=False)
    found = importlib.import_module("DpcenetSegment")
    found.loaded = loaded  # type: ignore[attr-defined]
    return found


def test_the_panel_has_every_widget_that_the_code_uses() -> None:
    tree = ElementTree.parse(MODULE / "Resources" / "UI" / "DpcenetSegment.ui")
    named = {widget.get("name") for widget in tree.iter("widget")}
    used = set(re.findall(r"self\.ui\.(\w+)", (MODULE / "DpcenetSegment.py").read_text("utf-8")))
    assert used and used <= named
    selectors = {
        w.get("name") for w in tree.iter("widget") if w.get("class") == "qMRMLNodeComboBox"
    }
    assert selectors == {
        each.findtext("receiver") for each in tree.iter("connection")
    }  # of a scene
    custom = {each.findtext("class") for each in tree.iter("customwidget")}
    assert {
        w.get("class") for w in tree.iter("widget") if not w.get("class", "").startswith("Q")
    } <= custom


SLICER = """
set(Slicer_USE_FILE "${CMAKE_CURRENT_LIST_DIR}/use.cmake")
set(Slicer_EXTENSION_GENERATE_CONFIG "${CMAKE_CURRENT_LIST_DIR}/nothing.cmake")
set(Slicer_EXTENSION_CPACK "${CMAKE_CURRENT_LIST_DIR}/nothing.cmake")
"""
USE = """
function(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(MY "WITH_GENERIC_TESTS" "NAME" "SCRIPTS;RESOURCES" ${ARGN})
  foreach(file ${MY_SCRIPTS} ${MY_RESOURCES})
    if(NOT EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/${file}")
      message(FATAL_ERROR "no file ${file}")
    endif()
  endforeach()
  message(STATUS "module ${MY_NAME} of ${MY_SCRIPTS} ${MY_RESOURCES}${MY_UNPARSED_ARGUMENTS}")
endfunction()
"""


def program(*names: str) -> str:
    """The first of these programs that is installed, here or beside Python."""
    beside = str(Path(sys.executable).parent)
    found = [shutil.which(name, path=path) for name in names for path in (None, beside)]
    if not any(found):
        pytest.skip(f"none of {', '.join(names)} is installed")
    return next(filter(None, found))


def test_cmake_itself_reads_the_extension(tmp_path: Path) -> None:
    """With a stand-in for Slicer's package, which looks for the files that are named."""
    for name, text in (("SlicerConfig", SLICER), ("use", USE), ("nothing", "")):
        (tmp_path / f"{name}.cmake").write_text(text)
    command = [program("cmake"), "-S", FOLDER, "-B", tmp_path / "build", f"-DSlicer_DIR={tmp_path}"]
    done = subprocess.run([*command, "-Wno-dev"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (line,) = re.findall(r"-- module (.*)", done.stdout)
    name = MODULE.name
    assert line == f"{name} of {name}.py Resources/UI/{name}.ui"


def test_qt_itself_reads_the_panel() -> None:
    panel = MODULE / "Resources" / "UI" / "DpcenetSegment.ui"
    command = [program("pyside6-uic", "uic"), str(panel)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    used = set(re.findall(r"self\.ui\.(\w+)", (MODULE / "DpcenetSegment.py").read_text("utf-8")))
    assert all(name in done.stdout for name in used)


def test_slicers_base_classes_are_those_of_the_module(module: Any) -> None:
    """Slicer finds the parts of a module by their names."""
    shown = module.DpcenetSegment(SimpleNamespace())
    assert shown.parent.title and "not a medical device" in shown.parent.helpText
    for part in ("Widget", "Logic", "Test"):
        assert hasattr(module, f"DpcenetSegment{part}")


def test_from_a_labelled_scan_to_loaded_masks(module: Any, tmp_path: Path) -> None:
    """The real program, called as Slicer would call it."""
    scans, results = tmp_path / "scans", tmp_path / "results"
    (image, label), _ = write_scans(tmp_path / "all", 2)
    scans.mkdir()
    for path in (tmp_path / "all").glob("image_*"):
        path.rename(scans / path.name)
    drawn = read_volume(label)

    def save(path: Path) -> bool:
        write_mask(drawn.volume.data, path, drawn.grid, Labels({4: "spleen"}))
        return True

    stored = SimpleNamespace(GetFullNameFromFileName=lambda: str(scans / image.name))
    volume = SimpleNamespace(GetStorageNode=lambda: stored)
    logic = module.DpcenetSegmentLogic()
    source, labels = logic.save_labelled(volume, SimpleNamespace(save=save), results)
    program = tmp_path / "dpcenet"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m dpcenet "$@"\n')
    program.chmod(0o755)
    events: list[dict[str, Any]] = []
    logic.run(logic.command(str(program), scans, source, labels, results, True), events.append)
    assert events[0]["event"] == "state" and events[-1]["done"] == events[-1]["total"]
    found = logic.results(results)
    assert found and all(scan.is_file() and mask.is_file() for _, scan, mask in found)
    assert all(mask.name.endswith(".seg.nrrd") for _, _, mask in found)  # with names of labels
    assert logic.load(results) == len(found)
    assert module.loaded[0] == found[0][1].name and module.loaded.count("shown True") == 1
    with pytest.raises(RuntimeError, match="give pairs"):
        logic.run(
            [str(program), "segment", str(scans), "-o", str(results), "--support-image", "x"], print
        )


def test_a_program_that_is_not_there_is_named(module: Any, tmp_path: Path) -> None:
    missing = str(tmp_path / "dpcenet")
    with pytest.raises(RuntimeError, match=f"{missing}: cannot be started"):
        module.DpcenetSegmentLogic().run([missing], print)


def test_what_is_not_chosen_is_asked_for(module: Any, tmp_path: Path) -> None:
    logic = module.DpcenetSegmentLogic()
    with pytest.raises(ValueError, match="choose"):
        logic.save_labelled(None, None, tmp_path)
    unsaved = SimpleNamespace(GetStorageNode=lambda: None)
    with pytest.raises(ValueError, match="save it first"):
        logic.save_labelled(unsaved, SimpleNamespace(), tmp_path)
