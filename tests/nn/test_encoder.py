"""The encoder: one channel in, frozen or not, and the weight files that fit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dpcenet.errors import ConfigError, WeightsError
from dpcenet.nn.encoder import Encoder, EncoderOptions
from dpcenet.nn.resnet import ResNet

SHARED = Path(__file__).parents[3] / "shared"
WEIGHTS = Path(os.environ.get("DPCENET_WEIGHTS", SHARED / "weights"))


def slices(count: int = 2, size: int = 32) -> Tensor:
    return torch.randn(count, 1, size, size, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def resnet50_file() -> Path:
    path = WEIGHTS / "resnet50_imagenet_fp16.safetensors"
    if not path.is_file():
        pytest.skip(f"no weights at {path} (set DPCENET_WEIGHTS)")
    return path


def test_one_channel_is_fed_to_the_three_alike() -> None:
    torch.manual_seed(0)
    encoder = Encoder(EncoderOptions("resnet18", outputs=("layer2", "layer3"))).eval()
    with torch.no_grad():
        found = encoder(slices())
        expected = encoder.trunk(slices().repeat(1, 3, 1, 1))
    assert list(found) == ["layer2", "layer3"]
    assert encoder.channels == {"layer2": 128, "layer3": 256}
    for name in found:
        torch.testing.assert_close(found[name], expected[name])


def test_frozen_trunk_stays_as_it_is() -> None:
    encoder = Encoder(EncoderOptions("resnet18", frozen=True)).train()
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    features = encoder(slices())["layer3"]
    assert encoder.training and not features.requires_grad
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert not any(m.training for m in encoder.modules() if isinstance(m, nn.BatchNorm2d))
    after = encoder.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_trained_trunk_learns_and_counts() -> None:
    encoder = Encoder(EncoderOptions("resnet18")).train()
    mean = encoder.trunk.bn1.running_mean.clone()
    encoder(slices())["layer3"].square().mean().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())
    assert not torch.equal(encoder.trunk.bn1.running_mean, mean)


def test_no_grad_outside_is_respected() -> None:
    with torch.no_grad():
        assert not Encoder(EncoderOptions("resnet18"))(slices())["layer3"].requires_grad


@pytest.mark.parametrize(
    "options",
    [
        EncoderOptions("vgg16", outputs=("layer3",)),
        EncoderOptions("resnet18", outputs=("block5",)),
        EncoderOptions("densenet"),  # type: ignore[arg-type]
    ],
)
def test_unknown_choices_are_refused(options: EncoderOptions) -> None:
    with pytest.raises(ConfigError):
        Encoder(options)


def test_deeplab_file_fits_the_trunk(tmp_path: Path) -> None:
    """COCO's DeepLabV3: trunk behind `backbone.`, two heads that are left out, no `fc`."""
    torch.manual_seed(1)
    source = ResNet(18, "os8", ("layer4",))
    tensors = {f"backbone.{name}": tensor for name, tensor in source.state_dict().items()}
    heads = {"classifier.4.weight": torch.zeros(21, 8), "aux_classifier.4.bias": torch.zeros(21)}
    path = tmp_path / "deeplab.pth"
    torch.save(tensors | heads, path)

    encoder = Encoder(EncoderOptions("resnet18", outputs=("layer4", "fc"), weights=str(path)))

    assert encoder.load_report is not None
    assert set(encoder.load_report.ignored) == set(heads)
    assert encoder.load_report.kept == ("fc.weight", "fc.bias")
    loaded = encoder.trunk.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in source.state_dict().items())


def test_another_depth_does_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "resnet34.safetensors"
    save_file(ResNet(34, "os32", ("fc",)).state_dict(), path)
    with pytest.raises(WeightsError, match=r"not in the network \(layer1\.2\."):
        Encoder(EncoderOptions("resnet18", weights=str(path)))


def test_official_vgg_names_fit_by_position(tmp_path: Path) -> None:
    published = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    torch.manual_seed(2)
    own = list(Encoder(EncoderOptions("vgg16", outputs=("block5",))).trunk.state_dict().values())
    tensors: dict[str, Tensor] = {}
    for place, number in enumerate(published):
        tensors[f"features.{number}.weight"] = own[2 * place]
        tensors[f"features.{number}.bias"] = own[2 * place + 1]
    tensors["classifier.0.weight"] = torch.zeros(2, 2)
    path = tmp_path / "vgg16.safetensors"
    save_file(tensors, path)

    encoder = Encoder(EncoderOptions("vgg16", outputs=("block5",), weights=str(path)))

    loaded = encoder.trunk.state_dict().values()
    assert all(torch.equal(found, tensor) for found, tensor in zip(loaded, own, strict=True))
    assert encoder.load_report is not None
    assert encoder.load_report.ignored == ("classifier.0.weight",)


def test_real_resnet50_loads_in_full(resnet50_file: Path) -> None:
    options = EncoderOptions("resnet50", outputs=("layer4",), weights=str(resnet50_file))
    encoder = Encoder(options)
    assert encoder.load_report is not None
    assert encoder.load_report.ignored == encoder.load_report.kept == ()
    loaded, file = encoder.trunk.state_dict(), load_file(resnet50_file)
    assert {name for name in loaded if not name.endswith("num_batches_tracked")} == set(file)
    for name, tensor in file.items():
        assert loaded[name].dtype == torch.float32
        assert torch.equal(loaded[name], tensor.to(torch.float32)), name


def test_real_resnet50_names_what_a_shorter_trunk_leaves(resnet50_file: Path) -> None:
    encoder = Encoder(EncoderOptions("resnet50", weights=str(resnet50_file)))
    expected = {name for name in load_file(resnet50_file) if name.startswith("layer4.")}
    assert encoder.load_report is not None
    assert set(encoder.load_report.ignored) == expected
    assert len(expected) == 50  # 10 convolutions and their batch norms of 4 tensors
