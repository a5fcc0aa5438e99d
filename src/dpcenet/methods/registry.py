"""The methods by name: one line each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from dpcenet.methods import adnet, copy, panet, qnet, ssl_alpnet
from dpcenet.methods.base import Method, MethodOptions
from dpcenet.methods.catnet import model as catnet
from dpcenet.methods.dpcenet import options as dpcenet_options
from dpcenet.methods.dpcenet.model import DPCENet
from dpcenet.methods.gmrd import model as gmrd
from dpcenet.methods.incontext import weights as shipped
from dpcenet.methods.rpt import model as rpt


class Entry(NamedTuple):
    """A method's options, and what builds it from them."""

    options: type[MethodOptions]
    build: Callable[[Any], Method]


METHODS: Mapping[str, Entry] = {
    "adnet": Entry(adnet.Options, adnet.ADNet),
    "catnet": Entry(catnet.Options, catnet.CATNet),
    "copy": Entry(copy.Options, copy.Copy),
    "dpcenet": Entry(dpcenet_options.Options, DPCENet),
    "gmrd": Entry(gmrd.Options, gmrd.GMRD),
    "incontext": Entry(shipped.Options, shipped.build),
    "panet": Entry(panet.Options, panet.PANet),
    "qnet": Entry(qnet.Options, qnet.QNet),
    "rpt": Entry(rpt.Options, rpt.RPT),
    "ssl_alpnet": Entry(ssl_alpnet.Options, ssl_alpnet.SSLALPNet),
}


def build_method(name: str, options: object) -> Method:
    """The method of that name, built from its options."""
    return METHODS[name].build(options)
