"""Parameters and arithmetic of every preset beside the official code's.

    python benchmarks/cost.py [PRESET ...] > docs/cost.md

One support and one query slice of 256x256, random weights. Counted: multiply-adds of matrix
products and convolutions, two operations each (torch.utils.flop_counter). A test slice includes
the encoding of its support, as the official loops do it; ours encodes a support once for all
slices, and the last column is what a further slice then costs.
"""

from __future__ import annotations

import sys

import torch
from torch.utils.flop_counter import FlopCounterMode

from dpcenet.config import Config, load_preset, preset_names
from dpcenet.methods.base import Method
from dpcenet.methods.table import build_method
from dpcenet.nn.losses import segmentation_loss
from dpcenet.types import Episode

SIZE = 256
# Official code: parameters (M), those with gradient (M), GFLOP of a test slice and of a step.
OFFICIAL = {
    "panet/paper": (14.71, 14.71, 101.9, 305.3),
    "adnet/fixed": (59.21, 43.02, 179.4, 537.6),
    "ssl_alpnet/fixed": (59.21, 43.02, 179.5, 537.7),
    "catnet/official": (60.76, 43.83, 184.2, 545.8),
    "qnet/official": (46.12, 46.12, 530.8, 1591.7),
    "rpt/official": (50.33, 49.28, 529.2, 1587.0),
    "gmrd/official": (100.03, 81.97, 643.9, 2126.3),
}


def made_episode() -> Episode:
    """A support and a query with a disc in each."""
    generator = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    disc = ((y - 120) ** 2 + (x - 110) ** 2 < 40**2).float()[None]
    images = torch.randn(2, 1, SIZE, SIZE, generator=generator) + 2 * disc
    return Episode(images[:1], disc, images[1:], disc, seed=0)


def giga_operations(run: object) -> float:
    """GFLOP of a call."""
    with FlopCounterMode(display=False) as counter:
        run()  # type: ignore[operator]
    return counter.get_total_flops() / 1e9


def measure(config: Config) -> tuple[float, float, float, float, float]:
    """Parameters and trained ones in millions; GFLOP of a test slice, a step, a further slice."""
    torch.manual_seed(0)
    method = build_method(config.method, config.options)
    episode = made_episode()
    every = sum(p.numel() for p in method.parameters()) / 1e6
    trained = sum(p.numel() for p in method.parameters() if p.requires_grad) / 1e6
    method.eval()
    with torch.no_grad():
        test = giga_operations(lambda: method(episode))
        support = method.encode(episode.support_images)
        further = giga_operations(lambda: _further(method, support, episode))
    step = giga_operations(lambda: _step(method.train(), config, episode)) if trained else 0.0
    return every, trained, test, step, further


def _further(method: Method, support: object, episode: Episode) -> None:
    query = method.encode(episode.query_images)
    method.match(support, episode.support_masks, query)  # type: ignore[arg-type]


def _step(method: Method, config: Config, episode: Episode) -> None:
    prediction = method(episode)
    assert episode.query_masks is not None
    loss = segmentation_loss(prediction.log_probs, episode.query_masks, config.train.class_weights)
    torch.stack([loss, *prediction.losses.values()]).sum().backward()


def main() -> None:
    """Print the table as Markdown."""
    print("# What each method costs\n")
    print("Made by `python benchmarks/cost.py > docs/cost.md`.\n")
    print((__doc__ or "").split("\n\n")[-1].strip() + "\n")
    heads = ("parameters M", "with gradient M", "GFLOP test slice", "GFLOP step")
    columns = ["preset", *(f"{head} (official)" for head in heads), "GFLOP further slice"]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for name in sys.argv[1:] or preset_names():
        *numbers, further = measure(load_preset(name))
        theirs = OFFICIAL.get(name)
        cells = [
            f"{number:.2f}" + (f" ({theirs[i]:.2f})" if theirs else "")
            for i, number in enumerate(numbers)
        ]
        print(f"| {name} | {' | '.join(cells)} | {further:.2f} |", flush=True)


if __name__ == "__main__":
    main()
