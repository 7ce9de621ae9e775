"""What a user names as "package.module:function": found, from the current folder first."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hwflow.errors import HwflowError, unknown_name

_SPEC = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def is_factory(spec: str) -> bool:
    """Whether `spec` has the form "package.module:function"."""
    return _SPEC.fullmatch(spec) is not None


def find_factory(spec: str, error: type[HwflowError]) -> Callable[..., Any]:
    """Return the function named by "package.module:function"; the current folder is searched first.

    Raises `error` when the module cannot be imported, or has no such function.
    """
    name, _, function = spec.partition(":")
    with _current_folder():
        try:
            module = importlib.import_module(name)
        except Exception as reason:  # whatever the user's module raises when it is run
            raise error(
                f"Cannot import {name!r} of {spec!r}: {type(reason).__name__}: {reason}. Write "
                "package.module:function with a module that can be imported from this folder."
            ) from reason
    found = getattr(module, function, None)
    if callable(found):
        return found  # type: ignore[no-any-return]  # what a user's module holds is untyped
    functions = [key for key, value in vars(module).items() if callable(value) and key[0] != "_"]
    raise error(unknown_name(f"function of {name}", function, functions))


@contextmanager
def _current_folder() -> Iterator[None]:
    """Let imports search the current folder first, for a while."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)
