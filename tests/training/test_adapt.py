"""Adapting keeps the better of before and after, and never looks at a label."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from dpcenet.data.store import open_dataset
from dpcenet.data.synthetic.pairs import PairOptions
from dpcenet.errors import DatasetError, RunError, WeightsError
from dpcenet.inference.predictor import Predictor
from dpcenet.methods.copy import Copy
from dpcenet.methods.copy import Options as CopyOptions
from dpcenet.methods.incontext.model import InContext, NetworkOptions
from dpcenet.methods.incontext.weights import load_network
from dpcenet.system.files import read_json
from dpcenet.training import adapt as module
from dpcenet.training import checked_training
from dpcenet.training.adapt import adapt, kept_state
from dpcenet.training.checked_training import AdaptOptions
from dpcenet.training.config import load_preset
from dpcenet.training.incontext_trainer import PretrainConfig
from dpcenet.training.pretrain import WEIGHTS, pretrain
from dpcenet.training.reverse_check import Check, reverse_check, stand_ins
from dpcenet.training.run_folder import RunFlags, open_run
from dpcenet.training.train import train
from made import write_prepared

QUICK = AdaptOptions(minutes=60, steps=2, checks=2, batch=2)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_prepared(tmp_path_factory.mktemp("data"), count=3, labelled=False)


def scripted(monkeypatch: pytest.MonkeyPatch, scores: list[float]) -> None:
    """Reverse checks that come out as written, the same in each of the two other scans."""
    left = iter([score for score in scores for _ in range(2)])
    checked_by(monkeypatch, lambda *_: next(left))


def checked_by(monkeypatch: pytest.MonkeyPatch, check: Callable[..., float]) -> None:
    """Reverse checks by a function, which need no encoded scan."""
    monkeypatch.setattr(checked_training, "encoded", lambda *_: None)
    monkeypatch.setattr(checked_training, "reverse_check", check)


class Clock:
    """A clock that goes on by some seconds whenever somebody looks at it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, step: float) -> None:
        self.now, self.step = 0.0, step
        monkeypatch.setattr(checked_training, "monotonic", self.look)

    def look(self) -> float:
        self.now += self.step
        return self.now


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return open_run(folder).load_method(torch.device("cpu")).state_dict()


def assert_shipped(folder: Path) -> None:
    """The run holds the network of the package."""
    shipped = module.build_shipped(module.ShippedOptions()).state_dict()
    assert all(torch.equal(v, shipped[k]) for k, v in weights_of(folder).items())


def test_a_gain_is_kept(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, [0.5, 0.7, 0.6])
    Clock(monkeypatch, 1.0)
    options = AdaptOptions(minutes=0.75, checks=2, batch=1)
    adapt(RunFlags(data), tmp_path / "run", options, quiet=True)
    history = read_json(tmp_path / "run" / "adapt.json")
    assert history["checked scans"] == 2
    before, first, second = (line["step"] for line in history["checks"])
    assert before == 0 < first < second
    assert history["kept"] == first
    assert f"step {first} is kept" in kept_state(tmp_path / "run")
    shipped = module.build_shipped(module.ShippedOptions()).state_dict()
    assert any(not torch.equal(v, shipped[k]) for k, v in weights_of(tmp_path / "run").items())


def test_without_a_gain_the_network_stays(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, [0.5, 0.4, 0.5])
    adapt(RunFlags(data), tmp_path / "run", QUICK, quiet=True)
    assert "did not help" in kept_state(tmp_path / "run")
    assert_shipped(tmp_path / "run")


def test_labels_are_not_looked_at(data: Path, tmp_path: Path) -> None:
    labelled = write_prepared(tmp_path / "labelled", count=3)
    one, two = (tmp_path / name for name in ("one", "two"))
    adapt(RunFlags(data), one, QUICK, quiet=True)
    adapt(RunFlags(labelled), two, QUICK, quiet=True)
    assert read_json(one / "adapt.json") == read_json(two / "adapt.json")
    first, second = weights_of(one), weights_of(two)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_pretrained_network_of_any_size_is_adapted(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = NetworkOptions(size=32, widths=(4, 8, 8, 8))
    pretrain(PretrainConfig(steps=1, batch=1, pairs=PairOptions(size=32), network=tiny), tmp_path)
    changes = (f"options.weights={tmp_path / WEIGHTS}", "options.size=32")
    own = load_preset("incontext/shipped", (*changes, "options.widths=[4, 8, 8, 8]"))
    run = train(own, RunFlags(data), tmp_path / "own", quiet=True)
    pretrained = load_network(tmp_path / WEIGHTS, tiny).state_dict()
    before = weights_of(run.folder)
    assert all(torch.equal(before[name], value) for name, value in pretrained.items())

    scripted(monkeypatch, [0.5, 0.6, 0.4])
    adapt(RunFlags(data), tmp_path / "adapted", QUICK, start=run.folder, quiet=True)
    adapted = open_run(tmp_path / "adapted").load_method(torch.device("cpu"))
    assert isinstance(adapted, InContext)
    assert adapted.options.size == 32
    made = read_json(tmp_path / "adapted" / "adapt.json")["options"]
    assert made["start"] == str(run.folder)
    assert made["batch"] == 2


def test_weights_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="nowhere"):
        module.build_shipped(module.ShippedOptions(str(tmp_path / "nowhere")))


