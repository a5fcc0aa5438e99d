"""The model card of a pretraining: what somebody who is given the weights should know."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from dpcenet.nn.tensor_files import load_tensors
from dpcenet.system.files import file_hash
from dpcenet.training.checkpoint import facts_of

_WORDS = """
Intended use: research, segmenting structures in MR or CT volumes from one labelled volume of the
same kind. Not a medical device.

## Known failures

Seen with the weights that come with the package; others of this kind share them.

- The support shows one phase or contrast and the query another: large drops.
- Left and right of paired organs are told apart by place alone; a scan stored with a wrong left and
  right gives the other one.
- Thin walls (myocardium) and structures of a few pixels are found only roughly.
- A structure that the support slice shows and the query lacks is sometimes drawn where something
  similar lies.
"""


def card_of(weights: Path, log: Iterable[dict[str, float]]) -> str:
    """The card, in Markdown.

    Args:
        weights: file of `dpcenet pretrain`; its metadata tell what made it.
        log: lines of the training's log.

    Returns:
        facts, intended use, known failures, validation curve and config.
    """
    lines = list(log)
    tensors, metadata = load_tensors(weights)
    facts = facts_of(weights, metadata, {"step": int, "config": dict})
    count = sum(t.numel() for t in tensors.values())
    curve = [line for line in lines if "dice" in line]
    rows = _facts(facts) | {
        "weights": f"{count:,} parameters, float16, sha256 {file_hash(weights)}",
        "time": f"{_seconds(lines) / 60:.0f} minutes",
    }
    table = "\n".join(f"| {key} | {value} |" for key, value in rows.items())
    points = "\n".join(f"| {line['step']:.0f} | {line['dice']:.3f} |" for line in curve)
    return (
        f"# Model card: {weights.name}\n\n| | |\n|---|---|\n{table}\n{_WORDS}\n"
        "## Curve\n\nDice of made-up pairs of another seed, running mean of the weights.\n\n"
        f"| step | Dice |\n|---|---|\n{points}\n\n"
        f"## Config\n\n```yaml\n{yaml.safe_dump(facts['config'], sort_keys=False)}```\n"
    )


def _facts(facts: dict[str, Any]) -> dict[str, str]:
    config, versions = facts["config"], facts["versions"]
    before = f"after {config['start']} weights, " if config["start"] else ""
    return {
        "what": "the in-context network: query slice, support slices and their mask in, mask out",
        "data": f"{before}made-up images only (`dpcenet.data.synthetic`); no scan, no photograph",
        "licence": "Apache-2.0, like the code",
        "seed": str(config["seed"]),
        "steps": f"{facts['step']} of {config['steps']}, {config['batch']} pairs each",
        "code": f"dpcenet {versions['dpcenet']}, commit {versions['commit']}",
        "machine": f"{facts['machine']}; {facts['threads']} threads; torch {versions['torch']}",
    }


def _seconds(lines: list[dict[str, float]]) -> float:
    """Seconds of all sessions; the log begins anew at 0 with each."""
    seconds = [line["seconds"] for line in lines]
    ends = [a for a, b in zip(seconds, [*seconds[1:], -1.0], strict=True) if b < a]
    return sum(ends)
