"""Checkpoints: one safetensors file with weights, optimiser state and step; whole or absent.

A frozen trunk does not change, so it is written once beside the checkpoint and not again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dpcenet.errors import RunError
from dpcenet.methods.base import Method
from dpcenet.nn.tensor_files import State, load_tensors, save_tensors
from dpcenet.system.structured import Needs, parse_json
from dpcenet.system.validated import validated
from dpcenet.training.kept_weights import Check, KeptWeights

FORMAT = "1"
CHECKPOINT = "checkpoint.safetensors"
TRUNK = "trunk.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """What a run needs to go on, and to predict: the steps done, the weights after the last one,
    the optimiser's state, and which weights are kept."""

    step: int
    model: State
    optimiser: State
    kept: KeptWeights

    @property
    def to_predict(self) -> Checkpoint:
        """The same with the weights that predict."""
        return replace(self, model={**self.model, **self.kept.to_predict})


def split_state(method: Method) -> tuple[State, State]:
    """A method's state as (what training changes, what a frozen trunk keeps)."""
    state = method.state_dict()
    frozen = method.frozen_names()
    return (
        {name: tensor for name, tensor in state.items() if name not in frozen},
        {name: state[name] for name in frozen},
    )


def save_parts(path: Path, parts: Mapping[str, State], facts: Mapping[str, Any]) -> None:
    """Write named sets of tensors, and facts as JSON, into one safetensors file."""
    tensors: State = {}
    for part, state in parts.items():
        tensors |= {f"{part}.{name}": value for name, value in state.items()}
    save_tensors(path, tensors, {"format": FORMAT, "facts": json.dumps(facts)})


def load_parts(
    path: Path, names: Sequence[str], needs: Needs
) -> tuple[dict[str, State], dict[str, Any]]:
    """What `save_parts` wrote; a part without tensors is empty.

    Args:
        path: of the file.
        names: of the parts.
        needs: of the facts.

    Raises:
        RunError: it is damaged, of a format that this version does not know, or of other parts.
    """
    tensors, metadata = load_tensors(path)
    if metadata.get("format") != FORMAT:
        raise RunError(f"{path}: format {metadata.get('format')!r}; this version reads {FORMAT}")
    parts: dict[str, State] = {name: {} for name in names}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        if part not in parts:
            raise RunError(f"{path}: a tensor {name[:80]!r} belongs to no part; train again")
        parts[part][rest] = tensor
    return parts, facts_of(path, metadata, needs)


def optimiser_state(optimiser: torch.optim.Optimizer) -> State:
    """The tensors of an optimiser, "NUMBER OF THE PARAMETER.NAME" → tensor."""
    return {
        f"{number}.{name}": value
        for number, state in optimiser.state_dict()["state"].items()
        for name, value in state.items()
        if isinstance(value, Tensor)
    }


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: State) -> None:
    """Put back the tensors of `optimiser_state`.

    Raises:
        RunError: they do not fit the optimiser.
    """
    state: dict[int, State] = {}
    try:
        for name, tensor in tensors.items():
            number, _, key = name.partition(".")
            state.setdefault(int(number), {})[key] = tensor
        optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
    except (ValueError, KeyError) as error:
        raise RunError(f"the checkpoint does not fit the optimiser: {error}") from error
    for parameter, moments in optimiser.state.items():
        for key, value in moments.items():
            if value.shape == parameter.shape:
                # A fused optimiser walks memory: moments must lie in it as the weights do.
                moments[key] = torch.empty_like(parameter).copy_(value)


def save_checkpoint(
    folder: Path,
    method: Method,
    optimiser: torch.optim.Optimizer | None,
    step: int,
    kept: KeptWeights | None = None,
) -> None:
    """Write the checkpoint of a run; the frozen trunk only if it is not there yet."""
    changing, frozen = split_state(method)
    if frozen and not (folder / TRUNK).exists():
        save_tensors(folder / TRUNK, frozen, {"format": FORMAT})
    kept = kept or KeptWeights()
    parts = {"model": changing, "average": kept.average, "best": kept.best}
    if optimiser is not None:
        parts["optimiser"] = optimiser_state(optimiser)
    facts = {"step": step, "checks": [asdict(check) for check in kept.checks]}
    save_parts(folder / CHECKPOINT, parts, facts)


def load_checkpoint(folder: Path) -> Checkpoint | None:
    """The checkpoint of a run, or None where none was written yet.

    Raises:
        RunError: it is damaged, or of a format that this version does not know.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    parts, facts = load_parts(path, ("model", "optimiser", "average", "best"), {"step": int})
    if (folder / TRUNK).exists():
        parts["model"] |= load_tensors(folder / TRUNK)[0]
    checks = validated(tuple[Check, ...], facts.get("checks", []), path, "checks", error=RunError)
    kept = KeptWeights(parts["average"], parts["best"], list(checks))
    return Checkpoint(facts["step"], parts["model"], parts["optimiser"], kept)


def facts_of(path: Path, metadata: Mapping[str, str], needs: Needs) -> dict[str, Any]:
    """The facts that lie as JSON in the metadata of a safetensors file.

    Raises:
        RunError: they lack something, or are damaged.
    """
    return parse_json(metadata.get("facts", ""), path, needs, error=RunError)


def restore(
    checkpoint: Checkpoint, method: Method, optimiser: torch.optim.Optimizer | None = None
) -> None:
    """Put a checkpoint's tensors back.

    Raises:
        RunError: the tensors do not fit the method.
    """
    try:
        method.load_state_dict(checkpoint.model)
    except RuntimeError as error:
        raise RunError(f"the checkpoint does not fit the method: {error}") from error
    if optimiser is not None:
        restore_optimiser(optimiser, checkpoint.optimiser)
