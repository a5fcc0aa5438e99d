"""The works of the table, and what each must reach."""

from __future__ import annotations

from dataclasses import dataclass

R101 = ("options.encoder.name=resnet101", "options.width=512")


@dataclass(frozen=True)
class Kind:
    """What is measured, and what must show.

    Attributes:
        task: "segment", "step", "ahead" or "bank".
        preset, overrides: of the network.
        target: how many times faster ours must be, where that was asked for.
        official: GFLOP of the official code for a slice or step; of DPCENet, which has none, of
            its head on 512x64x64 and 512x32x32.
        says: what the work is.
        slices: of the volume that ours segments, fewer where a slice is dear.
    """

    task: str
    preset: str
    target: float | None
    official: float
    says: str
    overrides: tuple[str, ...] = ()
    slices: int = 36


KINDS = {
    "segment-ssl_alpnet": Kind(
        "segment", "ssl_alpnet/fixed", 3.5, 179.5, "segment a volume, SSL-ALPNet, R101, 32x32"
    ),
    "segment-gmrd": Kind(
        "segment", "gmrd/official", 5.0, 643.9, "segment, GMRD, R101, 64x64", slices=18
    ),
    "segment-rpt": Kind(
        "segment", "rpt/official", 5.0, 529.2, "segment, RPT, R101, 64x64", slices=12
    ),
    "segment-dpcenet": Kind(
        "segment",
        "dpcenet/paper",
        4.0,
        79.5 + 7.0,
        "segment, DPCENet, R101, 64x64+32x32",
        slices=12,
    ),
    "segment-adnet": Kind(
        "segment", "adnet/fixed", None, 179.4, "segment, ADNet, R101, 32x32", slices=18
    ),
    "segment-panet": Kind(
        "segment", "panet/paper", None, 101.9, "segment, PANet, VGG-16, 32x32", slices=18
    ),
    "segment-qnet": Kind(
        "segment", "qnet/official", None, 530.8, "segment, Q-Net, R101, 64x64+32x32", slices=12
    ),
    "segment-catnet": Kind(
        "segment", "catnet/official", None, 184.2, "segment, CAT-Net, R101, 32x32", slices=18
    ),
    "step-ssl_alpnet": Kind(
        "step", "ssl_alpnet/fixed", 1.7, 537.7, "step, SSL-ALPNet, R101, trained trunk"
    ),
    "ahead-dpcenet": Kind(
        "ahead", "dpcenet/tuned", 3.0, 7.0, "step, DPCENet, R101, 32x32, frozen, exact", R101
    ),
    "bank-dpcenet": Kind(
        "bank", "dpcenet/tuned", 20.0, 7.0, "step, DPCENet, R101, 32x32, frozen, bank", R101
    ),
}
