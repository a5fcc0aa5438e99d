"""Parameters and arithmetic of every preset beside the official code's.

    python benchmarks/cost.py [PRESET ...] > docs/cost.md

One support and one query slice of 256x256, random weights. Counted: multiply-adds of matrix
products and convolutions, two operations each (torch.utils.flop_counter). A test slice includes
the encoding of its support, as the official loops do it; ours encodes a support once for all
slices, and the last column is what a further slice then costs.
"""

from __future__ import annotations

import sys

from works import OFFICIAL

from dpcenet.evaluation.benchmark.flops import arithmetic
from dpcenet.methods.registry import preset_names
from dpcenet.training.config import load_preset


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
