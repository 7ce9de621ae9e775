"""Files that are whole or not there: written beside their name, and put under it in one step."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield the path to write to; when the block ends, it takes the place of `path`.

    Where the block fails, nothing is left of it and `path` stays as it was. Processes that write
    the same file do not meet: the last one to end wins.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
