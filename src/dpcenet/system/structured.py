"""YAML and JSON as plain values. A text that is damaged, or made to do harm, is refused in a line.

Refused are: a key that is there twice, anchors, aliases and tags of YAML (a few lines of them can
stand for gigabytes), nesting deeper than `MAX_DEPTH`, more than the size that a file of this kind
can have, and numbers that are not finite where none can be.
"""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import yaml

from dpcenet.errors import ConfigError, DpcenetError, one_line

MAX_DEPTH = 40
MAX_JSON = 16 * 1024**2
"""Bytes: a case of a review holds its pictures. More could take a gigabyte as plain values."""
MAX_YAML = 256 * 1024
"""Bytes: nobody writes more by hand, and a second goes by for each 100 KB."""
MEND = "mend it, or take a copy that is whole"
_KINDS = {
    bool: "true or false",
    dict: "keys with values",
    list: "a list",
    str: "a text",
    int: "a whole number",
}
_SHOWN = 160

Needs = Mapping[str, type]
"""Keys that a file must have → kind of what stands there."""


class _Refused(Exception):
    """What is wrong with a text."""


def parse_json(
    text: str | bytes,
    source: object,
    needs: Needs | None = None,
    *,
    error: type[DpcenetError] = ConfigError,
    remedy: str = MEND,
    finite: bool = True,
) -> dict[str, Any]:
    """A JSON object.

    Args:
        text: UTF-8 if it is bytes.
        source: the file, for the message.
        needs: see `Needs`.
        error: what is raised.
        remedy: what the person can do.
        finite: whether NaN and infinity are refused.

    Raises:
        error: the text cannot be used.
    """
    with _refusing(source, error, remedy, "JSON"):
        return _mapping(_read_json(_decoded(text, MAX_JSON)), needs, finite)


def parse_yaml(
    text: str | bytes,
    source: object,
    needs: Needs | None = None,
    *,
    error: type[DpcenetError] = ConfigError,
    remedy: str = MEND,
) -> dict[str, Any]:
    """A YAML mapping; an empty text is an empty one. Arguments as in `parse_json`.

    Raises:
        error: the text cannot be used.
    """
    with _refusing(source, error, remedy, "YAML"):
        data = _read_yaml(_decoded(text, MAX_YAML))
        return _mapping({} if data is None else data, needs, finite=True)


def yaml_value(text: str, source: object) -> Any:
    """One value as YAML writes it, such as 3, [1, 2] or text.

    Raises:
        ConfigError: the text cannot be used.
    """
    with _refusing(source, ConfigError, "write one value as in YAML", "YAML"):
        value = _read_yaml(_decoded(text, MAX_YAML))
        _check_values(value, finite=True)
        return value


@contextmanager
def _refusing(
    source: object, error: type[DpcenetError], remedy: str, language: str
) -> Iterator[None]:
    """What goes wrong inside, as one line that names the source."""
    try:
        yield
    except _Refused as refused:
        raise error(one_line(f"{source}: {refused}; {remedy}")) from refused
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError) as wrong:
        found = f"not {language} ({_why(wrong)})"
        raise error(one_line(f"{source}: {found}; {remedy}")) from wrong


def _decoded(text: str | bytes, most: int) -> str:
    if len(text) > most:
        raise _Refused(f"more than {most:,} bytes")
    # Some editors on Windows put a mark (BOM) in front.
    return text if isinstance(text, str) else text.decode("utf-8-sig")


def _mapping(data: object, needs: Needs | None, finite: bool) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise _Refused(f"holds {_kind(data)} where keys with values belong")
    _check_values(data, finite)
    _check_keys(data, needs or {})
    return data


def _read_json(text: str) -> object:
    return json.loads(text, object_pairs_hook=_unique)


def _read_yaml(text: str) -> Any:
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


class _Loader(yaml.SafeLoader):
    """The plain values of YAML: no anchors, no tags, no dates; each key once."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, rule) for tag, rule in rules if not tag.endswith((":timestamp", ":merge"))]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "anchor", None) is not None:  # an alias has one too
            raise _Refused(f"line {event.start_mark.line + 1}: anchors and aliases are not read")
        if getattr(event, "tag", None) is not None:
            raise _Refused(f"line {event.start_mark.line + 1}: tags are not read")
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _Refused(f"line {event.start_mark.line + 1}: nested too deeply")
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        return _unique(
            (self.construct_object(key, deep=True), self.construct_object(value, deep=True))
            for key, value in node.value
        )


def _unique(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    """A mapping of keys that are there once."""
    found: dict[Any, Any] = {}
    for key, value in pairs:
        if not isinstance(key, str | int):
            raise _Refused(f"{_kind(key)} stands where a key belongs")
        if key in found:
            raise _Refused(f"the key {str(key)[:_SHOWN]!r} is there twice")
        found[key] = value
    return found


def _check_values(data: object, finite: bool) -> None:
    """Refuse deep nesting, and numbers that are not finite; without recursion."""
    level, depth = [data], 0
    while level:
        if depth >= MAX_DEPTH:
            raise _Refused("nested too deeply")
        deeper: list[object] = []
        for each in level:
            if isinstance(each, dict):
                deeper += each.values()
            elif isinstance(each, list):
                deeper += each
            elif finite and isinstance(each, float) and not math.isfinite(each):
                raise _Refused(f"holds {each}, which is no number")
        level, depth = deeper, depth + 1


def _check_keys(data: Mapping[str, Any], needs: Needs) -> None:
    for key, kind in needs.items():
        if key not in data:
            raise _Refused(f"lacks {key!r}")
        if not isinstance(data[key], kind):
            raise _Refused(f"{key!r} is {_kind(data[key])} and not {_KINDS[kind]}")


def _kind(value: object) -> str:
    if value is None or isinstance(value, bool | float):
        return repr(value)
    return _KINDS.get(type(value), type(value).__name__)


def _why(wrong: Exception) -> str:
    """In a few words, what a parser says."""
    if isinstance(wrong, RecursionError):
        return "nested too deeply"
    if isinstance(wrong, yaml.MarkedYAMLError) and wrong.problem_mark is not None:
        return f"line {wrong.problem_mark.line + 1}: {wrong.problem}"
    return str(wrong)[:_SHOWN]
