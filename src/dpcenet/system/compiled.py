"""Numba, with its machine code kept on disk where that is possible."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar, cast

import numba

Compiled = TypeVar("Compiled", bound=Callable[..., object])


def compiled(function: Compiled) -> Compiled:
    """Numba machine code for `function`; kept on disk where a folder for it can be written."""
    try:
        made: Any = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # neither the package nor the home folder is writable
        return cast(Compiled, numba.njit(nogil=True)(function))
    keep = made._cache.save_overload

    def keep_if_there_is_room(*code: Any) -> None:
        with suppress(OSError):  # the code runs as well; it is compiled again the next time
            keep(*code)

    made._cache.save_overload = keep_if_there_is_room
    return cast(Compiled, made)
