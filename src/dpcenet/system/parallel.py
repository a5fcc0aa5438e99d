"""One function over many items, wherever there is room: here, in processes, or on a Ray cluster.

An item that fails does not stop the others. Results come as they are ready.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Generic, TypeVar

from dpcenet.errors import ConfigError

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Outcome(Generic[Result]):
    """What became of one item.

    Attributes:
        index: of the item.
        result: of the function, or None where it failed.
        error: why it failed, in a line; empty where it did not.
    """

    index: int
    result: Result | None = None
    error: str = ""


RETRIES = 5  # of an item whose node or process was lost
Engine = Callable[[Callable[[Any], Any], Sequence[Any]], Iterator[Outcome[Any]]]


def attempt(function: Callable[[Item], Result], index: int, item: Item) -> Outcome[Result]:
    """Call the function; an exception becomes an outcome."""
    try:
        return Outcome(index, function(item))
    except Exception as error:
        return Outcome(index, error=f"{type(error).__name__}: {error}")


def in_turn(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Outcome[Result]]:
    """One after the other, in this process."""
    for index, item in enumerate(items):
        yield attempt(function, index, item)


def in_processes(workers: int) -> Engine:
    """An engine of `workers` processes at a time, a fresh one for each item.

    A process that is killed takes only its own item with it. The processes end when this one does,
    however it ends.
    """

    def run(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Outcome[Result]]:
        with ThreadPoolExecutor(workers) as pool:
            futures = [
                pool.submit(_in_child, function, index, item) for index, item in enumerate(items)
            ]
            try:
                for future in as_completed(futures):
                    yield future.result()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    return run


def on_ray(address: str | None, cpus: float, gpus: float) -> Engine:
    """An engine of a Ray cluster, which retries what a lost node or a killed process was doing.

    What the function reads and writes must lie where every node finds it under the same path.

    Args:
        address: of the cluster, or "auto"; None starts one on this machine.
        cpus, gpus: that one item takes.

    Raises:
        ConfigError: Ray is not installed, or no cluster answers.
    """
    try:
        import ray
    except ImportError as error:
        raise ConfigError("--engine ray: install it with pip install 'dpcenet[ray]'") from error
    if not ray.is_initialized():
        try:
            ray.init(address=address, log_to_driver=False, include_dashboard=False)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ConfigError(f"--address {address}: no Ray cluster answers ({error})") from error

    def run(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Outcome[Result]]:
        remote: Any = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES)(attempt)
        waiting = {remote.remote(function, index, item): index for index, item in enumerate(items)}
        while waiting:
            (ready,), _ = ray.wait(list(waiting), num_returns=1)
            index = waiting.pop(ready)
            try:
                yield ray.get(ready)
            except ray.exceptions.RayError as error:
                yield Outcome(index, error=f"{type(error).__name__}: {error}")

    return run


def _in_child(function: Callable[[Item], Result], index: int, item: Item) -> Outcome[Result]:
    """The outcome of one item in a process of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(theirs, function, index, item), daemon=True)
    process.start()
    theirs.close()
    try:
        outcome: Outcome[Result] = ours.recv()
    except EOFError:
        process.join()
        return Outcome(index, error=f"the process ended by itself (exit code {process.exitcode})")
    process.join()
    return outcome


def _serve(answer: Connection, function: Callable[[Item], Result], index: int, item: Item) -> None:
    """What the child does."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    answer.send(attempt(function, index, item))


def _end_with_parent() -> None:
    """A parent that was killed leaves no child behind that goes on working."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
