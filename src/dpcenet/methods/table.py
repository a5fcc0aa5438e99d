"""The methods by name: one line each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from dpcenet.methods import copy, dpcenet
from dpcenet.methods.base import Method


class Entry(NamedTuple):
    """A method's options and its class; the class takes the options."""

    options: type[Any]
    build: type[Any]


METHODS: Mapping[str, Entry] = {
    "copy": Entry(copy.Options, copy.Copy),
    "dpcenet": Entry(dpcenet.Options, dpcenet.DPCENet),
}


def build_method(name: str, options: object) -> Method:
    """The method of that name, built from its options."""
    method: Method = METHODS[name].build(options)
    return method
