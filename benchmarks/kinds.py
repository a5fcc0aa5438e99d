"""The works of the table, and what each must reach."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """What is measured, and what must show.

    Attributes:
        task: "segment", "step", "ahead" or "bank".
        preset, overrides: of the network.
        target: how many times faster ours must be, where that was asked for.
        official: GFLOP of the official code for a slice or step; of DPCENet, which has none, of
            its head on 512x64x64 (79.5) and 512x32x32 (7).
        says: what the work is.
        slices: of the volume that ours segments, fewer where a slice is dear.
    """

    task: str
    preset: str
    target: float | None
    official: float
    says: str
    overrides: tuple[str, ...]
    slices: int


R101 = ("options.encoder.name=resnet101", "options.width=512")  # of dpcenet/tuned
TABLE = """
segment-ssl_alpnet | ssl_alpnet/fixed | 3.5 | 179.5 | 36 | segment a volume, SSL-ALPNet, R101, 32x32
segment-gmrd       | gmrd/official    | 5   | 643.9 | 18 | segment, GMRD, R101, 64x64
segment-rpt        | rpt/official     | 5   | 529.2 | 12 | segment, RPT, R101, 64x64
segment-dpcenet    | dpcenet/paper    | 4   | 86.5  | 12 | segment, DPCENet, R101, 64x64+32x32
segment-adnet      | adnet/fixed      |     | 179.4 | 18 | segment, ADNet, R101, 32x32
segment-panet      | panet/paper      |     | 101.9 | 18 | segment, PANet, VGG-16, 32x32
segment-qnet       | qnet/official    |     | 530.8 | 12 | segment, Q-Net, R101, 64x64+32x32
segment-catnet     | catnet/official  |     | 184.2 | 18 | segment, CAT-Net, R101, 32x32
step-ssl_alpnet    | ssl_alpnet/fixed | 1.7 | 537.7 | 36 | step, SSL-ALPNet, R101, trained trunk
ahead-dpcenet      | dpcenet/tuned    | 3   | 7     | 36 | step, DPCENet, R101, 32x32, frozen, exact
bank-dpcenet       | dpcenet/tuned    | 20  | 7     | 36 | step, DPCENet, R101, 32x32, frozen, bank
"""


def _kind(row: list[str]) -> Kind:
    name, preset, target, official, slices, says = row
    overrides = R101 if preset == "dpcenet/tuned" else ()
    reach = float(target) if target else None
    return Kind(
        name.partition("-")[0], preset, reach, float(official), says, overrides, int(slices)
    )


ROWS = [[cell.strip() for cell in line.split("|")] for line in TABLE.strip().splitlines()]
KINDS = {row[0]: _kind(row) for row in ROWS}
