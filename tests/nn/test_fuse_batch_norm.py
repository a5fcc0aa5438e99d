"""Folded batch norms: the same function with fewer layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dpcenet.nn.encoder import Encoder, EncoderOptions
from dpcenet.nn.fuse_batch_norm import fold_batch_norms, ready_to_predict
from dpcenet.nn.resnet import ResNet


def encoder(name: str) -> Encoder:
    """A trunk in double precision whose norms do more than nothing, as after a training."""
    torch.manual_seed(0)
    options = EncoderOptions(name, outputs=("layer2", "layer4"))  # type: ignore[arg-type]
    made = Encoder(options).eval().double()
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                assert isinstance(tensor, Tensor)
                tensor.data.copy_(0.5 + torch.rand(len(tensor)))
    return made


def test_both_kinds_of_block_compute_the_same_without_norms() -> None:
    for name in ("resnet18", "resnet50"):
        made, images = encoder(name), torch.randn(2, 1, 64, 64, dtype=torch.float64)
        with torch.no_grad():
            before = made(images)
            fold_batch_norms(made)
            after = made(images)
        assert not any(isinstance(module, nn.BatchNorm2d) for module in made.modules())
        for layer, maps in before.items():
            torch.testing.assert_close(after[layer], maps, rtol=1e-9, atol=1e-9)


def test_the_bias_is_that_of_the_formula() -> None:
    """γ·(w·x − μ)/√(σ² + ε) + β by hand, for one channel."""
    layers = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.BatchNorm2d(1)).eval().double()
    conv, norm = layers
    assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None and norm.running_var is not None
    conv.weight.data.fill_(3.0)
    for tensor, value in ((norm.weight, 2.0), (norm.bias, 0.25)):
        tensor.data.fill_(value)
    norm.running_mean.fill_(1.5)
    norm.running_var.fill_(4.0)
    fold_batch_norms(layers)
    folded = layers[0]
    assert isinstance(folded, nn.Conv2d) and folded.bias is not None
    scale = 2.0 / (4.0 + norm.eps) ** 0.5
    torch.testing.assert_close(folded.weight.item(), 3.0 * scale)
    torch.testing.assert_close(folded.bias.item(), 0.25 - 1.5 * scale)


@torch.no_grad()
def test_a_lowered_trunk_works_without_autocast_as_with_it() -> None:
    torch.manual_seed(0)
    trunk = ResNet(18, "os8", ("layer1", "layer3", "fc")).eval()
    images = torch.randn(2, 3, 64, 64)
    plain = trunk(images)
    ready_to_predict(trunk, lowered=True)
    assert trunk.conv1.weight.dtype == torch.float32
    assert {p.dtype for p in trunk.layer3.parameters()} == {torch.bfloat16}
    bare = trunk(images)
    with torch.autocast("cpu", torch.bfloat16):
        within = trunk(images)
    for name, maps in plain.items():
        torch.testing.assert_close(bare[name], within[name], rtol=0, atol=0)
        assert (bare[name].float() - maps).norm() < 0.03 * maps.norm()
