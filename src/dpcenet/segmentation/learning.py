"""`segment --learn`: the network learns from the labelled scans before it segments the others.

OUT/learn.json             what was learnt from, and how long
OUT/learnt.safetensors     the weights
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import dpcenet
from dpcenet.errors import ConfigError
from dpcenet.inference.support import Support
from dpcenet.methods.base import Method
from dpcenet.nn.tensor_files import save_tensors
from dpcenet.nn.weights import hash_of_state, load_weights
from dpcenet.segmentation.better_answers import LearntNetwork
from dpcenet.segmentation.segment_options import Outcome
from dpcenet.segmentation.segmenter import Segmenter
from dpcenet.system.files import file_hash, read_json, write_json
from dpcenet.system.words import counted

if TYPE_CHECKING:
    from dpcenet.training.checked_training import LearnOptions

RECORD, WEIGHTS = "learn.json", "learnt.safetensors"


def learn(
    segmenter: Segmenter,
    support: Support,
    minutes: float = 10.0,
    seed: int = 0,
    quiet: bool = False,
) -> Segmenter:
    """Let the network learn from the labelled scans.

        segmenter = dpcenet.learn(segmenter, support)
        results = [dpcenet.predict_with(segmenter, support, scan) for scan in scans]

    Args:
        segmenter: with the in-context network.
        support: the labelled scans, from `Segmenter.support`.
        minutes: in all, at most. Fewer where 200 steps take less.
        seed: of the training pairs. The same seed gives the same network where the steps end
            before the time.
        quiet: no progress bar.

    Returns:
        a segmenter that segments with both networks, from these labelled scans: each label of a
        scan takes the answer with the higher predicted Dice, before learning or after. That takes
        about three times as long.

    Raises:
        ConfigError: another network, or a task without images.
    """
    from dpcenet.training.learn import learn as train
    from dpcenet.training.learn import learn_options

    options = learn_options(minutes, seed)
    learnt = train(segmenter.predictor, support.scans, support.values, options, quiet)
    return with_network(segmenter, support, learnt.network)


def learn_into(
    out: Path,
    segmenter: Segmenter,
    support: Support,
    minutes: float,
    again: bool,
    quiet: bool = False,
) -> tuple[Path, str]:
    """Learn, and keep the weights in the folder of the results; what was learnt before is taken.

    Args:
        out: the folder.
        segmenter, support: the network and the labelled scans.
        minutes: in all, at most.
        again: learn anew.
        quiet: no progress bar.

    Returns:
        the file of the weights, and what was done in words.

    Raises:
        ConfigError: see `learn`.
    """
    from dpcenet.training.learn import learn as train
    from dpcenet.training.learn import learn_options

    options, weights = learn_options(minutes), out / WEIGHTS
    made_from = _made_from(segmenter, support, options)
    if not again and (known := _known(out, made_from)):
        return weights, known
    learnt = train(segmenter.predictor, support.scans, support.values, options, quiet)
    save_tensors(weights, learnt.network.state_dict(), {})
    facts = {
        "made from": made_from,
        "weights": hash_of_state(learnt.network),
        "file": file_hash(weights),
        "steps": learnt.steps,
        "seconds": round(learnt.seconds, 1),
        "said": str(learnt),
    }
    write_json(out / RECORD, facts)
    return weights, str(learnt)


def said_of_learning(about: Mapping[str, Any], outcomes: Iterable[Outcome]) -> list[str]:
    """What was learnt, and what that brought by the predicted Dice; [] where nothing was learnt.

    Args:
        about: facts of the call.
        outcomes: of the queries.
    """
    if "learn" not in about:
        return []
    choices = [each for o in outcomes for each in o.facts.get("learnt", {}).values()]
    if not choices:
        return [about["learn"]]
    before = fmean(each["before"] for each in choices)
    best = fmean(max(each["before"], each["after"]) for each in choices)
    taken = sum(each["after"] > each["before"] for each in choices)
    masks = f"{about['learn']}; {taken} of {counted(len(choices), 'mask')} taken after learning"
    return [f"{masks}: predicted Dice {100 * before:.1f} % before, {100 * best:.1f} % now"]


def with_weights(segmenter: Segmenter, support: Support, path: Path) -> Segmenter:
    """The segmenter, and beside it the weights that `learn_into` kept.

    Raises:
        WeightsError: the file is missing or damaged.
    """
    method = deepcopy(segmenter.predictor.method)
    load_weights(method, path)
    return with_network(segmenter, support, method.eval())


def with_network(segmenter: Segmenter, support: Support, method: Method) -> Segmenter:
    """The segmenter, and beside it a network that learnt from these labelled scans."""
    predictor = replace(segmenter.predictor, method=method)
    return replace(segmenter, learnt=LearntNetwork.of(predictor, support))


def _made_from(segmenter: Segmenter, support: Support, options: LearnOptions) -> dict[str, Any]:
    """What the weights depend on, as JSON."""
    return {
        "support": [scan.digest for scan in support.scans],
        "labels": list(support.values),
        "network": hash_of_state(segmenter.predictor.method),
        "precision": segmenter.predictor.precision,
        "options": asdict(options),
        "dpcenet": dpcenet.__version__,
    }


def _known(out: Path, made_from: dict[str, Any]) -> str:
    """What was learnt before from the same; "" where that is not so, or it is damaged."""
    if not (out / RECORD).exists():
        return ""
    try:
        facts = read_json(out / RECORD, {"made from": dict, "file": str, "said": str})
    except ConfigError:
        return ""
    weights = out / WEIGHTS
    if facts["made from"] != made_from or not weights.is_file():
        return ""
    return f"{facts['said']} (from before)" if facts["file"] == file_hash(weights) else ""
