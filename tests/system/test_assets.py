"""Files of the package are found by their path below its folder of assets."""

from __future__ import annotations

from pathlib import Path

import dpcenet
from dpcenet.system.assets import asset, asset_names

ASSETS = Path(dpcenet.__file__).parent / "assets"


def test_an_asset_is_the_file_in_the_package() -> None:
    path = ASSETS / "presets" / "copy" / "plain.yaml"
    assert asset("presets/copy/plain.yaml").read_bytes() == path.read_bytes()
    assert not asset("presets/none.yaml").is_file()


def test_names_of_a_folder_leave_its_other_files_out() -> None:
    assert asset_names("models", ".md") == ["dpcenet", "incontext"]
    expected = {path.stem for path in (ASSETS / "plans").glob("*.yaml")}
    assert set(asset_names("plans", ".yaml")) == expected and len(expected) > 3
