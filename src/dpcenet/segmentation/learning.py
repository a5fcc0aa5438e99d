"""`segment --learn`: the network learns from the labelled scans before it segments the others.

OUT/learn.json                  what was learnt from, and how long
OUT/learnt.safetensors          the weights
OUT/learnt_scans.safetensors    scans that serve the others with their answers; see `pseudo_labels`
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from dpcenet.segmentation.pseudo_labels import FROM, load, pseudo_labelled, save
from dpcenet.segmentation.result import SegmentationResult
from dpcenet.segmentation.segment_options import Outcome
from dpcenet.segmentation.segment_queries import CAUGHT
from dpcenet.segmentation.segmenter import Segmenter
from dpcenet.system.faults import out_of_memory
from dpcenet.system.files import file_hash, read_json, write_json
from dpcenet.system.progress import say
from dpcenet.system.words import counted
from dpcenet.volumes.adapters import Scan, name_of, open_scan, several

if TYPE_CHECKING:
    from dpcenet.training.checked_training import LearnOptions

RECORD, WEIGHTS, SCANS = "learn.json", "learnt.safetensors", "learnt_scans.safetensors"


def learn(
    segmenter: Segmenter,
    support: Support,
    scans: Scan | Sequence[Scan] = (),
    minutes: float = 10.0,
    seed: int = 0,
    quiet: bool = False,
) -> Segmenter:
    """Let the network learn from the labelled scans.

        segmenter = dpcenet.learn(segmenter, support, scans)
        results = [dpcenet.predict_with(segmenter, support, scan) for scan in scans]

    Args:
        segmenter: with the in-context network.
        support: the labelled scans, from `Segmenter.support`.
        scans: some of those to be segmented. The first four are segmented, and the best answers
            serve the other scans in place of labels.
        minutes: of training, at most. Fewer where 200 steps take less.
        seed: of the training pairs. The same seed gives the same network where the steps end
            before the time.
        quiet: no progress bar.

    Returns:
        a segmenter that segments several times, from these labelled scans: each label of a scan
        takes the answer with the highest predicted Dice; see `better_answers`. That takes about
        five times as long.

    Raises:
        VolumeError: a scan cannot be used.
        ConfigError: another network, or a task without images.
    """
    from dpcenet.training.learn import learn as train
    from dpcenet.training.learn import learn_options

    options = learn_options(minutes, seed)
    some: list[Scan] = several(scans)
    for scan in some[:FROM]:  # what is wrong with them is said before the training
        segmenter.prepare(open_scan(scan), support, name_of(scan))
    learnt = train(segmenter.predictor, support.scans, support.values, options, quiet)
    both = with_network(segmenter, support, learnt.network)
    return with_answers(both, ((name_of(scan), both.find(scan, support)) for scan in some))


def learn_into(
    out: Path,
    segmenter: Segmenter,
    support: Support,
    scans: Iterable[tuple[str, Callable[[], Scan]]],
    minutes: float,
    again: bool,
    quiet: bool = False,
) -> str:
    """Learn, and keep it in the folder of the results; what was learnt before is taken.

    Args:
        out: the folder.
        segmenter, support: the network and the labelled scans.
        scans: name of each scan to be segmented, and what reads it. One that cannot be used is
            passed over.
        minutes: of training, at most.
        again: learn anew.
        quiet: no progress bar.

    Returns:
        what was done in words; `with_learnt` takes it from the folder.

    Raises:
        ConfigError: see `learn`.
    """
    from dpcenet.training.learn import check_images, learn_options
    from dpcenet.training.learn import learn as train

    options = learn_options(minutes)
    check_images(support.scans)
    made_from = _made_from(segmenter, support, options)
    if not again and (known := _known(out, made_from)):
        return known
    learnt = train(segmenter.predictor, support.scans, support.values, options, quiet)
    save_tensors(out / WEIGHTS, learnt.network.state_dict(), {})
    say("learn: segmenting the first scans, whose answers serve the others", quiet)
    both = with_network(segmenter, support, learnt.network)
    answered = with_answers(both, _found(both, support, scans)).learnt
    assert answered is not None
    save(out / SCANS, answered.pseudo_labelled)
    facts = {
        "made from": made_from,
        "weights": hash_of_state(learnt.network),
        "files": {name: file_hash(out / name) for name in (WEIGHTS, SCANS)},
        "steps": learnt.steps,
        "seconds": round(learnt.seconds, 1),
        "answers of": [scan.name for scan in answered.pseudo_labelled],
        "said": str(learnt),
    }
    write_json(out / RECORD, facts)
    return str(learnt)


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


def with_learnt(segmenter: Segmenter, support: Support, out: Path) -> Segmenter:
    """The segmenter, and beside it what `learn_into` kept in a folder.

    Raises:
        WeightsError, RunError: a file is missing or damaged.
    """
    both = with_weights(segmenter, support, out / WEIGHTS)
    assert both.learnt is not None
    answered = load(out / SCANS, both.learnt.predictor)
    return replace(both, learnt=replace(both.learnt, pseudo_labelled=answered))


def with_weights(segmenter: Segmenter, support: Support, path: Path) -> Segmenter:
    """The segmenter, and beside it a network with weights of a file.

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


def with_answers(
    segmenter: Segmenter, found: Iterable[tuple[str, SegmentationResult]]
) -> Segmenter:
    """A segmenter with a network that learnt, and what it found in the first of some scans."""
    assert segmenter.learnt is not None
    answered = pseudo_labelled(segmenter.learnt.predictor, found)
    return replace(segmenter, learnt=replace(segmenter.learnt, pseudo_labelled=answered))


def _found(
    segmenter: Segmenter, support: Support, scans: Iterable[tuple[str, Callable[[], Scan]]]
) -> Iterator[tuple[str, SegmentationResult]]:
    """Results; what is wrong with a scan that cannot be used is said when it is segmented."""
    for name, read in scans:
        try:
            found = segmenter.find(read(), support)
        except CAUGHT as error:
            if isinstance(error, RuntimeError) and not out_of_memory(error):
                raise
            continue
        yield name, found


def _made_from(segmenter: Segmenter, support: Support, options: LearnOptions) -> dict[str, Any]:
    """What the weights and the answers for the first scans depend on, as JSON; not on which scans
    there are, which may become more."""
    return {
        "support": [scan.digest for scan in support.scans],
        "labels": list(support.values),
        "network": hash_of_state(segmenter.predictor.method),
        "precision": segmenter.predictor.precision,
        "fast": not segmenter.predictor.second_look,
        "one part": segmenter.predictor.one_part,
        "options": asdict(options),
        "dpcenet": dpcenet.__version__,
    }


def _known(out: Path, made_from: dict[str, Any]) -> str:
    """What was learnt before from the same; "" where that is not so, or it is damaged."""
    if not (out / RECORD).exists():
        return ""
    try:
        facts = read_json(out / RECORD, {"made from": dict, "files": dict, "said": str})
    except ConfigError:
        return ""
    if facts["made from"] != made_from or set(facts["files"]) != {WEIGHTS, SCANS}:
        return ""
    intact = (
        (out / name).is_file() and file_hash(out / name) == digest
        for name, digest in facts["files"].items()
    )
    return f"{facts['said']} (from before)" if all(intact) else ""
