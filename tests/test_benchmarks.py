"""The table of works, its runner and its page: on made programs that take no time, and on one of
each kind of real work, with small made patients."""

from __future__ import annotations

import json
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from dpcenet import Volume
from dpcenet.data.phantom.phantom import phantom
from dpcenet.volumes.nifti import write_nifti
from dpcenet.volumes.scan_file import SourceGrid

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
MODULES = ("speed", "page", "works", "turn", "stages")


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, ModuleType]]:
    """The scripts as modules, by name."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import importlib

    yield {name: importlib.import_module(name) for name in MODULES}
    for name in MODULES:
        sys.modules.pop(name)


def speed(*arguments: object) -> str:
    command = [sys.executable, str(BENCHMARKS / "speed.py"), *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def measured(out: Path, *arguments: object, part: str = "works") -> dict[str, Any]:
    """The rows of a small run."""
    shown = speed(*arguments, "--tiny", "--out", out)
    assert "left out" not in shown, shown
    name = "gpu.json" if part == "gpu" else "speed.json"
    rows: dict[str, Any] = json.loads((out / name).read_text())[part]
    return rows


# The runner -------------------------------------------------------------------------------------


def made_checkout(folder: Path, seconds: float) -> Path:
    """A checkout whose `dpcenet` does nothing but wait."""
    package = folder / "src" / "dpcenet"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(f"import time\ntime.sleep({seconds})\n")
    return folder


def runner(scripts: dict[str, ModuleType], place: Path, minutes: float = 5.0) -> Any:
    ends = scripts["speed"].time.monotonic() + 60 * minutes
    made = scripts["speed"].Runner(place, [], True, ends, hidden=True)
    made.scores = lambda commands, outs: {}
    return made


def test_two_checkouts_run_by_turns(
    scripts: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = made_checkout(tmp_path / "quick", 0.0)
    slow = made_checkout(tmp_path / "slow", 0.5)
    monkeypatch.setattr(scripts["speed"], "ROOT", quick)
    order: list[Path] = []
    made = runner(scripts, tmp_path)
    turn = made.turn
    made.turn = lambda words, checkout, out: order.append(checkout) or turn(words, checkout, out)
    row = made.row(scripts["works"].WORKS["start"], 3, slow)
    assert order == [quick, slow] * 3 and row["turns"] == 3
    assert row["theirs"]["seconds"] > 0.5 and row["low"] <= row["ratio"] <= row["high"]
    assert row["ours"]["GB"] > 0  # at least what the process that begins it holds


def test_an_older_commit_that_fails_is_named(
    scripts: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = made_checkout(tmp_path / "quick", 0.0)
    wrong = made_checkout(tmp_path / "wrong", 0.0)
    (wrong / "src" / "dpcenet" / "__main__.py").write_text("raise SystemExit('too large')")
    monkeypatch.setattr(scripts["speed"], "ROOT", quick)
    work = scripts["works"].WORKS["start"]
    row = runner(scripts, tmp_path).row(work, 2, wrong)
    assert row["turns"] == 2 and row["theirs failed"] == "too large" and "ratio" not in row
    row |= {"way": {"against": "abc"}}
    assert "| too large |" in scripts["page"].page({"against": {"start": row}})
    with pytest.raises(scripts["speed"].FailedError, match="too large"):
        monkeypatch.setattr(scripts["speed"], "ROOT", wrong)
        runner(scripts, tmp_path).row(work, 2, quick)


def test_what_a_turn_costs_is_told_in_medians(scripts: dict[str, ModuleType]) -> None:
    turns = [{"seconds": s, "cpu": s, "GB": s, "loss": s} for s in (1.0, 5.0, 2.0)]
    other = [{"seconds": 2 * t["seconds"], "cpu": 4 * t["cpu"], "GB": 1.0} for t in turns]
    other[1]["seconds"] = 50.0
    row = scripts["speed"].summary({"ours": turns, "theirs": other})
    assert row["ours"] == {"seconds": 2.0, "cpu": 2.0, "GB": 5.0, "loss": 2.0}
    assert (row["ratio"], row["low"], row["high"], row["cpu_ratio"]) == (2.0, 2.0, 10.0, 4.0)
    assert "ratio" not in scripts["speed"].summary({"ours": turns})


def test_a_turn_that_fails_says_why_in_one_line(
    scripts: dict[str, ModuleType], tmp_path: Path
) -> None:
    made = runner(scripts, tmp_path)
    wrong = made_checkout(tmp_path / "wrong", 0.0)
    (wrong / "src" / "dpcenet" / "__main__.py").write_text("raise SystemExit('a\\nno scan')")
    with pytest.raises(scripts["speed"].FailedError, match=r"^no scan$"):
        made.turn(["dpcenet"], wrong, tmp_path)


def test_minutes_end_a_turn_that_goes_on(scripts: dict[str, ModuleType], tmp_path: Path) -> None:
    endless = made_checkout(tmp_path / "endless", 600.0)
    made = runner(scripts, tmp_path, minutes=1 / 60)
    for _ in range(2):  # it is ended, and none is begun
        with pytest.raises(scripts["speed"].FailedError, match="minutes are over"):
            made.turn(["dpcenet"], endless, tmp_path)


def test_what_was_measured_in_the_same_way_is_not_measured_again(
    scripts: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = iter(range(100))
    row = {"turns": 5, "ours": {"seconds": 1.0}}
    monkeypatch.setattr(scripts["speed"].Runner, "row", lambda *_: {**row, "number": next(count)})
    monkeypatch.setattr(scripts["speed"], "commit", lambda _: "abc")

    def number(**options: Any) -> int:
        scripts["speed"].main(["start"], out=tmp_path, **options)
        found = json.loads((tmp_path / "speed.json").read_text())
        return int(found["works"]["start"]["number"])

    assert [number(), number(resume=True), number()] == [0, 0, 1]
    assert number(resume=True, trunk=tmp_path / "weights") == 2
    monkeypatch.setattr(scripts["speed"], "commit", lambda _: "def")
    assert number(resume=True) == 3


def test_a_commit_is_the_last_that_changed_the_code(
    scripts: dict[str, ModuleType], tmp_path: Path
) -> None:
    def git(*words: str) -> None:
        identity = ["-c", "user.name=n", "-c", "user.email=e@x"]
        command = ["git", "-C", str(tmp_path), *identity, *words]
        subprocess.run(command, check=True, capture_output=True)

    def write(name: str, text: str) -> str:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
        return str(scripts["speed"].commit(tmp_path))

    assert scripts["speed"].commit(tmp_path) == ""
    git("init", "-q")
    write("src/a.py", "1")
    write("docs/speed.json", "1")
    git("add", "-A")
    git("commit", "-qm", "one")
    first = scripts["speed"].commit(tmp_path)
    assert first and write("docs/speed.json", "2") == first
    git("commit", "-qam", "numbers")
    assert scripts["speed"].commit(tmp_path) == first
    assert write("src/a.py", "2") == f"{first}-dirty"


def test_words_in_braces_are_replaced(scripts: dict[str, ModuleType], tmp_path: Path) -> None:
    made = runner(scripts, tmp_path)
    asked: list[list[str]] = []

    def make(words: list[str], checkout: Path, out: Path) -> dict[str, str]:
        asked.append(words)
        return {"one": "'a scan.nii' b"}

    made.turn = make
    wanted = ["segment", "a scan.nii", "b", "0"]
    assert made.words("segment {one} {ten}") == wanted == made.words("segment {one} {ten}")
    assert [words[:2] for words in asked] == [["make", "one"]]  # once


def test_every_word_of_the_table_is_known(scripts: dict[str, ModuleType]) -> None:
    import inputs
    import turn

    known = {*scripts["works"].SIZES, *inputs.Inputs(Path(), None, None, None, True).made()}
    for name, work in scripts["works"].WORKS.items():
        for text in filter(None, (work.ours, work.theirs)):
            names = set(scripts["speed"].re.findall(r"{(\w+)}", text))
            assert names <= known, (name, names - known)
            first = text.split()[0]
            assert first == "dpcenet" or first == "steps" or first in turn.COMMANDS, name
    methods = {preset.split("/")[0] for preset in scripts["works"].PRESETS}
    for kind in ("segment", "step"):
        assert {n.split("-")[1] for n in scripts["works"].WORKS if n.startswith(kind)} == methods
    assert len(methods) == 8


def test_another_commit_has_no_alternatives(scripts: dict[str, ModuleType]) -> None:
    chosen = scripts["speed"].chosen
    assert {"chaos", "step-dpcenet"} <= chosen([], "against").keys()
    assert not {"register", "gpu-mr"} & chosen([], "against").keys()
    assert {"gpu-mr", "gpu-ct", "pretrain"} <= chosen([], "gpu").keys()
    assert len([name for name in chosen([], "gpu") if name.startswith("step-")]) == 8
    assert not any(work.theirs for n, work in chosen([], "gpu").items() if n.startswith("step-"))
    with pytest.raises(SystemExit, match="nothing: no such work"):
        chosen(["nothing"], "works")


# What a turn is made of, and its scores ---------------------------------------------------------


def test_scans_follow_the_labelled_one(scripts: dict[str, ModuleType], tmp_path: Path) -> None:
    from inputs import Inputs

    for number in ("01", "02", "19", "20"):
        (tmp_path / f"image_{number}.nii.gz").touch()
    words = Inputs(tmp_path, tmp_path, None, None, False).words("four").split()
    assert words[:4:2] == ["--support-image", "--support-mask"]
    names = [Path(word).name.removesuffix(".nii.gz") for word in (words[1], *words[3:])]
    assert names == ["image_19", "label_19", "image_20", "image_01", "image_02"]
    with pytest.raises(SystemExit, match=r"give --ct FOLDER"):
        Inputs(tmp_path, tmp_path, None, None, False).words("ct")


def test_masks_are_compared_with_each_other_and_the_truth(
    scripts: dict[str, ModuleType], tmp_path: Path
) -> None:
    labels = np.zeros((2, 4, 4), np.uint8)
    labels[:, :2], labels[:, 2:] = 1, 2
    half = labels.copy()
    half[0] = 0
    grid = SourceGrid.of(Volume(labels, np.eye(4)))
    named = {"ours/image_02_seg": labels, "theirs/image_02_seg": half, "label_02": labels}
    named |= {"ours/image_01_seg": half, "label_01": labels}  # the labelled scan does not count
    for name, data in named.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_nifti(data, tmp_path / f"{name}.nii.gz", grid)
    folders = [str(tmp_path / side) for side in ("ours", "theirs")]
    given = Namespace(words=folders, support_mask=tmp_path / "label_01.nii.gz")
    found = scripts["turn"].score(given)
    two_thirds = pytest.approx(2 / 3)
    assert found["Dice"] == found["least"] == two_thirds
    assert found["truth ours"] == {"mean": 1.0, "each": [1.0]}
    assert found["truth theirs"]["mean"] == two_thirds


def test_registered_labels_lie_where_the_scan_does(
    scripts: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import alternatives

    image, label = phantom(1, (5, 16, 20), (20.0, 16.0, 16.0), axes="IAR")
    paths = tmp_path / "image_01.nii.gz", tmp_path / "label_01.nii.gz"
    for path, volume in zip(paths, (image, label), strict=True):
        write_nifti(volume.data, path, SourceGrid.of(volume))
    monkeypatch.setattr(alternatives, "carry_labels", lambda labels, *_: labels)
    (found,) = alternatives.register(tmp_path, paths, [paths[0]])
    same = scripts["turn"].label_dices(found, paths[1])
    assert len(same) > 1 and set(same) == {1.0}


def test_labels_that_differ_are_not_compared(
    scripts: dict[str, ModuleType], tmp_path: Path
) -> None:
    made = runner(scripts, tmp_path)
    del made.scores
    asked: list[list[str]] = []
    made.turn = lambda words, checkout, out: asked.append(words) or {"seconds": 1, "Dice": 0.5}
    outs = [tmp_path / "ours", tmp_path / "theirs"]
    for masks in (("a", "a"), ("a", "b")):
        commands = [["dpcenet", "--support-mask", mask] for mask in masks]
        assert made.scores(commands, outs) == {"Dice": 0.5}
    assert [len(words) for words in asked] == [5, 4]  # both folders, and ours alone


# The page ---------------------------------------------------------------------------------------


def test_the_page_is_made_of_what_was_measured(scripts: dict[str, ModuleType]) -> None:
    side = {"seconds": 2.0, "cpu": 3.0, "GB": 0.5}
    row = {
        **{"turns": 5, "ours": side, "theirs": {**side, "seconds": 4.0}, "ratio": 2.0},
        **{"low": 1.5, "high": 2.5, "cpu_ratio": 1.9, "Dice": 0.9991, "least": 0.998},
        **{"truth ours": {"mean": 0.8}, "truth theirs": {"mean": 0.7}},
        "way": {"commit": "abc", "against": "def", "processor": "P", "threads": "2"},
    }
    page = scripts["page"].page
    text = page({"works": {"register": row}, "against": {"chaos": row}, "gpu": {"step-rpt": row}})
    assert "## What else one labelled scan can do" in text and "## What a person waits" not in text
    for cell in ("**2.00x** (1.50–2.50)", "2.000 / 4.000", "0.9991 (0.9980)", "0.800 / 0.700"):
        assert f"| {cell} |" in text, cell
    against, gpu = text.split("## Against another commit")[1].split("## On a GPU")
    assert "| def |" in against and "| 1.6x |" in against and "losses" not in against
    assert "| 55.6 |" in gpu  # hours of 100,000 steps of two seconds


def test_the_page_lies_as_its_numbers_do(tmp_path: Path) -> None:
    docs = BENCHMARKS.parent / "docs"
    for name in ("speed.json", "gpu.json"):
        if (docs / name).exists():
            (tmp_path / name).write_text((docs / name).read_text())
    speed("--table", "--out", tmp_path)
    assert (tmp_path / "speed.md").read_text() == (docs / "speed.md").read_text()


# Real works -------------------------------------------------------------------------------------


def test_a_program_is_measured_against_another_checkout(tmp_path: Path) -> None:
    rows = measured(tmp_path, "chaos", "--against", BENCHMARKS.parent, part="against")
    row = rows["chaos"]
    assert row["Dice"] == row["least"] == 1 and row["truth ours"] == row["truth theirs"]
    assert row["ours"]["seconds"] > 0 and row["ours"]["GB"] > 0.1
    assert (tmp_path / "speed.md").read_text().count("one CHAOS scan") == 1


@pytest.mark.slow
def test_a_long_scan_and_an_alternative(tmp_path: Path) -> None:
    works = ["register", *([] if find_spec("nnunetv2") else ["nnunet-10"])]
    speed("long", *works, "--tiny", "--out", tmp_path)
    rows = json.loads((tmp_path / "speed.json").read_text())["works"]
    assert rows["long"]["ours"]["GB"] > 0.1
    truths = [rows["register"][f"truth {side}"] for side in ("ours", "theirs")]
    assert all(0 < truth["mean"] <= 1 and len(truth["each"]) == 1 for truth in truths)
    if "nnunet-10" in works:
        said = rows["nnunet-10"]["theirs failed"]
        assert said == "nnunetv2 is not installed: pip install nnunetv2"


@pytest.mark.slow
def test_a_method_and_its_loop(tmp_path: Path) -> None:
    rows = measured(tmp_path, "segment-panet", "step-panet")
    segment, step = rows["segment-panet"], rows["step-panet"]
    smaller = (256 / 64) ** 2
    assert segment["theirs"]["GFLOP"] == pytest.approx(101.9 / smaller, rel=0.01)
    assert step["theirs"]["GFLOP"] == pytest.approx(305.3 / smaller, rel=0.01)
    parts = segment["ours"]["parts"]
    assert 0 < parts["imports"] <= parts["weights"] <= segment["ours"]["GB"]
    if "Dice float32" in segment:  # a network that nobody trained may find nothing
        assert segment["Dice float32"] > 0.999
    losses = step["theirs"]["losses"]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)
    assert step["ours"]["seconds"] > 0 and step["ours"]["GB"] > 0.1


def test_what_a_gpu_needs_runs_on_a_cpu(tmp_path: Path) -> None:
    rows = measured(tmp_path, "gpu-mr", "pretrain", "--gpu", "--minutes", 90, part="gpu")
    assert rows["gpu-mr"]["Dice"] > 0.95 and rows["pretrain"]["ours"]["seconds"] > 0
    assert "hours of 100,000" in (tmp_path / "speed.md").read_text()
