"""The napari plugin: its manifest, and its layers without napari and without Qt."""

from __future__ import annotations

import importlib
import re
import sys
from concurrent.futures import Future
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml

from dpcenet.errors import ConfigError
from dpcenet.volumes.io import read_volume
from made_scans import write_scans

SOURCE = Path(__file__).parents[2] / "integrations" / "napari" / "src"
MANIFEST = SOURCE / "napari_dpcenet" / "napari.yaml"


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The plugin's modules, with stand-ins for napari's types."""
    monkeypatch.syspath_prepend(str(SOURCE))
    napari = ModuleType("napari")
    layers, types = ModuleType("napari.layers"), ModuleType("napari.types")
    layers.Image = layers.Labels = SimpleNamespace  # type: ignore[attr-defined]
    types.LayerDataTuple = tuple  # type: ignore[attr-defined]
    notes = ModuleType("napari.utils.notifications")
    shown: list[str] = []
    notes.show_error = shown.append  # type: ignore[attr-defined]
    for module in (napari, layers, types, ModuleType("napari.utils"), notes):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    for name in ("napari_dpcenet", "napari_dpcenet.layers", "napari_dpcenet.commands"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return SimpleNamespace(
        layers=importlib.import_module("napari_dpcenet.layers"),
        commands=importlib.import_module("napari_dpcenet.commands"),
        shown=shown,
    )


def test_the_manifest_names_what_is_there(plugin: Any) -> None:
    manifest = yaml.safe_load(MANIFEST.read_text("utf-8"))
    assert re.fullmatch(r"[^\W_].{1,88}[^\W_]", manifest["display_name"])  # as npe2 wants it
    parts = manifest["contributions"]
    for command in parts["commands"]:
        module, _, function = command["python_name"].partition(":")
        assert callable(getattr(importlib.import_module(module), function))
    known = {command["id"] for command in parts["commands"]}
    assert {each["command"] for each in (*parts["widgets"], *parts["readers"])} <= known


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_npe2_accepts_the_manifest() -> None:
    npe2 = pytest.importorskip("npe2", reason="npe2 is not installed (pip install npe2)")
    manifest = npe2.PluginManifest.from_file(MANIFEST)
    assert manifest.name == "napari-dpcenet" and len(manifest.contributions.widgets) == 2


def test_a_scan_is_read_with_its_spacing(plugin: Any, tmp_path: Path) -> None:
    image, _ = write_scans(tmp_path, 1)[0]
    read = plugin.layers.reader_of(str(image))
    ((data, settings, kind),) = read(str(image))
    volume = read_volume(image).volume
    assert kind == "image" and np.array_equal(data, volume.data)
    assert settings["scale"] == pytest.approx(volume.spacing)
    assert settings["metadata"]["dpcenet"]["scan"] == str(image)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert plugin.layers.reader_of(str(empty)) is None


def test_the_rest_is_segmented_and_shown_most_doubtful_first(plugin: Any, tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    pairs = write_scans(tmp_path / "all", 2)
    scans.mkdir()
    for image, _ in pairs:
        image.rename(scans / image.name)
    labels = read_volume(pairs[0][1]).volume.data
    scan = SimpleNamespace(metadata={}, source=SimpleNamespace(path=str(scans / "image_01.nii.gz")))
    drawn = SimpleNamespace(data=labels)
    future = plugin.commands.segment_rest(scan, drawn, scans, tmp_path / "masks", fast=True)
    assert isinstance(future, Future)
    layers = future.result(120)
    kinds = [kind for _, _, kind in layers]
    assert kinds == ["image", "labels"] * (len(layers) // 2) and len(layers) >= 2
    masks = [settings for _, settings, kind in layers if kind == "labels"]
    doubts = [
        min(each["dice"] for each in settings["metadata"]["dpcenet"]["review"].values())
        for settings in masks
    ]
    assert doubts == sorted(doubts)
    assert [settings["visible"] for settings in masks] == [True] + [False] * (len(masks) - 1)
    assert all(
        mask.shape == image.shape
        for (image, _, _), (mask, _, _) in zip(layers[::2], layers[1::2], strict=True)
    )
    again = plugin.commands.review(tmp_path / "masks")
    assert [settings["name"] for _, settings, _ in again] == [s["name"] for _, s, _ in layers]


def test_labels_of_another_scan_are_refused(plugin: Any, tmp_path: Path) -> None:
    image, _ = write_scans(tmp_path, 1)[0]
    wrong = np.ones((2, 3, 4), np.uint8)
    with pytest.raises(ConfigError, match="draw them on this scan"):
        plugin.layers.segmented_layers(str(image), wrong, tmp_path, tmp_path / "masks")
    with pytest.raises(ConfigError, match="has no file"):
        plugin.layers.segmented_layers(None, wrong, tmp_path, tmp_path / "masks")


def test_what_cannot_be_segmented_is_shown(plugin: Any, tmp_path: Path) -> None:
    """napari says nothing of an error in a future."""
    scan = SimpleNamespace(metadata={}, source=SimpleNamespace(path=None))
    drawn = SimpleNamespace(data=np.ones((2, 3, 4), np.uint8))
    future = plugin.commands.segment_rest(scan, drawn, tmp_path, tmp_path / "masks")
    assert future.result(60) == []
    (text,) = plugin.shown
    assert "has no file" in text
