"""Settings of a part given as text: NAME=VALUE, read as the type of the dataclass's field."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from hwflow.errors import HwflowError

SEEDS = 2**32
"""Seeds are below this, as NumPy's are."""

Setting = bool | int | float | str | tuple[int | float | str, ...]
"""What a setting can be, here and in run.toml."""

_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def check_seed(seed: int) -> None:
    """Raise HwflowError for a seed that generators do not take."""
    if not 0 <= seed < SEEDS:
        raise HwflowError(f"A seed is a whole number from 0 to {SEEDS - 1:,}, not {seed}.")


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
    that is none of them, and what is expected for a value that does not fit; fields that hold more
    than a number or a word, or a list of these, are no settings.
    """
    own = dataclasses.fields(part) if dataclasses.is_dataclass(part) else ()
    fields = {field.name: field for field in own if field.init}
    known = [name for name, field in fields.items() if name not in taken and _plain(field)]
    label = getattr(part, "name", part.__name__)
    for name in given:
        if not known:
            raise HwflowError(f"{label} has no settings: leave {name} out.")
        if name in fields and name not in (*known, *taken):
            raise HwflowError(
                f"{name} of {label} is a table or a list of plans, which is no setting to be "
                f"written here. Settings are {', '.join(known)}. Give it in Python."
            )
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


def _plain(field: dataclasses.Field[Any]) -> bool:
    """Whether a field holds a number, a word or a path, or a list of numbers or words."""
    default = _default(field)
    if isinstance(default, tuple | list) and default:
        return all(isinstance(item, int | float | str) for item in default)
    if isinstance(default, int | float | str):
        return True
    text = field.type if isinstance(field.type, str) else _written(field.type)
    items = re.sub(r"\b(?:tuple|list|Sequence)\[([^\[\]]*)\]", r"\1", text)
    return "[" not in items and set(re.findall(r"\w+", items)) <= _PLAIN


def _written(kind: Any) -> str:
    """Return an annotation as in a source file, without the names of modules."""
    if type(kind) is type:
        return str(kind.__name__)
    return re.sub(r"\w+\.(?=\w)", "", repr(kind))


def _default(field: dataclasses.Field[Any]) -> Any:
    made = field.default_factory
    return field.default if made is dataclasses.MISSING else made()


def _kind(field: dataclasses.Field[Any]) -> tuple[type, bool]:
    """Return the type of a field, or of its items, and whether it is a tuple of them.

    The default says so, and where that is None the annotation.
    """
    default = _default(field)
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


_PLAIN = {"bool", "int", "float", "str", "Path", "None"}

_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
