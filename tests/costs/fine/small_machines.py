"""Random machines and layers, small enough to try every mapping."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from hwflow.costs.fine.rates import OperandBits
from hwflow.costs.fine.shape import Shape
from hwflow.machine import Accelerator


def figure(value: object) -> dict[str, object]:
    return {"value": value, "source": "test"}


DATAFLOWS = (
    "free", "row-stationary", "weight-stationary", "output-stationary", "input-stationary",
    "no-local-reuse", "systolic-ck",
)  # fmt: skip
ENGINES: tuple[dict[str, Any], ...] = (
    {"kind": "bit-parallel", "word": figure(8)},
    {"kind": "simd", "word": figure(16)},
    {"kind": "bit-fusion"},
    {"kind": "bit-fusion", "sums": "of-product"},
    {"kind": "stripes", "lanes": figure(2), "word": figure(16)},
    {"kind": "bismo", "lanes": figure(3), "rows_buffer": figure(8), "cols_buffer": figure(8)},
)
UNROLLED = (
    ("C", "K"), ("RC", "PK"), ("G", "CG"), ("K", "NPQ"), ("SC", "QK"), ("", ""), ("KC", "KC"),
)  # fmt: skip


def store(size: str, read: int, write: int, **more: Any) -> dict[str, Any]:
    plain = {"size": size if size == "unlimited" else figure(size), "word": figure(16)}
    return {**plain, "read": figure(f"{read} pJ/b"), "write": figure(f"{write} pJ/b"), **more}


@st.composite
def machines(draw: st.DrawFn, buffers: int | None = None) -> Accelerator:
    """Machines of so many buffers; by default of one or, rarely, none."""
    bandwidths = st.sampled_from(("1 B/cycle", "3 B/cycle", "40 B/cycle"))
    memory = [store("unlimited", 90, 110, name="DRAM", bandwidth=figure(draw(bandwidths)))]
    if buffers is None:
        buffers = int(draw(st.integers(0, 7)) > 0)
    for index in range(buffers):
        memory.append(draw(buffer(index, buffers)))
    feeds = memory[-1]["name"]
    inside = "scratchpads"
    pads = draw(pads_of(bare=buffers > 0))
    if buffers > 1 and draw(st.integers(0, 3)) == 0:
        pads, inside = None, "RF"
        memory.append(draw(pe_level()))
    elif pads is None:
        inside = "PE"
    rows_loops, cols_loops = draw(st.sampled_from(UNROLLED))
    sizes = st.integers(2, 3) if rows_loops else st.just(1)
    return Accelerator.model_validate({
        "name": "small",
        "description": "for tests",
        "clock": figure("1 MHz"),
        "native_bits": figure(8),
        "engine": draw(st.sampled_from(ENGINES)),
        "mac_energy": {"kind": "per-cycle", "energy": figure("3 pJ")},
        "memory": memory,
        "array": {
            "between": [feeds, inside],
            "rows": figure(draw(sizes)),
            "cols": figure(draw(sizes)),
            "unroll_rows": list(rows_loops),
            "unroll_cols": list(cols_loops),
            "transfer": figure(draw(st.sampled_from(("0 pJ/b", "2 pJ/b")))),
        },
        "scratchpads": pads,
        "dataflow": draw(st.sampled_from(DATAFLOWS)),
        "packing": draw(st.sampled_from(("dense", "word"))),
        "partial_sum_bits": draw(st.sampled_from(("auto", figure(16)))),
        "idle_power": draw(st.sampled_from((None, figure("30 uW")))),
    })  # fmt: skip


@st.composite
def buffer(draw: st.DrawFn, index: int, buffers: int) -> dict[str, Any]:
    """A buffer; of several, the outer ones are mostly larger and dearer."""
    held = [("weights", "inputs", "outputs"), ("weights", "inputs"), ("inputs", "outputs")]
    if buffers > 1:
        held += [held[0], ("weights", "outputs"), ("weights",), ("outputs",)]
    more: dict[str, Any] = {
        "holds": draw(st.sampled_from(held)), "double_buffered": draw(st.booleans()),
    }  # fmt: skip
    port = draw(st.sampled_from((None, "1 B/cycle", "4 B/cycle")))
    if port:
        more["bandwidth"] = figure(port)
        if draw(st.booleans()):
            more["write_bandwidth"] = figure("2 B/cycle")
    inward = buffers - 1 - index
    sizes = (40, 90, 200, 1000) if inward == 0 else (40, 120, 300, 1000)
    size = draw(st.sampled_from(sizes))
    name = "GLB" if buffers == 1 else f"L{inward + 1}"
    return store(f"{size} B", 5 * (1 + 4 * inward), 7 * (1 + 3 * inward), name=name, **more)


@st.composite
def pe_level(draw: st.DrawFn) -> dict[str, Any]:
    """A memory level inside each PE."""
    holds = draw(st.sampled_from((("weights", "inputs", "outputs"), ("weights", "outputs"))))
    size, double = draw(st.sampled_from((12, 18, 40))), draw(st.booleans())
    return store(f"{size} B", 1, 2, name="RF", holds=holds, double_buffered=double)


@st.composite
def pads_of(draw: st.DrawFn, bare: bool) -> dict[str, Any] | None:
    kind = draw(st.sampled_from(("shared", "separate", "none") if bare else ("shared", "separate")))
    if kind == "none":
        return None
    if kind == "shared":
        return {"kind": kind, **store(f"{draw(st.sampled_from((12, 18, 30)))} B", 1, 2)}
    some = {
        name: store(f"{draw(st.sampled_from((4, 8, 14)))} B", 1, 2)
        for name in ("weights", "inputs", "outputs")
        if draw(st.integers(0, 3)) > 0
    }
    return {"kind": kind, **(some or {"outputs": store("8 B", 1, 2)})}


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    """Layers of few loops: channels, or a window over rows, or groups."""
    kind = draw(st.sampled_from(("channels", "rows", "plane", "groups")))
    low = st.integers(1, 3)
    if kind == "channels":
        dims = (1, draw(st.integers(1, 7)), draw(st.integers(1, 5)), draw(low), 1, 1, 1, 1)
        return Shape(dims, touched=(dims[3], 1))
    taps = draw(st.integers(1, 3))
    if kind == "rows":
        dims = (draw(st.integers(1, 2)), draw(low), draw(low), draw(st.integers(1, 5)), 1, taps, 1)
        dims = (*dims, 1)
    elif kind == "plane":
        dims = (1, draw(low), 2, draw(low), draw(low), taps, draw(low), 1)
    else:
        dims = (1, 1, 1, draw(low), draw(st.integers(1, 4)), taps, draw(low), draw(low))
    stride, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    padding = draw(st.integers(0, max(0, taps - 1)))
    return Shape(dims, (stride, stride), (dilation, dilation), (padding, 0), (1, 1))


OPERANDS = st.builds(
    OperandBits,
    st.sampled_from((1, 2, 4, 8, 32)),
    st.sampled_from((2, 4, 8, 32)),
    st.sampled_from((2, 8, 32)),
)
