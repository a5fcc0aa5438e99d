"""What a GPU needs: segmenting, a step of every method, pretraining; in ten minutes, as JSON.

    python benchmarks/gpu.py [--device cuda] [--minutes 9] [--out docs/gpu.json]
    python benchmarks/gpu.py --tiny --out FILE

Everything is made: patients, episodes, random weights of trunks; nothing is read or downloaded.
Each part is measured for its share of the minutes, after a first turn that warms up. `--tiny` tries
every part once on small images, on any device. `benchmarks/speed.py --table` shows the file.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy.typing as npt
import torch
import typer
from measure import high_water

from dpcenet.data.phantom.phantom import phantom
from dpcenet.data.synthetic.cohort import CohortOptions
from dpcenet.data.synthetic.pairs import PairGenerator, PairOptions
from dpcenet.evaluation.benchmark.flops import made_episode
from dpcenet.methods.incontext.model import InContext, NetworkOptions
from dpcenet.methods.registry import build_method
from dpcenet.segmentation.segmenter import Segmenter
from dpcenet.system.device import Precision, autocast, choose_device, choose_precision
from dpcenet.system.environment import versions
from dpcenet.system.files import write_json
from dpcenet.training.config import load_preset
from dpcenet.training.episode_training import loss_terms, make_optimiser, take_step
from dpcenet.training.incontext_trainer import PairTraining, PretrainConfig
from dpcenet.types import Volume
from dpcenet.volumes.metrics import dice

PRESETS = (
    *("panet/paper", "adnet/fixed", "ssl_alpnet/fixed", "qnet/official"),
    *("catnet/official", "rpt/official", "gmrd/official", "dpcenet/paper"),
)
SCANS = {"36 slices of 256 x 256": (36, 256, 256), "130 slices of 512 x 512": (130, 512, 512)}
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
LONG = 100_000
PARTS = len(PRESETS) + 2 * len(SCANS) + 2
Call = Callable[[], Any]


class Meter:
    """Measures calls on a device, each for the same time.

    Attributes:
        device: where they compute.
        seconds: for each; 0 does it once.
    """

    def __init__(self, device: torch.device, seconds: float) -> None:
        self.device, self.seconds = device, seconds

    def row(self, call: Call, units: int = 1) -> dict[str, Any]:
        """Median seconds of a unit, how often it was done, and the GB that the device held."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
        warm = self._timed(call)
        times: list[float] = []
        began = time.perf_counter()
        while not times or time.perf_counter() - began + times[-1] < self.seconds:
            times.append(self._timed(call))
        return {
            "seconds": median(times) / units,
            "first": warm / units,
            "times": len(times),
            "GB": self._held(),
        }

    def _timed(self, call: Call) -> float:
        self._wait()
        start = time.perf_counter()
        call()
        self._wait()
        return time.perf_counter() - start

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _held(self) -> float:
        """Peak GB: of the GPU since the last row, of a CPU's process in all."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / 1e9
        return high_water()


def segmenting(meter: Meter, tiny: bool) -> Iterator[dict[str, Any]]:
    """A whole scan with the shipped network, in both precisions, and how alike the masks are."""
    scans = {"8 slices of 64 x 64": (8, 64, 64)} if tiny else SCANS
    for name, shape in scans.items():
        spacing = (216.0 / shape[0], 320.0 / shape[1], 320.0 / shape[2])
        labelled, (query, _) = (phantom(seed, shape, spacing) for seed in (1, 2))
        first: npt.NDArray[Any] | None = None
        for precision in PRECISIONS:
            row, mask = _segmented(meter, labelled, query, precision)
            first = mask if first is None else first
            same = dice(first > 0, mask > 0)
            yield {"work": f"segment, {name}", "precision": precision, **row, "dice": same}


def _segmented(
    meter: Meter, labelled: tuple[Volume, Volume], query: Volume, precision: Precision
) -> tuple[dict[str, Any], npt.NDArray[Any]]:
    """The row of one scan in one precision, and its mask (Z, Y, X)."""
    segmenter = Segmenter.shipped(str(meter.device), precision=precision)
    support = segmenter.support(*labelled)
    masks: list[npt.NDArray[Any]] = []
    row = meter.row(lambda: masks.append(segmenter.segment(query, support).data))
    return row, masks[-1]


def stepping(meter: Meter, presets: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A training step of each method, and how long 100,000 of them take."""
    for preset in presets:
        precision = choose_precision("auto", meter.device)
        row = meter.row(_step_of(preset, precision, meter.device))
        hours = row["seconds"] * LONG / 3600
        yield {"work": f"step, {preset}", "precision": precision, **row, "hours of 100k": hours}


