"""Which layer an error came from, in words a user can act on."""

from __future__ import annotations

import io
import logging
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from types import FrameType

import torch
from torch import fx, nn

_LOUD = ("torch.export._trace", "torch.fx.experimental.symbolic_shapes")
"""Loggers that comment on an export that fails."""

_TORCH = Path(torch.__file__).parent
"""Whose lines say nothing of the user's network."""

_NOISE = re.compile(r"\s*\((unhinted|Size-like symbols):[^)]*\)+\.?|\s*\(https?://[^)]*\)")


@contextmanager
def quiet_failure() -> Iterator[None]:
    """Keep what is written to standard error to itself when what is done fails."""
    written = io.StringIO()
    loggers = [logging.getLogger(name) for name in _LOUD]
    for logger in loggers:
        logger.addFilter(_mute)
    try:
        with redirect_stderr(written):
            yield
    finally:
        for logger in loggers:
            logger.removeFilter(_mute)
    sys.stderr.write(written.getvalue())


def _mute(record: logging.LogRecord) -> bool:
    return record.levelno > logging.ERROR


def reason(error: BaseException) -> str:
    """Return the first line of an error, without torch's remarks; its type if it says nothing."""
    lines = (line.strip() for line in str(error).splitlines())
    first = next((line for line in lines if line), type(error).__name__)
    return _NOISE.sub("", first).rstrip(". ")


def place(module: nn.Module, error: BaseException) -> str:
    """Return where in a network an error was raised: "layer 'mid' (net.py, line 18)", or "".

    That is the innermost submodule whose code was running, or the one that the error names.
    """
    names = {id(child): name for name, child in module.named_modules()}
    found: dict[str, str] = {}
    for frame, line in _frames(error):
        name = names.get(id(frame.f_locals.get(_first_argument(frame))))
        if name is None:
            continue
        where = found.pop(name, "")  # what is named last is innermost
        file = Path(frame.f_code.co_filename)
        found[name] = where if file.is_relative_to(_TORCH) else f"{file.name}, line {line}"
    name, where = next(reversed(found.items()), ("", ""))
    located = f" ({where})" if where else ""
    if name:
        return f"layer {name!r}{located}"
    named = _named(module, str(error))
    if named:
        return f"layer {named!r}"
    return f"its forward{located}" if found else ""


def _first_argument(frame: FrameType) -> str:
    """Return what a method calls itself, mostly "self"."""
    return "".join(frame.f_code.co_varnames[: min(1, frame.f_code.co_argcount)])


def _frames(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    """Yield the frames of an error and of what it was raised from, the first raised last."""
    for part in (error, error.__cause__ or error.__context__):
        if part is not None:
            yield from traceback.walk_tb(part.__traceback__)


def _named(module: nn.Module, text: str) -> str:
    """Return the submodule that a text names as self.NAME, with whatever follows."""
    names = {name for name, _ in module.named_modules()}
    for match in re.finditer(r"self\.([\w.]+)", text):
        parts = match[1].split(".")
        while parts:
            if ".".join(parts) in names:
                return ".".join(parts)
            parts.pop()
    return ""


def node_of(error: BaseException) -> fx.Node | None:
    """Return the node of a graph that was being read, changed or run when an error was raised."""
    found = None
    for frame, _ in _frames(error):
        at_hand = (frame.f_locals.get(name) for name in ("node", "n"))
        found = next((value for value in at_hand if isinstance(value, fx.Node)), found)
    return found
