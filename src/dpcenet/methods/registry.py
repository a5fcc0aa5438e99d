"""The methods by name: one line each, and those of other packages.

Another package offers a method by an entry point of the group `dpcenet.methods` that names an
`Entry`; see docs/plugins.md. A name of this file always means the method of this file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.resources.abc import Traversable
from typing import Any, NamedTuple

from dpcenet.errors import ConfigError
from dpcenet.methods import adnet, copy, panet, qnet, ssl_alpnet
from dpcenet.methods.base import Method, MethodOptions
from dpcenet.methods.catnet import model as catnet
from dpcenet.methods.dpcenet import options as dpcenet_options
from dpcenet.methods.dpcenet import weights as dpcenet_weights
from dpcenet.methods.gmrd import model as gmrd
from dpcenet.methods.incontext import weights as shipped
from dpcenet.methods.rpt import model as rpt
from dpcenet.system import plugins
from dpcenet.system.assets import asset


class Entry(NamedTuple):
    """A method's options, and what builds it from them.

    Attributes:
        options: a frozen dataclass with defaults.
        build: the method, from its options.
        presets: folder of its presets, PRESET.yaml; None where they lie in this package.
        citation: BibTeX of its paper, for `dpcenet cite`; empty for the methods of this package,
            whose papers stand in assets/citations.bib, and where there is no paper.
    """

    options: type[MethodOptions]
    build: Callable[[Any], Method]
    presets: Traversable | None = None
    citation: str = ""


METHODS: Mapping[str, Entry] = {
    "adnet": Entry(adnet.Options, adnet.ADNet),
    "catnet": Entry(catnet.Options, catnet.CATNet),
    "copy": Entry(copy.Options, copy.Copy),
    "dpcenet": Entry(dpcenet_options.Options, dpcenet_weights.build),
    "gmrd": Entry(gmrd.Options, gmrd.GMRD),
    "incontext": Entry(shipped.Options, shipped.build),
    "panet": Entry(panet.Options, panet.PANet),
    "qnet": Entry(qnet.Options, qnet.QNet),
    "rpt": Entry(rpt.Options, rpt.RPT),
    "ssl_alpnet": Entry(ssl_alpnet.Options, ssl_alpnet.SSLALPNet),
}


def method_entry(name: str) -> Entry:
    """The method of that name, of this package or of another one.

    Raises:
        ConfigError: there is none, or its package cannot be loaded.
    """
    if name in METHODS:
        return METHODS[name]
    others = plugins.offered(plugins.METHODS)
    if name not in others:
        raise ConfigError(
            f"method {name!r}; choose one of {', '.join([*METHODS, *others])}, or install the "
            "package that offers it"
        )
    return plugins.load(others[name], Entry)


def build_method(name: str, options: object) -> Method:
    """The method of that name, built from its options.

    Raises:
        ConfigError: as `method_entry`.
    """
    return method_entry(name).build(options)


def presets_of(name: str) -> dict[str, Traversable]:
    """ "NAME/PRESET" → file, for each preset of a method.

    Raises:
        ConfigError: as `method_entry`.
    """
    folder = method_entry(name).presets or asset(f"presets/{name}")
    if not folder.is_dir():
        return {}
    files = [file for file in folder.iterdir() if file.name.endswith(".yaml")]
    return {f"{name}/{file.name.removesuffix('.yaml')}": file for file in files}


def preset_names() -> list[str]:
    """Every preset that is installed, as "method/preset"."""
    others = set(plugins.load_all(plugins.METHODS, Entry)) - set(METHODS)
    return sorted(preset for name in {*METHODS, *others} for preset in presets_of(name))
