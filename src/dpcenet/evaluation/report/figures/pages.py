"""The figures of a report's section, each with its caption."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure

from dpcenet.data.store import PreparedDataset, open_dataset
from dpcenet.errors import DatasetError
from dpcenet.evaluation.report.figures.attention import Attention, attention_of, draw_attention
from dpcenet.evaluation.report.figures.lettering import Lettering
from dpcenet.evaluation.report.figures.plots import (
    Values,
    box_plot,
    by_position,
    slice_dice,
    training_curves,
)
from dpcenet.evaluation.report.figures.slices import (
    case_panels,
    draw,
    label_value,
    predicted,
    ranked,
)
from dpcenet.evaluation.report.run_labels import data_key, row_names
from dpcenet.evaluation.report.tables import case_dice, evaluations, in_order, reference_of
from dpcenet.evaluation.scores import Score
from dpcenet.methods.dpcenet.model import DPCENet
from dpcenet.system.texts import Saying, saying
from dpcenet.training.checkpoint import CHECKPOINT
from dpcenet.training.run_folder import Run

Groups = dict[str, list[Run]]


class Captioned(NamedTuple):
    """A figure, what stands below it, and the texts that are written in it."""

    caption: Saying
    figure: Figure
    lettering: Lettering


def figures_of(runs: Sequence[Run]) -> dict[str, Captioned]:
    """Name → figure with its caption, for the runs of each data set and setting.

    Figures of slices are left out where the scans, or what was predicted in them, are not there any
    more.
    """
    groups: dict[str, Groups] = {}
    for run, name in zip(runs, row_names(runs), strict=True):
        groups.setdefault(str(data_key(run)), {}).setdefault(name, []).append(run)
    return {
        f"{data}-{name}".strip("-"): figure
        for data, methods in groups.items()
        for name, figure in _figures(methods)
    }


def _figures(methods: Groups) -> Iterator[tuple[str, Captioned]]:
    """The figures of one data set and setting."""
    first = {name: _scores(runs) for name, runs in methods.items()}
    scored = {name: scores for name, scores in first.items() if scores}
    if scored:
        say = Lettering()
        yield "box", Captioned(Saying("figure.box"), box_plot(_units(scored), say), say)
    logs = {name: runs[0].folder / "log.jsonl" for name, runs in methods.items()}
    curves = training_curves(logs, say := Lettering())
    if curves is not None:
        yield "training", Captioned(Saying("figure.training"), curves, say)
    try:
        dataset = open_dataset(next(iter(methods.values()))[0].flags.data)
    except DatasetError:
        return  # the scans have been moved or deleted
    if scored and (positions := _positions(dataset, methods, scored)):
        drawn = by_position(positions, say := Lettering())
        yield "position", Captioned(Saying("figure.position"), drawn, say)
        yield from _grids(dataset, methods, scored)
    attentions = _attentions(dataset, methods)
    if attentions:
        drawn = draw_attention(attentions, say := Lettering())
        yield "attention", Captioned(Saying("figure.attention"), drawn, say)


def _scores(runs: Sequence[Run]) -> list[Score]:
    """The scores of runs under the first protocol, without the pasted masks beside them."""
    return [
        score
        for run in runs
        for _, scores, _ in evaluations(run)[:1]
        for score in scores
        if score.method == run.config.preset
    ]


def _units(scored: Mapping[str, Sequence[Score]]) -> dict[str, dict[str, list[float]]]:
    """Label → method → percent Dice of each case."""
    labels = in_order(s.label for scores in scored.values() for s in scores)
    units = {name: case_dice(scores) for name, scores in scored.items()}
    return {
        label: {n: list(cases[label].values()) for n, cases in units.items() if label in cases}
        for label in labels
    }


def _positions(
    dataset: PreparedDataset, methods: Groups, scored: Mapping[str, Sequence[Score]]
) -> dict[str, dict[str, tuple[Values, Values]]]:
    """Label → method → Dice and place of all slices."""
    found: dict[str, dict[str, tuple[Values, Values]]] = {}
    for name, runs in methods.items():
        parts: dict[str, list[tuple[Values, Values]]] = {}
        for run in runs:
            for score in _scores([run]):
                pair = predicted(run, score)
                truth = dataset.case(score.case).label == label_value(dataset, score.label)
                if pair is not None and truth.any():
                    parts.setdefault(score.label, []).append(slice_dice(pair[0], truth))
        for label, pieces in parts.items():
            dice, place = (np.concatenate(column) for column in zip(*pieces, strict=True))
            found.setdefault(label, {})[name] = (dice, place)
    return {label: found[label] for label in in_order(found)}


def _grids(
    dataset: PreparedDataset, methods: Groups, scored: Mapping[str, Sequence[Score]]
) -> Iterator[tuple[str, Captioned]]:
    """For each label the best, median and worst case of DPCENet, or of the last method."""
    reference = reference_of(scored) or [*scored][-1]
    one_seed = [s for s in scored[reference] if s.seed == scored[reference][0].seed]
    for label in in_order(s.label for s in one_seed):
        say = Lettering()
        rows = [
            (
                say(f"panel.{rank}", dice=f"{100 * score.dice:.0f}"),
                case_panels(dataset, score, methods, say),
            )
            for rank, score in ranked([s for s in one_seed if s.label == label])
        ]
        caption = saying("figure.cases", label=label, method=reference)
        yield f"cases-{label.replace(' ', '-')}", Captioned(caption, draw(rows), say)


def _attentions(dataset: PreparedDataset, methods: Groups) -> list[Attention]:
    """The attention of the first DPCENet that has both of its parts, for each organ."""
    runs = [run for runs in methods.values() for run in runs if run.config.method == "dpcenet"]
    there = [run for run in runs if (run.folder / CHECKPOINT).exists()]
    full = [run for run in there if run.config.options.dpce and run.config.options.sqca != "off"]
    found: dict[str, Attention] = {}
    for run in full:
        for score in _scores([run]):
            if score.label in found:
                continue
            method = run.load_method(torch.device("cpu"))
            assert isinstance(method, DPCENet)
            value = label_value(dataset, score.label)
            support = dataset.case(score.support.split("+")[0])
            query = dataset.case(score.case)
            z_s, z_q = (int((c.label == value).sum(axis=(1, 2)).argmax()) for c in (support, query))
            mask = np.asarray(support.label[z_s] == value)
            if not mask.any():
                continue
            look = attention_of(method, score.label, support.image[z_s], mask, query.image[z_q])
            if look is not None:
                found[score.label] = look
    return [found[label] for label in in_order(found)]
