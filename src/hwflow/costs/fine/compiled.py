"""The compiled entry points, kept on disk between processes.

Numba looks for a change in the file of the function it loads, but not in the files of those it
calls. So only the entry points are kept, under a key that holds the sources of all kernels.
"""

# Numba infers the types of kernels at their first call.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, type-arg"

from __future__ import annotations

import hashlib
from pathlib import Path

from numba import njit

from hwflow.costs.fine import kernels_array, kernels_search

_search_all, _list_all = kernels_search.search, kernels_array.unrollings
_SOURCES = (
    "kernels.py", "kernels_array.py", "kernels_bound.py", "kernels_buffer.py", "kernels_search.py",
    "layout.py", "objectives.py", "shape.py",
)  # fmt: skip


def stamp_of(*more: str) -> str:
    """Return the hash of the kernels' sources, and of those named."""
    folder = Path(__file__).parent
    text = b"".join((folder / name).read_bytes() for name in (*_SOURCES, *more))
    return hashlib.sha256(text).hexdigest()


def _entries(stamp: str):
    """Return the entry points; `stamp`, being in their closures, is part of the cache's key."""

    @njit(cache=True, error_model="numpy", nogil=True)
    def search(dims, geo, tab, sca, spatial, order, start, stop):
        """Return `kernels_search.search` of the arguments."""
        _ = stamp
        return _search_all(dims, geo, tab, sca, spatial, order, start, stop)

    @njit(cache=True, error_model="numpy", nogil=True)
    def unrollings(dims, on_rows, on_cols, rows, cols):
        """Return `kernels_array.unrollings` of the arguments."""
        _ = stamp
        return _list_all(dims, on_rows, on_cols, rows, cols)

    return search, unrollings


search, unrollings = _entries(stamp_of())


def is_compiled() -> bool:
    """Tell whether the search is compiled: in this process, or on disk for this processor."""
    return is_kept(search)


def is_kept(entry) -> bool:
    """Tell whether an entry point is compiled: in this process, or on disk for this processor."""
    if entry.signatures:
        return True
    kept = entry._cache
    try:
        wanted = kept._index_key((), entry.targetctx.codegen())[1:]
        return any(key[1:] == wanted for key in kept._cache_file._load_index())
    except OSError:  # a cache that cannot be read is none
        return False