def test_it_ends_early_when_nothing_is_gained(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, [0.5, 0.4])
    options = AdaptOptions(minutes=60, steps=9, checks=9, patience=1, batch=2)
    adapt(RunFlags(data), tmp_path / "run", options, quiet=True)
    assert len(read_json(tmp_path / "run" / "adapt.json")["checks"]) == 2


def test_a_second_time_is_refused(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, [0.5, 0.4, 0.3])
    adapt(RunFlags(data), tmp_path / "run", QUICK, quiet=True)
    with pytest.raises(RunError, match="was adapted before"):
        adapt(RunFlags(data), tmp_path / "run", QUICK, quiet=True)


def test_the_time_is_kept_in_all(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow checks become fewer, and are made in fewer scans, so that the training has its time."""
    clock = Clock(monkeypatch, 1.0)

    def slow(*_: object) -> float:
        clock.now += 6
        return 0.5

    checked_by(monkeypatch, slow)
    options = AdaptOptions(minutes=1, checks=8, patience=8, batch=1, made_up=100)
    adapt(RunFlags(data), tmp_path / "run", options, quiet=True)
    assert 50 <= clock.now <= 1.2 * 60
    history = read_json(tmp_path / "run" / "adapt.json")
    assert history["checked scans"] == 1 and 3 <= len(history["checks"]) <= 5
    assert history["checks"][-1]["step"] > 5


class Layers:
    """Checks that compute layer after layer, as on a busy machine: a layer takes a second.

    Args:
        clock: that goes on by a second whenever somebody looks at it.
        counts: layers of the first, second … check.
    """

    def __init__(self, clock: Clock, counts: list[int]) -> None:
        self.clock, self.counts, self.begun = clock, iter(counts), 0

    def check(self, predictor: Predictor, *_: object) -> float:
        self.begun += 1
        layer = next(each for each in predictor.method.modules() if not list(each.children()))
        layer.forward = lambda: None
        for _ in range(next(self.counts)):
            before = self.clock.now
            layer()
            assert self.clock.now > before  # nothing computes for long without a look at the clock
        return 0.5


def test_a_check_that_takes_longer_than_the_time_is_given_up(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch, 1.0)
    layers = Layers(clock, [10, 600])
    checked_by(monkeypatch, layers.check)
    adapt(RunFlags(data), tmp_path / "run", AdaptOptions(minutes=1, batch=1), quiet=True)
    assert layers.begun == 2 and 60 < clock.now <= 1.2 * 60
    assert "too short" in kept_state(tmp_path / "run")
    assert_shipped(tmp_path / "run")


def test_a_first_check_after_which_no_other_has_time_is_given_up(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch, 1.0)
    layers = Layers(clock, [600])
    checked_by(monkeypatch, layers.check)
    adapt(RunFlags(data), tmp_path / "run", AdaptOptions(minutes=1, batch=1), quiet=True)
    assert layers.begun == 1 and clock.now < 40
    assert "too short" in kept_state(tmp_path / "run")
    assert_shipped(tmp_path / "run")


def test_afterwards_the_network_looks_at_no_clock(data: Path, tmp_path: Path) -> None:
    method = Copy(CopyOptions())
    looks = list[int]()
    with checked_training.interrupted(method, lambda: looks.append(1)):
        pass
    assert not any(module._forward_pre_hooks for module in method.modules()) and not looks


def test_without_time_nothing_is_trained(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch alone took longer to load than the person has time."""
    scripted(monkeypatch, [])
    began = checked_training.monotonic() - 70
    adapt(RunFlags(data), tmp_path / "run", AdaptOptions(minutes=1), quiet=True, began=began)
    assert "too short" in kept_state(tmp_path / "run")
    assert_shipped(tmp_path / "run")


def test_killed_in_the_first_check_the_run_segments(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> float:
        raise KeyboardInterrupt

    checked_by(monkeypatch, killed)
    with pytest.raises(KeyboardInterrupt):
        adapt(RunFlags(data), tmp_path / "run", QUICK, quiet=True)
    assert_shipped(tmp_path / "run")


def test_one_scan_is_too_few(tmp_path: Path) -> None:
    data = write_prepared(tmp_path / "data", count=1, labelled=False)
    with pytest.raises(DatasetError, match="two scans"):
        adapt(RunFlags(data), tmp_path / "run", QUICK, quiet=True)


def test_the_reverse_check_of_copy_between_equal_scans_is_perfect(tmp_path: Path) -> None:
    """`copy` takes the mask there and back unchanged: between equal scans nothing is lost."""
    case = open_dataset(write_prepared(tmp_path, count=1)).cases[0]
    check = Check(case, np.asarray(case.label), (1, 2), (case,))
    method = Copy(CopyOptions()).eval()
    assert reverse_check(Predictor(method), check) == 1.0


def test_stand_ins_are_large_but_not_the_largest() -> None:
    supervoxels = np.repeat(np.arange(10), np.arange(30, 130, 10))[:, None, None]
    label = stand_ins(supervoxels)  # sizes 30 (outside), 40 … 120; 9 is the largest
    values = {int(v): int(supervoxels[label == v][0]) for v in np.unique(label) if v}
    assert list(values.values()) == [8, 7, 6, 5, 4, 3]
    assert np.count_nonzero(label) == sum((110, 100, 90, 80, 70, 60))
