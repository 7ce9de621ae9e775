"""Settings of a part given as text: NAME=VALUE, read as the type of the dataclass's field."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from hwflow.errors import HwflowError

Setting = bool | int | float | str | tuple[int | float | str, ...]
"""What a setting can be, here and in run.toml."""

_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def pairs(texts: Sequence[str], option: str) -> dict[str, str]:
    """Read ["agent=td3", "warmup=20"]; HwflowError shows how to write it."""
    found = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals and value):
            raise HwflowError(f"{option} {text!r} is no NAME=VALUE. Write {option} warmup=20, say.")
        found[name] = value
    return found


def typed(part: type, given: Mapping[str, Any], taken: Sequence[str] = ()) -> dict[str, Any]:
    """Return settings of a dataclass, those that are text read as the types of its fields.

    `taken` are fields that are set in another way. HwflowError names the known fields for a name
    that is none of them, and what is expected for a value that does not fit.
    """
    own = dataclasses.fields(part) if dataclasses.is_dataclass(part) else ()
    fields = {field.name: field for field in own if field.init}
    known = [name for name in fields if name not in taken]
    label = getattr(part, "name", part.__name__)
    for name in given:
        if not known:
            raise HwflowError(f"{label} has no settings: leave {name} out.")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            ask = f" Did you mean {near[0]!r}?" if near else ""
            raise HwflowError(f"{label} has no setting {name!r}.{ask} It has {', '.join(known)}.")
    return {name: _read(fields[name], value, label) for name, value in given.items()}


def _read(field: dataclasses.Field[Any], value: Any, label: str) -> Any:
    kind, several = _kind(field)
    if isinstance(value, list | tuple):
        texts = [str(item) for item in value]
    else:
        texts = str(value).split(",") if several else [str(value)]
    if "None" in str(field.type) and texts == ["none"]:
        return None
    try:
        found = tuple(_as(kind, text.strip()) for text in texts)
    except ValueError:
        wanted = f"{_NAMES[kind]}{', or several with commas' if several else ''}"
        raise HwflowError(
            f"The setting {field.name} of {label} is {wanted}, not {value!r}."
        ) from None
    return found if several else found[0]


def _kind(field: dataclasses.Field[Any]) -> tuple[type, bool]:
    """Return the type of a field, or of its items, and whether it is a tuple of them.

    The default says so, and where that is None the annotation.
    """
    default = field.default
    if field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
    if isinstance(default, tuple | list) and default:
        return type(default[0]), True
    for kind in (bool, int, float, str):
        if isinstance(default, kind):
            return kind, False
    words = re.findall(r"\w+", field.type if isinstance(field.type, str) else repr(field.type))
    named = (kind for kind in (bool, int, float) if kind.__name__ in words)
    return next(named, str), bool({"tuple", "list", "Sequence"} & set(words))


def _as(kind: type, text: str) -> Any:
    if kind is bool:
        if text.lower() not in _WORDS:
            raise ValueError(text)
        return _WORDS[text.lower()]
    return kind(text)


_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