def _step_of(preset: str, precision: Precision, device: torch.device) -> Call:
    """One training step of a method on a made episode of 256 x 256."""
    config = load_preset(preset)
    method = build_method(config.method, config.options.without_weights()).to(device).train()
    optimiser, episode = make_optimiser(method, config.train), made_episode().to(device)
    assert optimiser is not None

    def step() -> None:
        with autocast(precision, device):
            found = method(episode)
        terms = loss_terms(found, episode, config.train)
        take_step(optimiser, torch.stack([*terms.values()]).sum(), 1e-4, 1.0)

    return step


def pretraining(meter: Meter, tiny: bool) -> Iterator[dict[str, Any]]:
    """Made-up pairs, and a step of the in-context network on them."""
    batch, size = (2, 32) if tiny else (8, 96)
    config = PretrainConfig(
        batch=batch,
        pairs=PairOptions(size=size),
        cohorts=CohortOptions(size=size),
        network=NetworkOptions(size=size),
    )
    generator = PairGenerator(0, batch, config.pairs, meter.device)
    made = iter(range(10**9))
    row = meter.row(lambda: generator(next(made)), batch)
    yield {"work": f"make a pair of {size} x {size}", "precision": "float32", **row}
    training = PairTraining(InContext(config.network), config, meter.device)
    pairs = generator(0)
    row = meter.row(lambda: training.advance(pairs))
    hours = row["seconds"] * LONG / 3600
    work = f"pretrain, a step of {batch} pairs of {size} x {size}"
    yield {"work": work, "precision": "bfloat16", **row, "hours of 100k": hours}


def machine(device: torch.device) -> dict[str, Any]:
    """What computes."""
    if device.type != "cuda":
        return {"device": device.type, **versions()}
    facts = torch.cuda.get_device_properties(device)
    return {"device": facts.name, "GB of the device": facts.total_memory / 1e9, **versions()}


def table(found: dict[str, Any]) -> list[str]:
    """The file as lines of Markdown."""
    about = ", ".join(f"{key} {_cell(value)}" for key, value in found["machine"].items())
    heads = ("work", "precision", "seconds", "first", "GB", "hours of 100k", "dice")
    lines = [f"{about}.", "", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in found["rows"]:
        lines.append("| " + " | ".join(_cell(row.get(head, "–")) for head in heads) + " |")
    return lines


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def main(
    device: str = "auto",
    minutes: float = 9.0,
    presets: Annotated[list[str] | None, typer.Option("--preset", help="Only these.")] = None,
    tiny: bool = False,
    out: Path = Path(__file__).parents[1] / "docs" / "gpu.json",
) -> None:
    """Measure everything, and write what was measured after each row."""
    place = choose_device(device)
    meter = Meter(place, 0.0 if tiny else 60 * minutes / PARTS)
    found: dict[str, Any] = {"machine": machine(place), "tiny": tiny, "rows": []}
    torch.manual_seed(0)
    for rows in (
        segmenting(meter, tiny),
        stepping(meter, presets or PRESETS),
        pretraining(meter, tiny),
    ):
        for row in rows:
            found["rows"].append(row)
            print(json.dumps(row), flush=True)
            write_json(out, found)


if __name__ == "__main__":
    typer.run(main)
