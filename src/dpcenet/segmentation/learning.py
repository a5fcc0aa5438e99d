"""`segment --learn`: the network learns from the labelled scans before it segments the others.

OUT/learn.json             what was learnt from, every reverse check, which state was kept
OUT/learnt.safetensors     the weights; absent where learning did not help
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

import dpcenet
from dpcenet.errors import ConfigError, InputError
from dpcenet.inference.encoded import encode_slices
from dpcenet.inference.support import Support
from dpcenet.methods.base import Method
from dpcenet.nn.tensor_files import save_tensors
from dpcenet.nn.weights import hash_of_state, load_weights
from dpcenet.segmentation.segmenter import Segmenter
from dpcenet.system.files import file_hash, read_json, write_json
from dpcenet.volumes.adapters import Scan, name_of, open_scan, several

if TYPE_CHECKING:
    from dpcenet.training.checked_training import AdaptOptions
    from dpcenet.training.learn import Learnt

RECORD, WEIGHTS = "learn.json", "learnt.safetensors"


@dataclass(frozen=True)
class PreparedScan:
    """A scan to be segmented, prepared like the labelled ones.

    Attributes:
        name: of the scan.
        image: (Z, H, W) float32.
        spacing: along z, y, x in mm.
    """

    name: str
    image: npt.NDArray[np.float32]
    spacing: tuple[float, float, float]


def learn(
    segmenter: Segmenter,
    support: Support,
    scans: Scan | Sequence[Scan],
    minutes: float = 10.0,
    seed: int = 0,
    quiet: bool = False,
) -> tuple[Segmenter, Support]:
    """Let the network learn from the labelled scans.

        segmenter, support = dpcenet.learn(segmenter, support, ["a.nii.gz", "b.nii.gz"])
        results = [dpcenet.predict_with(segmenter, support, scan) for scan in scans]

    Args:
        segmenter: with the in-context network.
        support: the labelled scans, from `Segmenter.support`.
        scans: some of those to be segmented; the first four serve the reverse check, which tells
            whether learning helped.
        minutes: in all, at most. Fewer where 200 steps take less.
        seed: of the training pairs. The same seed gives the same network where the steps end
            before the time.
        quiet: no progress bar.

    Returns:
        a segmenter with the best state, which may be the one before, and the labelled scans as it
        sees them. Its predicted Dice is not calibrated, so no result is accepted.

    Raises:
        VolumeError: a scan cannot be used.
        ConfigError: another network, a task without images, or no scan.
    """
    from dpcenet.training.learn import learn_options

    options = learn_options(minutes, seed)
    some: list[Scan] = several(scans)
    each = (_prepared(segmenter, support, scan, name_of(scan)) for scan in some)
    learnt = _learn(segmenter, support, each, options, quiet)
    if learnt.network is None:
        return segmenter, support
    return with_network(segmenter, support, learnt.network)


def learn_into(
    out: Path,
    segmenter: Segmenter,
    support: Support,
    scans: Iterable[tuple[str, Callable[[], Scan]]],
    minutes: float,
    again: bool,
    quiet: bool = False,
) -> tuple[Path | None, str]:
    """Learn, and keep the weights in the folder of the results; what was learnt before is taken.

    Args:
        out: the folder.
        segmenter, support: the network and the labelled scans.
        scans: name of each scan to be segmented, and what reads it. One that cannot be read is
            passed over.
        minutes: in all, at most.
        again: learn anew.
        quiet: no progress bar.

    Returns:
        the file of the weights, None where learning did not help, and what came of it in words.

    Raises:
        ConfigError: see `learn`.
    """
    from dpcenet.training.learn import learn_options

    options = learn_options(minutes)
    made_from = _made_from(segmenter, support, options)
    if not again and (known := _known(out, made_from)):
        return known
    learnt = _learn(segmenter, support, _readable(segmenter, support, scans), options, quiet)
    weights = None if learnt.network is None else out / WEIGHTS
    if learnt.network is None:
        (out / WEIGHTS).unlink(missing_ok=True)  # of an earlier call
    else:
        save_tensors(out / WEIGHTS, learnt.network.state_dict(), {})
    facts = {
        "made from": made_from,
        "weights": None if learnt.network is None else hash_of_state(learnt.network),
        "file": "" if weights is None else file_hash(weights),
        "checks": list(learnt.checks),
        "kept": learnt.kept,
        "checked scans": learnt.checked,
        "said": str(learnt),
    }
    write_json(out / RECORD, facts)
    return weights, str(learnt)


def with_weights(segmenter: Segmenter, support: Support, path: Path) -> tuple[Segmenter, Support]:
    """The segmenter with weights that `learn_into` kept, and the labelled scans as it sees them.

    Raises:
        WeightsError: the file is missing or damaged.
    """
    method = deepcopy(segmenter.predictor.method)
    load_weights(method, path)
    return with_network(segmenter, support, method.eval())


def with_network(
    segmenter: Segmenter, support: Support, method: Method
) -> tuple[Segmenter, Support]:
    """The segmenter with another network, and the labelled scans encoded by it."""
    predictor = replace(segmenter.predictor, method=method)
    scans = []
    for scan in support.scans:
        images = scan.slices.images
        features = encode_slices(method, images, predictor.precision)
        scans.append(replace(scan, slices=replace(scan.slices, features=features)))
    return replace(segmenter, predictor=predictor), replace(support, scans=tuple(scans))


def _learn(
    segmenter: Segmenter,
    support: Support,
    scans: Iterable[PreparedScan],
    options: AdaptOptions,
    quiet: bool,
) -> Learnt:
    """Train on the labelled scans, and check in the first few of the others."""
    from dpcenet.training.checked_training import Clock
    from dpcenet.training.learn import learn as train
    from dpcenet.training.reverse_check import CHECKED

    clock = Clock(60 * options.minutes)
    if any(scan.slices.windows is not None for scan in support.scans):
        raise ConfigError(
            "--learn: the task file holds no images; make it with `dpcenet task create "
            "--with-images`"
        )
    others = list(islice(scans, CHECKED))
    return train(segmenter.predictor, support.scans, support.values, others, options, clock, quiet)


def _prepared(segmenter: Segmenter, support: Support, scan: Scan, name: str) -> PreparedScan:
    prepared, _ = segmenter.prepare(open_scan(scan), support, name)
    return PreparedScan(name, prepared.image, prepared.spacing)


def _readable(
    segmenter: Segmenter, support: Support, scans: Iterable[tuple[str, Callable[[], Scan]]]
) -> Iterator[PreparedScan]:
    """The scans that can be read; what is wrong with the others is said when they are segmented."""
    for name, read in scans:
        with suppress(InputError, OSError):
            yield _prepared(segmenter, support, read(), name)


def _made_from(segmenter: Segmenter, support: Support, options: AdaptOptions) -> dict[str, Any]:
    """What the weights depend on, as JSON; not on the scans of the check, which may become more."""
    return {
        "support": [scan.digest for scan in support.scans],
        "labels": list(support.values),
        "network": hash_of_state(segmenter.predictor.method),
        "precision": segmenter.predictor.precision,
        "options": asdict(options),
        "dpcenet": dpcenet.__version__,
    }


def _known(out: Path, made_from: dict[str, Any]) -> tuple[Path | None, str] | None:
    """What was learnt before from the same; None where that is not so, it is damaged, or the time
    was too short."""
    from dpcenet.training.checked_training import too_short

    if not (out / RECORD).exists():
        return None
    needs = {"made from": dict, "kept": int, "said": str, "checks": list}
    try:
        facts = read_json(out / RECORD, needs)
    except ConfigError:
        return None
    if facts["made from"] != made_from or too_short(facts["checks"]):
        return None
    weights = out / WEIGHTS if facts["kept"] else None
    if weights is not None and facts.get("file") != _hash(weights):
        return None
    return weights, f"{facts['said']} (from before)"


def _hash(path: Path) -> str:
    return file_hash(path) if path.is_file() else ""
