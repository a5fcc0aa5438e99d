"""docs/speed.md, from what speed.json and gpu.json hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from works import GROUPS, WORKS, Work

Row = dict[str, Any]
NONE, LONG = "–", 100_000
MADE_BY = "Made by `python benchmarks/speed.py` from speed.json; nothing here is typed."
SAYS = """
Ours and what it is measured against ran by turns, each turn in a process of its own, with the same
scans, weights and images. Times are medians of the turns; the ratio is the median of the turns'
ratios, its range in brackets, and the same by processor time, which other work on the machine
disturbs less. Memory is the peak of a process, Python and torch included. Dice of both compares the
masks of ours and theirs, the mean over labels and scans, and the least; Dice with the truth is the
mean over scans. A row without a commit was measured before that was kept, in the manner of its day:
ours and theirs by turns in one process.
"""
TEXTS = {
    "wait": "Whole programs, the start of Python included; the seconds are those of the work.",
    "one": "The time is that of all scans; of ours with its start, of nnU-Net with its training.",
    "segment": (
        "The loops stand in `benchmarks/reference_loops`. Seconds of a slice: ours segments the "
        "whole volume, the loop one slice of it; the support's encoding counts once for 36 slices. "
        "GFLOP counts matrix products and convolutions of the loop, beside what was counted in the "
        "official code (of DPCENet, which has none, the equations' own count of its head)."
    ),
    "train": (
        "Seconds of a step: of ours in `dpcenet train`, with the making of its episode, of the "
        "loop without. The losses are those of ours and theirs on one episode before any step."
    ),
    "gpu": (
        "By `python benchmarks/speed.py --gpu`: made scans and data; the second scan of a process, "
        "without the check; a step of `dpcenet train` and `pretrain`. Memory is the device's."
    ),
}
AGREE = """
Dice of ours with the loop, whose arithmetic is float32 throughout: of ours in float32, and with the
trunk in bfloat16 but for its first layers. The weights are those of a trained run, with its own
trunk, on slices of a scan that it never saw; the mean of the organs, and the least. The last column
is the Dice with the truth, of the loop and of both of ours.
"""


def page(found: Row) -> str:
    """The page as Markdown.

    Args:
        found: of speed.json and gpu.json: rows by name of a work in "works", "against" and "gpu",
            "trained", and tables in "older" whose works are measured in another way since.
    """
    works: dict[str, Row] = found.get("works", {})
    lines = ["# Speed", "", MADE_BY, SAYS.rstrip()]
    for group, title in GROUPS.items():
        rows = {n: works[n] for n, work in WORKS.items() if work.group == group and n in works}
        if rows:
            lines += section(title, TEXTS[group], [_cells(WORKS[n], r) for n, r in rows.items()])
    lines += _floor(works.get("segment-dpcenet"))
    if trained := found.get("trained"):
        lines += section("The same predictions", AGREE, [_agreed(n, r) for n, r in trained.items()])
    if before := found.get("against"):
        says = "The same work of two commits, by turns; theirs is the one in the last column."
        rows = {n: before[n] for n in WORKS if n in before}
        cells = [{**_cells(WORKS[n], r), "against": r["way"]["against"]} for n, r in rows.items()]
        lines += section("Against another commit", says, cells)
    for table in found.get("older", []):
        lines += section(table["title"], table["says"], table["rows"])
    if gpu := found.get("gpu"):
        rows = {n: gpu[n] for n in WORKS if n in gpu}
        lines += section(GROUPS["gpu"], TEXTS["gpu"], [_on_gpu(n, r) for n, r in rows.items()])
    return "\n".join(lines) + "\n"


def section(title: str, says: str, rows: Sequence[Mapping[str, object]]) -> list[str]:
    """A heading, sentences, and a table of all cells that some row has."""
    heads = [*dict.fromkeys(head for row in rows for head in row)]
    heads = [head for head in heads if any(row.get(head, NONE) != NONE for row in rows)]
    lines = ["", f"## {title}", "", says.strip(), ""]
    lines += ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    return lines + [
        "| " + " | ".join(_number(row.get(head, NONE)) for head in heads) + " |" for row in rows
    ]


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _cells(work: Work, row: Row) -> dict[str, str]:
    ours, theirs = row.get("ours", {}), row.get("theirs", {})

    def show(form: str, *values: Any) -> str:
        return NONE if None in values else form.format(*values)

    def both(form: str, get: Callable[[Row], Any]) -> str:
        values = [show(form, get(side)) for side in (ours, theirs) if side]
        return NONE if {*values} == {NONE} else " / ".join(values)

    ratio = show("**{:.2f}x**", row.get("ratio"))
    ranged = show(" ({:.2f}–{:.2f})", row.get("low"), row.get("high"))
    way = row.get("way", {})
    truth = [row[f"truth {side}"]["mean"] for side in ("ours", "theirs") if f"truth {side}" in row]
    told = ", ".join(filter(None, (way.get("trunk"), ours.get("precision"))))
    return {
        "work": work.says,
        "at least": show("{:g}x", work.least),
        "ratio": ratio + ranged if ranged != NONE else ratio,
        "CPU ratio": show("{:.2f}x", row.get("cpu_ratio")),
        "turns": show("{}", row.get("turns")),
        "seconds, ours / theirs": both("{:.3f}", lambda side: side.get("seconds")),
        "CPU seconds": both("{:.3f}", lambda side: side.get("cpu")),
        "GB": both("{:.2f}", lambda side: side.get("GB")),
        "Dice of both": show("{:.4f}", row.get("Dice"))
        + ("" if row.get("least") is None else f" ({row['least']:.4f})"),
        "in float32": show("{:.4f}", row.get("Dice float32")),
        "Dice with the truth": " / ".join(f"{mean:.3f}" for mean in truth) or NONE,
        "GFLOP (official)": show("{:.1f}", theirs.get("GFLOP"))
        + ("" if work.official is None else f" ({work.official:.1f})"),
        "losses": show("{:.3f}, {:.3f}", *theirs.get("losses", [None])),
        "weights": told if work.group in ("segment", "train") else NONE,
        "theirs": row.get("theirs failed", NONE),
        "machine": show("{}, {} threads", way.get("processor"), way.get("threads")),
        "commit": way.get("commit") or NONE,
    }


def _on_gpu(name: str, row: Row) -> dict[str, str]:
    """A row of a GPU; of a step also how long a training of 100,000 takes."""
    cells, ours = _cells(WORKS[name], row), row["ours"]
    shown = ("work", "ratio", "seconds, ours / theirs", "GB", "Dice of both", "commit")
    hours = f"{ours['seconds'] * LONG / 3600:.3g}" if WORKS[name].group == "train" else NONE
    return {key: cells[key] for key in shown} | {
        "hours of 100,000": hours,
        "device": ours.get("device", "CPU"),
    }


def _agreed(method: str, row: Row) -> dict[str, str]:
    truth = row["truth"]
    return {
        "method": method,
        "on": f"{row['slices']} slices of {row['organs']} organs",
        **{p: "{mean:.4f} ({least:.4f})".format(**row[p]) for p in ("float32", "bfloat16")},
        "truth": " / ".join(f"{truth[way]:.3f}" for way in ("loop", "float32", "bfloat16")),
    }


def _floor(row: Row | None) -> list[str]:
    """Of what DPCENet's memory consists."""
    if row is None or "parts" not in row["ours"]:
        return []
    ours, theirs, parts = row["ours"]["GB"], row["theirs"]["GB"], row["ours"]["parts"]
    return [
        "",
        f"DPCENet needs {ours / theirs:.0%} of the loop's memory. {parts['imports']:.2f} GB of it "
        "are Python, torch and the package, which the loop needs too; with the weights they are "
        f"{parts['weights']:.2f} GB, and {parts['trunk']:.2f} GB once the trunk has encoded a "
        "single slice: less is not to be had without another trunk. Half of the loop's would be "
        f"{theirs / 2:.2f} GB. What lies above are a batch's maps and the features of "
        f"{row['ours']['slices']} slices.",
    ]
