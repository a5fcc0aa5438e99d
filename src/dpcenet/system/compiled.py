"""Numba, with its machine code kept on disk where that is possible."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba

Compiled = TypeVar("Compiled", bound=Callable[..., object])


def compiled(function: Compiled) -> Compiled:
    """Numba machine code for `function`; kept on disk where a folder for it can be written."""
    try:
        return cast(Compiled, numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:  # neither the package nor the home folder is writable
        return cast(Compiled, numba.njit(nogil=True)(function))
