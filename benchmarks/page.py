"""docs/speed.md, from what speed.json holds."""

from __future__ import annotations

from typing import Any

from agreement import PRECISIONS
from kinds import KINDS

MADE_BY = "python benchmarks/speed.py"
SAYS = """
Ours and the loop of the official code (`benchmarks/reference_loops`) ran in turn in one process,
with the same weights and images. Times are seconds of a slice or a step, the median of the pairs;
the ratio is the median of the pairs' ratios, its range in brackets, and the same by processor time,
which other work on the machine disturbs less. Ours segments a whole volume of the slices named, the
loop one slice of it in each pair; the support's encoding counts once for 36 slices. Memory is the
peak of a process that does nothing else, Python and torch included. GFLOP counts matrix products
and convolutions of the loop, beside what was counted in the official code (of DPCENet, which has
none, the equations' own count of its head).
"""
AGREE = """
Dice of ours with the loop, whose arithmetic is float32 throughout: of ours in float32, and with
the trunk in bfloat16 but for its first layers. Trained: the weights of a trained run, with its own
trunk, on slices of a scan that it never saw; the mean of the organs, and the least. Made: the
network of the table on made patients with a head that nobody trained, so that margins are small and
rounding counts most. The last column is the Dice with the truth, of the loop and of both of ours.
"""


def page(found: dict[str, Any], others: list[str]) -> str:
    """The page as Markdown.

    Args:
        found: name of a work → its row, and "machine".
        others: works that bring a table of their own, in order.
    """
    rows = {name: found[name] for name in KINDS if name in found}
    facts = ", ".join(f"{key} {value}" for key, value in found.get("machine", {}).items())
    lines = ["# Speed", "", f"Made by `{MADE_BY}` from speed.json; nothing here is typed. {facts}."]
    lines += section(SAYS, [_times(name, row) for name, row in rows.items()])
    segmented = {n: r for n, r in rows.items() if KINDS[n].task == "segment"}
    lines += ["", "## The same predictions"]
    lines += section(AGREE, [_agreement(name, row) for name, row in segmented.items()])
    lines += _floor(rows.get("segment-dpcenet"))
    for name in others:
        if name in found:
            lines += ["", f"## {found[name]['title']}"]
            lines += section(found[name]["says"], found[name]["rows"])
    return "\n".join(lines) + "\n"


def section(says: str, rows: list[dict[str, Any]]) -> list[str]:
    """Sentences, and a table of rows of named cells; the first row has all of them."""
    lines = ["", says.strip(), ""]
    if rows:
        lines += ["| " + " | ".join(rows[0]) + " |", "|---" * len(rows[0]) + "|"]
    for row in rows:
        cells = [row.get(name, "–") for name in rows[0]]
        shown = (f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in cells)
        lines.append("| " + " | ".join(shown) + " |")
    return lines


def _times(name: str, row: dict[str, Any]) -> dict[str, str]:
    kind = KINDS[name]
    slices = f", {row['slices']} slices" if kind.task == "segment" else ""
    return {
        "work": kind.says + slices,
        "at least": "–" if kind.target is None else f"{kind.target:g}x",
        "ratio": f"**{row['ratio']:.2f}x** ({row['low']:.2f}–{row['high']:.2f})",
        "CPU ratio": f"{row['cpu_ratio']:.2f}x",
        "pairs": str(row["count"]),
        "ours s": f"{row['ours']:.3f}",
        "theirs s": f"{row['theirs']:.3f}",
        "GB ours / theirs": "{ours:.2f} / {theirs:.2f}".format(**row["memory"]),
        "GFLOP (official)": f"{row['GFLOP']:.1f} ({kind.official:.1f})",
        "losses": "{:.3f}, {:.3f}".format(*row["losses"]) if "losses" in row else "–",
        "weights": f"{row['way']['trunk']}, {row['precision']}",
    }


def _agreement(name: str, row: dict[str, Any]) -> dict[str, str]:
    cells = {"method": KINDS[name].says}
    if "trained" in row:
        found = row["trained"]
        on = f"trained, {found['slices']} slices of {found['organs']} organs"
        each = [f"{found[p]['mean']:.4f} ({found[p]['least']:.4f})" for p in PRECISIONS]
        truth = " / ".join(f"{found['truth'][p]:.3f}" for p in ("loop", *PRECISIONS))
    else:
        on, truth = "made, 1 slice", "–"
        each = [f"{row['dice float32']:.4f}", f"{row['dice']:.4f}"]
    return cells | {"on": on, "float32": each[0], "bfloat16": each[1], "truth": truth}


def _floor(row: dict[str, Any] | None) -> list[str]:
    """Of what DPCENet's memory consists."""
    if row is None or "imports" not in row["memory"]:
        return []
    held = row["memory"]
    return [
        "",
        f"DPCENet needs {held['ours'] / held['theirs']:.0%} of the loop's memory. "
        f"{held['imports']:.2f} GB of it are Python, torch and the package, which the loop needs "
        f"too; with the weights they are {held['weights']:.2f} GB, and {held['trunk']:.2f} GB once "
        f"the trunk has encoded a single slice: less is not to be had without another trunk. "
        f"Half of the loop's would be {held['theirs'] / 2:.2f} GB. What lies above are a batch's "
        f"maps and the features of {row['slices']} slices.",
    ]
