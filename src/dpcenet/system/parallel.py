"""Apply a function to many items: in this process, in several, or on a Ray cluster.

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
from dpcenet.system.faults import mendable, out_of_space
from dpcenet.system.quiet_dicom import silence_dicom

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class ItemOutcome(Generic[Result]):
    """How one item went.

    Attributes:
        index: of the item.
        result: of the function, or None where it failed.
        error: why it failed, in a line; empty where it did not.
        final: the disk is full, which every other item would meet too.
    """

    index: int
    result: Result | None = None
    error: str = ""
    final: bool = False


RETRIES = 5  # of an item whose node or process was lost
Engine = Callable[[Callable[[Any], Any], Sequence[Any]], Iterator[ItemOutcome[Any]]]


def attempt(function: Callable[[Item], Result], index: int, item: Item) -> ItemOutcome[Result]:
    """Call the function; an exception becomes an outcome."""
    try:
        return ItemOutcome(index, function(item))
    except Exception as error:
        text = mendable(error) or f"{type(error).__name__}: {error}"
        return ItemOutcome(index, error=text, final=out_of_space(error))


def in_turn(
    function: Callable[[Item], Result], items: Sequence[Item]
) -> Iterator[ItemOutcome[Result]]:
    """Apply the function to one item after the other, in this process."""
    for index, item in enumerate(items):
        yield attempt(function, index, item)


def in_processes(workers: int) -> Engine:
    """An engine of `workers` processes at a time, a fresh one for each item.

    A process that is killed takes only its own item with it. The processes end when this one does,
    however it ends.
    """

    def run(
        function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[ItemOutcome[Result]]:
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

    Every node must find the files that the function reads and writes under the same path.

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

    def run(
        function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[ItemOutcome[Result]]:
        remote: Any = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES)(
            _attempt_in_worker
        )
        waiting = {remote.remote(function, index, item): index for index, item in enumerate(items)}
        while waiting:
            (ready,), _ = ray.wait(list(waiting), num_returns=1)
            index = waiting.pop(ready)
            try:
                yield ray.get(ready)
            except ray.exceptions.RayError as error:
                yield ItemOutcome(index, error=f"{type(error).__name__}: {error}")

    return run


def _in_child(function: Callable[[Item], Result], index: int, item: Item) -> ItemOutcome[Result]:
    """The outcome of one item in a process of its own."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(sender, function, index, item), daemon=True)
    process.start()
    sender.close()
    try:
        outcome: ItemOutcome[Result] = receiver.recv()
    except EOFError:
        process.join()
        return ItemOutcome(
            index, error=f"the process ended by itself (exit code {process.exitcode})"
        )
    process.join()
    return outcome


def _serve(answer: Connection, function: Callable[[Item], Result], index: int, item: Item) -> None:
    """Run one item in the child process and send its outcome to the parent."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    answer.send(_attempt_in_worker(function, index, item))


def _attempt_in_worker(
    function: Callable[[Item], Result], index: int, item: Item
) -> ItemOutcome[Result]:
    """As `attempt`, in a process that knows nothing of this one's filters of warnings."""
    silence_dicom()
    return attempt(function, index, item)


def _end_with_parent() -> None:
    """End this process as soon as its parent has ended, even if that was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
