"""Parameters and arithmetic of every preset beside the official code's.

    python benchmarks/cost.py [PRESET ...] > docs/cost.md

One support and one query slice of 256x256, random weights. Counted: multiply-adds of matrix
products and convolutions, two operations each (torch.utils.flop_counter). A test slice includes
the encoding of its support, as the official loops do it; ours encodes a support once for all
slices, and the last column is what a further slice then costs.
"""

from __future__ import annotations

import sys

from dpcenet.evaluation.benchmark.flops import arithmetic
from dpcenet.methods.registry import preset_names
from dpcenet.training.config import load_preset

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


def main() -> None:
    """Print the table as Markdown."""
    print("# What each method costs\n")
    print("Made by `python benchmarks/cost.py > docs/cost.md`.\n")
    print((__doc__ or "").split("\n\n")[-1].strip() + "\n")
    heads = ("parameters M", "with gradient M", "GFLOP test slice", "GFLOP step")
    columns = ["preset", *(f"{head} (official)" for head in heads), "GFLOP further slice"]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for name in sys.argv[1:] or preset_names():
        *numbers, further = arithmetic(load_preset(name))
        theirs = OFFICIAL.get(name)
        cells = [
            f"{number:.2f}" + (f" ({theirs[i]:.2f})" if theirs else "")
            for i, number in enumerate(numbers)
        ]
        print(f"| {name} | {' | '.join(cells)} | {further:.2f} |", flush=True)


if __name__ == "__main__":
    main()
