"""The folder of the results: its lock, what is checked before the work, the table of all cases."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dpcenet.errors import ConfigError
from dpcenet.segmentation.outputs import paths_beside
from dpcenet.segmentation.queries import Query
from dpcenet.segmentation.segment_options import Outcome, SegmentOptions
from dpcenet.system.faults import mendable, out_of_space
from dpcenet.system.files import write_json
from dpcenet.system.lock import Held, held
from dpcenet.system.progress import progress_bar
from dpcenet.volumes import mask_record

CASES = "segment.json"
LOCK = ".dpcenet-lock"


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Keep every other call out of the folder meanwhile; a call that was killed holds no lock.

    Raises:
        ConfigError: another call has the folder (the message says which), or it cannot be written.
    """
    since = time.strftime("%H:%M")
    note = f"process {os.getpid()} on {socket.gethostname()} (since {since})"
    with ExitStack() as stack:
        try:
            out.mkdir(parents=True, exist_ok=True)
            stack.enter_context(held(out / LOCK, note=note, remove=True))
        except Held as error:
            raise ConfigError(
                f"{out}: {error.by or 'another process'} is segmenting into it; wait until it "
                "ends, or choose another --out"
            ) from error
        except OSError as error:
            raise _cannot_write(out, error) from error
        yield


def check_targets(
    queries: Sequence[Query],
    options: SegmentOptions,
    names: Mapping[int, str] = MappingProxyType({}),
) -> None:
    """Refuse what must fail before anything is computed.

    Args:
        queries, options: of the call.
        names: of all labels that are segmented, some of which get files of their own.

    Raises:
        ConfigError: two files would have one name, a file is there that this program did not write,
            or the folder cannot be written.
    """
    taken: dict[Path, Query] = {}
    for query in queries:
        beside = paths_beside(query.mask_name, query.name.name, names, options.outputs)
        for path in (*query.mask_names, *beside):
            if (other := taken.setdefault(path, query)) is not query:
                raise ConfigError(
                    f"{other.files[0]} and {query.files[0]}: a result of both would be {path}; "
                    "rename one, or segment them into two folders"
                )
    for mask in (options.out / name for query in queries for name in query.mask_names):
        mask_record.set_damaged_aside(mask)
        if mask_record.is_foreign(mask) and mask.resolve() not in options.keep:
            raise ConfigError(
                f"{mask}: is there already, and dpcenet did not write it; choose another --out"
            )
    try:
        write_json(options.out / CASES, {"format": mask_record.FORMAT, "queries": len(queries)})
    except OSError as error:
        raise _cannot_write(options.out, error) from error


def collect(
    outcomes: Iterator[Outcome],
    queries: Sequence[Query],
    out: Path,
    quiet: bool = False,
    about: Mapping[str, Any] | None = None,
) -> list[Outcome]:
    """Show the progress, and write OUT/segment.json: a row for each query, in their order.

    `about` are facts of the call as a whole, for its head. Ctrl-C ends it early: the outcomes so
    far are returned.
    """
    done: dict[Path, Outcome] = {}
    with progress_bar("segment", len(queries), quiet=quiet) as bar:
        bar(0, "")
        with suppress(KeyboardInterrupt):
            for outcome in outcomes:
                done[outcome.query] = outcome
                bar(len(done), outcome.query.name)
    ordered = [done[query.name] for query in queries if query.name in done]
    _write_cases(ordered, out, about or {})
    return ordered


def _write_cases(outcomes: Sequence[Outcome], out: Path, about: Mapping[str, Any]) -> None:
    """OUT/segment.json."""
    rows = [
        {
            "query": str(each.query),
            "mask": None if each.mask is None else str(each.mask.relative_to(out)),
            "error": each.error,
            **each.facts,
        }
        for each in outcomes
    ]
    try:
        write_json(out / CASES, {"format": mask_record.FORMAT, **about, "cases": rows})
    except OSError as error:
        if not any(each.final for each in outcomes):
            raise _cannot_write(out, error) from error


def _cannot_write(out: Path, error: OSError) -> ConfigError:
    if out_of_space(error):
        return ConfigError(mendable(OSError(error.errno, error.strerror, str(out))))
    return ConfigError(
        f"{out}: cannot be written ({error.strerror or error}); choose another --out"
    )
