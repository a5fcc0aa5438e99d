"""The bank of features: methods that share a trunk share the features, and none reads zeros."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dpcenet.data.store import PreparedDataset, open_dataset
from dpcenet.inference.encoded import encode_scan
from dpcenet.methods.base import Method
from dpcenet.methods.panet import Options
from dpcenet.methods.registry import build_method
from dpcenet.training.config import Config
from dpcenet.training.episodes import EpisodeSampler
from dpcenet.training.feature_cache import FeatureBank, KeptScans
from made import tiny_config, write_prepared

CPU = torch.device("cpu")


@pytest.fixture
def dataset(tmp_path: Path) -> PreparedDataset:
    return open_dataset(write_prepared(tmp_path / "data", count=2))


def tiny(method: str) -> Method:
    """DPCENet or PANet on one frozen trunk."""
    config: Config = tiny_config(frozen=True, views=2)
    options = config.options
    if method == "panet":
        options = Options(encoder=options.encoder, width=8)
    torch.manual_seed(0)
    return build_method(method, options)


def bank(dataset: PreparedDataset, method: Method) -> FeatureBank:
    sampler = EpisodeSampler(dataset.cases, tiny_config(views=2).episodes, seed=0)
    return FeatureBank(dataset, sampler, method, "float32", CPU, limit_gb=1)


def test_methods_with_one_trunk_read_the_same_features(dataset: PreparedDataset) -> None:
    """PANet's and DPCENet's files once had different names in one bank: one of them read zeros."""
    first = bank(dataset, tiny("panet"))
    second = bank(dataset, tiny("dpcenet"))
    for n in range(4):
        which = first.sampler.plan(n).support
        one, two = (b.features(which) for b in (first, second))
        (written,), (read,) = one.maps.values(), two.maps.values()
        assert torch.equal(written, read) and written.abs().sum() > 0
    assert len(list((dataset.folder / "features").iterdir())) == 1


def test_two_writers_fill_one_bank(dataset: PreparedDataset) -> None:
    one, two = (bank(dataset, tiny("dpcenet")) for _ in range(2))
    plans = [one.sampler.plan(n) for n in range(6)]
    for n, plan in enumerate(plans):
        (one, two)[n % 2].features(plan.support)
    used = one.rows[one.rows > 0]
    assert sorted(used) == list(range(1, len(used) + 1))  # each has a row of its own
    for plan in plans:
        (read,) = two.features(plan.support).maps.values()
        image, _ = two.sampler.slice(plan.support)
        (fresh,) = two.method.extract(image).maps.values()
        assert torch.equal(read, fresh.half().float())


def test_a_scan_is_encoded_once(dataset: PreparedDataset) -> None:
    method, case = tiny("dpcenet").eval(), dataset.cases[0]
    with torch.no_grad():
        plain = encode_scan(method, case.image, case.spacing, CPU, "float32")
        first = KeptScans(dataset, method, "float32", CPU, 1.0).encode(case)
        (file,) = (dataset.folder / "features").glob("scans-*/*.npz")
        written = file.stat().st_mtime_ns
        second = KeptScans(dataset, method, "float32", CPU, 1.0).encode(case)
    assert file.stat().st_mtime_ns == written
    for name, maps in plain.features.maps.items():
        assert torch.equal(first.features[name], second.features[name])
        np.testing.assert_allclose(first.features[name], maps, rtol=2e-3, atol=2e-3)


def test_scans_beyond_the_limit_are_not_kept(dataset: PreparedDataset) -> None:
    method, case = tiny("dpcenet").eval(), dataset.cases[0]
    kept = KeptScans(dataset, method, "float32", CPU, 1.0).encode(case)
    files = set((dataset.folder / "features").glob("scans-*/*.npz"))
    other = KeptScans(dataset, method, "float32", CPU, 1e-9)
    other.folder = dataset.folder / "features" / "scans-small"
    again = other.encode(case)
    assert set((dataset.folder / "features").glob("scans-*/*.npz")) == files
    for name, maps in kept.features.maps.items():
        assert torch.equal(again.features[name], maps)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_keeps_nothing_and_stops_nobody(
    dataset: PreparedDataset, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    one = bank(dataset, tiny("dpcenet"))
    which = one.sampler.plan(0).support

    def full(*_: object) -> None:
        raise OSError(error, "full")

    with monkeypatch.context() as patch:
        patch.setattr("dpcenet.training.feature_cache.reserve", full)
        (first,) = one.features(which).maps.values()
    assert not one.rows.any()
    (second,) = one.features(which).maps.values()
    assert one.rows.any()
    assert torch.equal(first, second)


def test_another_layout_is_another_bank(dataset: PreparedDataset) -> None:
    """Trunks of other layouts have the same weights, and maps of other sizes."""
    options, sizes = tiny_config(frozen=True, views=2).options, set()
    for layout in ("os8", "64+32"):
        torch.manual_seed(0)
        encoder = replace(options.encoder, layout=layout, outputs=("layer2",))
        other = bank(dataset, build_method("dpcenet", replace(options, encoder=encoder)))
        (maps,) = other.features(other.sampler.plan(0).support).maps.values()
        sizes.add(maps.shape[-2:])
    assert len(sizes) == 2


def test_another_output_is_another_bank(dataset: PreparedDataset) -> None:
    config = tiny_config(frozen=True, views=2)
    encoder = replace(config.options.encoder, outputs=("layer1", "layer2"))
    torch.manual_seed(0)
    wider = build_method("dpcenet", replace(config.options, encoder=encoder))
    bank(dataset, tiny("dpcenet"))
    bank(dataset, wider)
    assert len(list((dataset.folder / "features").iterdir())) == 2
