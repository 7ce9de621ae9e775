"""The compiled entry point of the search over several buffers, kept on disk between processes.

It is apart from that of one buffer, so that each compiles only when it is needed.
"""

# Numba infers the types of kernels at their first call.
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from numba import njit

from hwflow.costs.fine import kernels_deep_array
from hwflow.costs.fine.compiled import is_kept, stamp_of
from hwflow.costs.fine.kernels_deep import Deep

_search_all = kernels_deep_array.search
_SOURCES = (
    "kernels_deep.py", "kernels_fronts.py", "kernels_state.py", "kernels_chain.py",
    "kernels_deep_array.py",
)  # fmt: skip


def _entry(stamp: str):
    """Return the entry point; `stamp`, being in its closure, is part of the cache's key."""

    @njit(cache=True, error_model="numpy", nogil=True)
    def search(
        dims, geo, tab, sca, coef, const, steps, room, cap, ends, spatial, order, start, stop
    ):
        """Return `kernels_deep_array.search` of the arguments."""
        _ = stamp
        deep = Deep(dims, geo, tab, sca, coef, const, steps, room, cap, ends)
        return _search_all(deep, spatial, order, start, stop)

    return search


search_deep = _entry(stamp_of(*_SOURCES))


def is_compiled() -> bool:
    """Tell whether the search is compiled: in this process, or on disk for this processor."""
    return is_kept(search_deep)
