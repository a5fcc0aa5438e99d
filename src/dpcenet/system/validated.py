"""Plain values as a dataclass: unknown keys and wrong values are refused with the key named."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from dpcenet.errors import ConfigError, DpcenetError, one_line

Kind = TypeVar("Kind")
_SHOWN = 120
"""Characters of a value in a message."""


def validated(
    kind: type[Kind],
    data: object,
    source: object,
    where: str = "",
    *,
    error: type[DpcenetError] = ConfigError,
    remedy: str = "",
    extra: Literal["forbid", "ignore"] = "forbid",
) -> Kind:
    """The value of a type that plain values describe.

    Args:
        kind: of the value; a dataclass, as a rule.
        data: what a YAML or JSON file holds.
        source: the file, for the message.
        where: key under which the data stand in the file.
        error: what is raised.
        remedy: what the person can do, where that is not plain.
        extra: what becomes of keys that the type does not have.

    Raises:
        error: an unknown key or a wrong value; the message names `source` and the key.
    """
    try:
        return TypeAdapter(kind).validate_python(data, extra=extra)
    except ValidationError as wrong:
        found = _found(wrong, where)
        text = f"{source}: {found}{f'; {remedy}' if remedy else ''}"
        raise error(one_line(text)) from wrong


def shown(value: object) -> str:
    """A value in a message, never longer than a line."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _found(wrong: ValidationError, where: str) -> str:
    keys = {_dotted(where, one["loc"]): one for one in wrong.errors(include_url=False)}
    unknown = [key for key, one in keys.items() if one["type"] == "unexpected_keyword_argument"]
    if unknown:
        return f"unknown key {', '.join(unknown[:5])}"
    key, one = next(iter(keys.items()))
    return f"{key} = {shown(one['input'])}: {one['msg']}"


def _dotted(where: str, place: tuple[Any, ...]) -> str:
    """The name of a key inside a file, such as options.encoder.name."""
    return ".".join(str(part)[:_SHOWN] for part in (where, *place) if part != "")
