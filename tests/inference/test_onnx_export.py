"""The network as ONNX: onnxruntime computes what torch computes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from dpcenet.errors import ConfigError
from dpcenet.inference import onnx_export
from dpcenet.inference.onnx_export import as_incontext, export_programs, run_onnx, write_onnx
from dpcenet.methods.copy import Copy, Options
from dpcenet.methods.incontext.model import InContext, NetworkOptions
from dpcenet.methods.incontext.weights import Options as ShippedOptions
from dpcenet.methods.incontext.weights import build


def small() -> InContext:
    torch.manual_seed(0)
    network = InContext(NetworkOptions(size=32, widths=(8, 8, 16, 16))).eval()
    for each in network.parameters():  # some start at 0, which would hide a mistake
        torch.nn.init.normal_(each, std=0.2)
    return network


def test_another_method_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Copy: only the in-context network"):
        as_incontext(Copy(Options()))


def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from dpcenet.cli import export

    monkeypatch.setattr(export, "find_spec", lambda name: None)
    result = CliRunner().invoke(export.app, ["export", "onnx", str(tmp_path)])
    assert isinstance(result.exception, ConfigError)
    assert "pip install 'dpcenet[onnx]'" in str(result.exception)


def test_programs_of_torch_export_take_any_number_of_slices() -> None:
    network = small()
    encoder, matcher = (each.module() for each in export_programs(network, 48))
    images, masks = torch.rand(6, 1, 48, 48), (torch.rand(1, 48, 48) > 0.5).float()
    features = network.encode(images)
    maps = encoder(images)
    for name, each in zip(onnx_export.MAPS, maps, strict=True):
        torch.testing.assert_close(each, features[name])
    found = matcher(masks, *(m[:1] for m in maps), *(m[1:] for m in maps))
    wanted = network.match(features.rows(slice(1)), masks, features.rows(slice(1, None)))
    torch.testing.assert_close(found, wanted.log_probs[:, 1].exp(), atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_onnxruntime_computes_what_the_shipped_network_computes(tmp_path: Path) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="the extra `onnx` is not installed")
    network = build(ShippedOptions())
    assert write_onnx(network, tmp_path, 256) <= 1e-4
    facts = json.loads((tmp_path / "network.json").read_text())
    assert facts["matcher"]["masks"] == ["shots", 256, 256]
    rows, columns = torch.meshgrid(torch.arange(256.0), torch.arange(256.0), indexing="ij")
    disc = ((rows - 110) ** 2 + (columns - 140) ** 2 < 40**2).float()
    support = disc[None, None] + 0.1 * torch.rand(1, 1, 256, 256)
    query = disc.roll(8, 0)[None, None] + 0.1 * torch.rand(1, 1, 256, 256)
    maps = [run_onnx(tmp_path / "encoder.onnx", [each]) for each in (support, query)]
    (found,) = run_onnx(tmp_path / "matcher.onnx", [disc[None], *maps[0], *maps[1]])
    with torch.no_grad():
        wanted = network.match(network.encode(support), disc[None], network.encode(query))
    assert wanted.log_probs.exp()[0, 1].max() > 0.9  # there is something to be equal to
    torch.testing.assert_close(found, wanted.log_probs[:, 1].exp(), atol=1e-4, rtol=0)
